//! Remembers which failures have been logged, so that the log does not repeat them at every reading.

/// Maximum number of distinct failures to log until a reading succeeds; limits the log if the text differs
/// each time.
const MAX_FAILURES: usize = 8;

/// The failures logged since the last successful reading.
#[derive(Debug, Default)]
pub(super) struct Failures {
    logged: Vec<String>,
}

impl Failures {
    /// Records a failure; returns whether it is new and has to be logged.
    pub(super) fn record(&mut self, text: &str) -> bool {
        if self.logged.len() >= MAX_FAILURES || self.logged.iter().any(|logged| logged == text) {
            return false;
        }
        self.logged.push(text.to_owned());
        true
    }

    /// Clears the failures after a successful reading; returns whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.logged).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_logged_once_until_a_reading_succeeds() {
        let mut failures = Failures::default();
        assert!(!failures.clear());
        let is_new = ["a", "b", "a", "b", "b"].map(|text| failures.record(text));
        assert_eq!(is_new, [true, true, false, false, false]);
        assert!(failures.clear());
        assert!(failures.record("a"));
    }

    #[test]
    fn number_of_distinct_failures_is_limited() {
        let mut failures = Failures::default();
        let logged = (0..1000).filter(|number: &i32| failures.record(&number.to_string())).count();
        assert_eq!(logged, MAX_FAILURES);
    }
}
