//! The counts of a run, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use forwardcache::Outcome;
use forwardcache::origin::CanonicalUrl;
use serde_json::{Value, json};

use super::request::{Answer, Verdict};

/// How many different reasons are counted separately.
const MAX_REASONS: usize = 32;

/// The counts of a run.
#[derive(Debug, Default)]
pub(super) struct Summary {
    urls: u64,
    hits: u64,
    revalidated: u64,
    stored: u64,
    not_stored: BTreeMap<String, u64>,
    failed: BTreeMap<String, u64>,
    bytes: u64,
    /// Entries without a valid URL, and lists that cannot be read.
    pub(super) invalid: u64,
    /// URLs that earlier runs have requested.
    pub(super) skipped: u64,
    /// Entries of the list beyond the maximum number of URLs.
    pub(super) left_out: u64,
    /// URLs that another run may request successfully.
    unfinished: u64,
    /// Whether a list could not be read to its end.
    pub(super) is_cut: bool,
}

impl Summary {
    /// Counts the answer of a URL.
    pub(super) fn add(&mut self, answer: &Answer) {
        self.urls += 1;
        self.bytes += answer.bytes;
        match &answer.verdict {
            Verdict::Hit => self.hits += 1,
            Verdict::Revalidated => self.revalidated += 1,
            Verdict::Stored => self.stored += 1,
            Verdict::NotStored(reason) => count(&mut self.not_stored, reason),
            Verdict::Failed(reason) => {
                count(&mut self.failed, reason);
                self.unfinished += u64::from(answer.may_improve());
            }
        }
    }

    /// Returns the number of URLs without a response whose status is below 400.
    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Returns whether every entry of the list was answered with a status below 400.
    pub(super) fn is_success(&self) -> bool {
        self.failed.is_empty() && self.invalid == 0 && self.left_out == 0
    }

    /// Returns whether another run has nothing to do.
    pub(super) fn is_complete(&self) -> bool {
        self.unfinished == 0 && !self.is_cut
    }

    /// Returns one line.
    pub(super) fn text(&self, time: Duration) -> String {
        let mut text = format!(
            "{} URLs in {:.1} s: {} hits, {} revalidated, {} stored, {} not stored{}, {} failed{}; {} bytes",
            self.urls,
            time.as_secs_f64(),
            self.hits,
            self.revalidated,
            self.stored,
            self.not_stored.values().sum::<u64>(),
            listed(&self.not_stored),
            self.failed(),
            listed(&self.failed),
            self.bytes
        );
        for (number, what) in [
            (self.skipped, "done by an earlier run"),
            (self.invalid, "invalid entries"),
            (self.left_out, "entries left out by --max-urls"),
        ] {
            if number > 0 {
                // Writing to a String cannot fail.
                let _ = write!(text, "; {number} {what}");
            }
        }
        text.push('\n');
        text
    }

    /// Returns one line of JSON.
    pub(super) fn json(&self, time: Duration) -> String {
        let summary = json!({
            "urls": self.urls,
            "hits": self.hits,
            "revalidated": self.revalidated,
            "stored": self.stored,
            "not_stored": self.not_stored,
            "failed": self.failed,
            "skipped": self.skipped,
            "invalid": self.invalid,
            "left_out": self.left_out,
            "bytes": self.bytes,
            "seconds": time.as_secs_f64(),
        });
        format!("{}\n", json!({ "summary": summary }))
    }
}

fn count(counts: &mut BTreeMap<String, u64>, reason: &str) {
    let is_known = counts.len() < MAX_REASONS || counts.contains_key(reason);
    *counts.entry(if is_known { reason } else { "other" }.to_owned()).or_default() += 1;
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let all: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// Returns one line of JSON about a URL.
pub(super) fn line(url: &CanonicalUrl, answer: &Answer) -> String {
    let (verdict, reason) = match &answer.verdict {
        Verdict::Hit => ("hit", None),
        Verdict::Revalidated => ("revalidated", None),
        Verdict::Stored => ("stored", None),
        Verdict::NotStored(reason) => ("not-stored", Some(reason)),
        Verdict::Failed(reason) => ("failed", Some(reason)),
    };
    let line: Value = json!({
        "url": url.as_str(),
        "result": verdict,
        "reason": reason,
        "status": answer.status.map(|status| status.as_u16()),
        "outcome": answer.outcome.map(Outcome::name),
        "peer": answer.peer,
        "bytes": answer.bytes,
        "seconds": answer.time.as_secs_f64(),
        "error": answer.error.as_ref().map(|error| format!("{error:#}")),
    });
    format!("{line}\n")
}
