//! What a client learnt of peers that are down, as text, for one that comes after it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::peer_url::PeerUrl;

/// More than a text of marks may hold.
const MOST: usize = 4096;

/// Which peers are down, and up to when they are left alone: what one short program may tell the next, so that
/// not each of them waits for a peer that is not there.
///
/// As text it is a line for each peer: `<base URL> <milliseconds since 1970> <failures>`.
///
/// ```
/// use forwardcache::{Client, Marks};
///
/// let marks = Marks::parse("http://10.0.0.1:3000 4102444800000 3\nnonsense");
/// assert_eq!(marks.to_string(), "http://10.0.0.1:3000 4102444800000 3\n");
/// let client = Client::builder().pool(["http://10.0.0.1:3000"]).marks(marks).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Marks {
    marks: Vec<Mark>,
}

#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) peer: PeerUrl,
    pub(super) until: SystemTime,
    pub(super) failures: u32,
}

impl Marks {
    /// Reads the text. A line that cannot be read is passed over: a mark is a hint.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { marks: text.lines().take(MOST).filter_map(line).collect() }
    }

    /// Whether no peer is down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn add(&mut self, peer: PeerUrl, until: SystemTime, failures: u32) {
        self.marks.push(Mark { peer, until, failures });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }
}

fn line(line: &str) -> Option<Mark> {
    let mut words = line.split(' ');
    let peer = PeerUrl::parse(words.next()?).ok()?;
    let until = UNIX_EPOCH.checked_add(Duration::from_millis(words.next()?.parse().ok()?))?;
    let failures = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Mark { peer, until, failures })
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Mark { peer, until, failures } in &self.marks {
            let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            writeln!(f, "{peer} {until} {failures}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_no_mark() {
        for text in [
            "",
            "\n\n",
            "http://p:1",
            "http://p:1 1000",
            "http://p:1 1000 1 more",
            "http://p:1 -5 1",
            "http://p:1 1000 x",
            "http://p:1 99999999999999999999999 1",
            "p 1000 1",
            "http://user@p:1 1000 1",
            "\u{0} \u{0} \u{0}",
        ] {
            assert!(Marks::parse(text).is_empty(), "{text:?}");
        }
        let most = Marks::parse(&format!("http://p:1 {} 4294967295", u64::MAX));
        assert!(most.iter().count() <= 1);
    }

    #[test]
    fn text_and_back() {
        let text = "http://p:1 1000 1\nhttps://q/cache 2000 7\n";
        assert_eq!(Marks::parse(text).to_string(), text);
    }
}
