//! Remembers which failures have been logged, so that the log does not repeat them at every reading.

/// Maximum number of distinct failures to log until a reading succeeds; limits the log if the text differs
/// each time.
const MOST: usize = 8;

/// The failures logged since the last successful reading.
#[derive(Debug, Default)]
pub(super) struct Failures {
    told: Vec<String>,
}

impl Failures {
    /// Records a failure; returns whether it is new and has to be logged.
    pub(super) fn is_news(&mut self, text: &str) -> bool {
        if self.told.len() >= MOST || self.told.iter().any(|told| told == text) {
            return false;
        }
        self.told.push(text.to_owned());
        true
    }

    /// Clears the failures after a successful reading; returns whether there were any.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::take(&mut self.told).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_logged_once_until_a_reading_succeeds() {
        let mut failures = Failures::default();
        assert!(!failures.end());
        let news = ["a", "b", "a", "b", "b"].map(|text| failures.is_news(text));
        assert_eq!(news, [true, true, false, false, false]);
        assert!(failures.end());
        assert!(failures.is_news("a"));
    }

    #[test]
    fn number_of_distinct_failures_is_limited() {
        let mut failures = Failures::default();
        let told = (0..1000).filter(|number: &i32| failures.is_news(&number.to_string())).count();
        assert_eq!(told, MOST);
    }
}
