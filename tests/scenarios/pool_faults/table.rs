//! The results of each scenario and their limits.

use std::fmt;
use std::time::Duration;

use super::load::LoadResults;

/// Scheduling delays: the tests run many processes on few processors.
const SLACK: Duration = Duration::from_millis(1500);

/// The longest that a request may take.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    results: LoadResults,
    bound: Duration,
    may_fail: String,
    observations: String,
    violations: Vec<String>,
}

impl Table {
    /// Adds a row in which no request fails and each finishes within `bound`.
    pub(super) fn all_answered(&mut self, name: &str, results: LoadResults, bound: Duration) -> &mut Self {
        let failed = results.failed();
        self.row(name, "0", results, bound).require(failed == 0, "no request may fail")
    }

    /// Adds a row; `may_fail` describes which requests may fail.
    pub(super) fn row(
        &mut self,
        name: &str,
        may_fail: &str,
        results: LoadResults,
        bound: Duration,
    ) -> &mut Self {
        let outcomes = results.outcomes.iter().map(|(name, count)| format!("{count} {name}"));
        let observations = outcomes.collect::<Vec<_>>().join(", ");
        let (name, may_fail) = (name.to_owned(), may_fail.to_owned());
        let (longest, wrong) = (results.longest, results.wrong.clone());
        self.rows.push(Row { name, results, bound, may_fail, observations, violations: wrong });
        self.require(longest < bound + SLACK, "every request must finish within its limit")
    }

    /// Appends to the observations of the last row.
    pub(super) fn note(&mut self, text: impl fmt::Display) -> &mut Self {
        let row = self.rows.last_mut().expect("a row has been added");
        row.observations = format!("{}; {text}", row.observations);
        self
    }

    /// Adds a condition that must hold to the last row.
    pub(super) fn require(&mut self, condition: bool, what: &str) -> &mut Self {
        let row = self.rows.last_mut().expect("a row has been added");
        if !condition {
            row.violations.push(format!("violated: {what}"));
        }
        self
    }

    /// # Panics
    ///
    /// If a condition of any row does not hold.
    pub(super) fn check(&self) {
        let violations = self.rows.iter().flat_map(|row| {
            let shown = row.violations.iter().take(5);
            shown.map(|violation| format!("{}: {violation} ({:?})", row.name, row.results.failures))
        });
        let violations: Vec<_> = violations.collect();
        assert!(violations.is_empty(), "{self}\n{}", violations.join("\n"));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | requests | failed | may fail | longest | limit | observations |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        for row in &self.rows {
            let Row { name, results, bound, may_fail, observations, .. } = row;
            let (requests, failed) = (results.requests, results.failed());
            let (longest, bound) = (results.longest.as_secs_f64(), bound.as_secs_f64());
            writeln!(
                f,
                "| {name} | {requests} | {failed} | {may_fail} | {longest:.3} s | {bound:.1} s | {observations} |"
            )?;
        }
        Ok(())
    }
}

/// Prints the rows so far after a panic; otherwise they would be lost.
impl Drop for Table {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
    }
}
