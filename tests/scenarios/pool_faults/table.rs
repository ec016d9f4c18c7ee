//! The results of each scenario and their limits.

use std::fmt;
use std::time::Duration;

use super::load::Seen;

/// Scheduling delays: the tests run many processes on few processors.
const SLACK: Duration = Duration::from_millis(1500);

/// The longest that a request may take.
pub(super) const BOUND: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    seen: Seen,
    bound: Duration,
    promised: String,
    client_saw: String,
    broken: Vec<String>,
}

impl Table {
    /// Adds a row in which no request fails and each finishes within `bound`.
    pub(super) fn all_answered(&mut self, what: &str, seen: Seen, bound: Duration) -> &mut Self {
        let failed = seen.failed();
        self.row(what, "0", seen, bound).and(failed == 0, "no request may fail")
    }

    /// Adds a row; `promised` describes which requests may fail.
    pub(super) fn row(&mut self, what: &str, promised: &str, seen: Seen, bound: Duration) -> &mut Self {
        let outcomes = seen.outcomes.iter().map(|(name, count)| format!("{count} {name}"));
        let client_saw = outcomes.collect::<Vec<_>>().join(", ");
        let (what, promised) = (what.to_owned(), promised.to_owned());
        let (longest, wrong) = (seen.longest, seen.wrong.clone());
        self.rows.push(Row { what, seen, bound, promised, client_saw, broken: wrong });
        self.and(longest < bound + SLACK, "every request must finish within its limit")
    }

    /// Appends to the observations of the last row.
    pub(super) fn saw(&mut self, what: impl fmt::Display) -> &mut Self {
        let row = self.rows.last_mut().expect("a row was begun");
        row.client_saw = format!("{}; {what}", row.client_saw);
        self
    }

    /// Adds a condition that must hold to the last row.
    pub(super) fn and(&mut self, is_so: bool, what: &str) -> &mut Self {
        let row = self.rows.last_mut().expect("a row was begun");
        if !is_so {
            row.broken.push(format!("violated: {what}"));
        }
        self
    }

    /// # Panics
    ///
    /// If a condition of any row does not hold.
    pub(super) fn check(&self) {
        let broken = self.rows.iter().flat_map(|row| {
            let shown = row.broken.iter().take(5);
            shown.map(|broken| format!("{}: {broken} ({:?})", row.what, row.seen.failures))
        });
        let broken: Vec<_> = broken.collect();
        assert!(broken.is_empty(), "{self}\n{}", broken.join("\n"));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | requests | failed | may fail | longest | limit | observations |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        for row in &self.rows {
            let Row { what, seen, bound, promised, client_saw, .. } = row;
            let (requests, failed) = (seen.requests, seen.failed());
            let (longest, bound) = (seen.longest.as_secs_f64(), bound.as_secs_f64());
            writeln!(
                f,
                "| {what} | {requests} | {failed} | {promised} | {longest:.3} s | {bound:.1} s | {client_saw} |"
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
