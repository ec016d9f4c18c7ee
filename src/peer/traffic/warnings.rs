//! [`RecentWarnings`]: the last warnings of the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::base::redacted::redacted;

/// The number of warnings that are kept.
const MAX_WARNINGS: usize = 50;

/// The maximum length of a warning in characters; the rest is cut off.
const MAX_TEXT: usize = 500;

/// The last 50 warnings of a program's log, for the status page of a peer
/// ([`PeerBuilder::recent_warnings`](crate::peer::PeerBuilder::recent_warnings)). The program's logger adds them.
///
/// A warning that occurs again is counted and moves to the end. URLs are kept without userinfo and query.
///
/// ```
/// use std::time::SystemTime;
///
/// use forwardcache::peer::RecentWarnings;
/// use forwardcache::Peer;
///
/// let warnings = RecentWarnings::new();
/// let peer = Peer::builder("http://127.0.0.1:3000").recent_warnings(&warnings).build()?;
/// // In the logger, for records of the target `forwardcache` with the level Warn or Error:
/// warnings.add("the disk is full", SystemTime::now());
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// A clone is cheap and shares the warnings.
#[derive(Clone, Debug, Default)]
pub struct RecentWarnings(Arc<Mutex<VecDeque<Warning>>>);

/// A warning, and how often it has occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peer) struct Warning {
    pub(in crate::peer) text: String,
    pub(in crate::peer) last: SystemTime,
    pub(in crate::peer) count: u64,
}

impl RecentWarnings {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a warning that was logged at this time.
    pub fn add(&self, text: &str, at: SystemTime) {
        let text = shown(text);
        let mut warnings = self.0.lock();
        let known = warnings.iter().position(|warning| warning.text == text);
        let count = known.and_then(|index| warnings.remove(index)).map_or(0, |warning| warning.count);
        if warnings.len() >= MAX_WARNINGS {
            warnings.pop_front();
        }
        warnings.push_back(Warning { text, last: at, count: count + 1 });
    }

    /// Returns the warnings, the latest first.
    pub(in crate::peer) fn latest_first(&self) -> Vec<Warning> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

/// Returns the text without userinfo and queries of URLs, on one line.
fn shown(text: &str) -> String {
    let words = text.split_whitespace().map(|word| match word.find("://") {
        Some(_) => redacted(word),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_warning_is_counted_and_moves_to_the_front() {
        let warnings = RecentWarnings::new();
        for second in 0..3 {
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            warnings.add(if second == 1 { "other" } else { "same" }, at);
        }
        let listed: Vec<_> = warnings.latest_first().into_iter().map(|one| (one.text, one.count)).collect();
        assert_eq!(listed, [("same".to_owned(), 2), ("other".to_owned(), 1)]);
        let last = warnings.latest_first()[0].last.duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(last.unwrap().as_secs(), 2);
    }

    #[test]
    fn number_and_length_are_limited() {
        let warnings = RecentWarnings::new();
        (0..100).for_each(|number| warnings.add(&number.to_string(), SystemTime::now()));
        warnings.add(&"ä".repeat(1000), SystemTime::now());
        let listed = warnings.latest_first();
        assert_eq!((listed.len(), listed[1].text.as_str(), listed[49].text.as_str()), (50, "99", "51"));
        assert_eq!(listed[0].text.chars().count(), MAX_TEXT);
    }

    #[test]
    fn credentials_in_urls_are_removed() {
        let warnings = RecentWarnings::new();
        warnings.add("cannot fetch https://user:pw@a.example/x?key=secret\nnow", SystemTime::now());
        assert_eq!(warnings.latest_first()[0].text, "cannot fetch https://a.example/x now");
    }
}
