//! Which failures have been told of: a log that repeats itself at every reading is read by nobody.

/// How many are told apart until a reading succeeds. A text that differs each time would fill the log too.
const MOST: usize = 8;

/// The failures since the last reading that succeeded.
#[derive(Debug, Default)]
pub(super) struct Failures {
    told: Vec<String>,
}

impl Failures {
    /// Whether this failure is to be told of: the first time.
    pub(super) fn is_news(&mut self, text: &str) -> bool {
        if self.told.len() >= MOST || self.told.iter().any(|told| told == text) {
            return false;
        }
        self.told.push(text.to_owned());
        true
    }

    /// A reading succeeded. Returns whether one had failed before.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::take(&mut self.told).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_until_it_is_over() {
        let mut failures = Failures::default();
        assert!(!failures.end());
        let news = ["a", "b", "a", "b", "b"].map(|text| failures.is_news(text));
        assert_eq!(news, [true, true, false, false, false]);
        assert!(failures.end());
        assert!(failures.is_news("a"));
    }

    #[test]
    fn a_text_that_is_another_each_time_is_told_so_often_and_no_more() {
        let mut failures = Failures::default();
        let told = (0..1000).filter(|number: &i32| failures.is_news(&number.to_string())).count();
        assert_eq!(told, MOST);
    }
}
