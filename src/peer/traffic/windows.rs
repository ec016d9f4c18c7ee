//! [`Windows`]: the top lists of the last hour.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::top_list::{Amounts, Order, TopList};
use crate::base::named::named;

/// A window ends after this time. The lists cover the current and the previous window.
const WINDOW: Duration = Duration::from_secs(1800);

/// The maximum length of a name; the rest is cut off.
const MAX_NAME: usize = 256;

named! {
    /// The subject of a list.
    #[repr(usize)]
    pub(in crate::peer) enum Subject: pub(in crate::peer) ALL {
        /// URLs without query.
        Urls = "urls",
        /// Scheme and authority of URLs, and mirrors.
        Origins = "origins",
        /// IP addresses of clients.
        Clients = "clients",
    }
}

const LISTS: usize = Subject::ALL.len() * Order::ALL.len();

type Lists = [TopList; LISTS];

/// The top lists by subject and order.
#[derive(Debug)]
pub(super) struct Windows {
    current: Lists,
    previous: Lists,
    /// The start of the current window.
    started: Instant,
    /// The start of the covered time.
    covers_from: Instant,
}

/// The names with the largest amounts.
#[derive(Debug)]
pub(in crate::peer) struct TopNames {
    /// The time that the lists cover.
    pub(in crate::peer) covers: Duration,
    /// The lists in the order of [`Subject::ALL`], and for each subject in the order of [`Order::ALL`]. Descending.
    lists: Vec<Vec<(Arc<str>, Amounts)>>,
}

impl TopNames {
    pub(in crate::peer) fn list(&self, subject: Subject, order: Order) -> &[(Arc<str>, Amounts)] {
        &self.lists[index(subject, order)]
    }
}

fn index(subject: Subject, order: Order) -> usize {
    subject as usize * Order::ALL.len() + order as usize
}

impl Windows {
    pub(super) fn new(now: Instant) -> Self {
        Self { current: Lists::default(), previous: Lists::default(), started: now, covers_from: now }
    }

    /// Adds requests of a client for a URL without query. Names consist of ASCII characters.
    pub(super) fn add(&mut self, url: &str, client: &str, amounts: Amounts, now: Instant) {
        self.turn(now);
        for (subject, name) in Subject::ALL.into_iter().zip([url, origin(url), client]) {
            let name: Arc<str> = name.get(..MAX_NAME).unwrap_or(name).into();
            for order in Order::ALL {
                self.current[index(subject, order)].add(order, &name, amounts);
            }
        }
    }

    /// Returns the largest names of the current and the previous window.
    pub(super) fn top(&mut self, most: usize, now: Instant) -> TopNames {
        self.turn(now);
        let order_of = |list: usize| Order::ALL[list % Order::ALL.len()];
        let lists = (0..LISTS).map(|list| {
            let mut sums: HashMap<&Arc<str>, Amounts> = HashMap::new();
            for (name, amounts) in self.previous[list].iter().chain(self.current[list].iter()) {
                sums.entry(name).or_default().add(amounts);
            }
            let mut sums: Vec<_> = sums.into_iter().map(|(name, sum)| (Arc::clone(name), sum)).collect();
            let amount = |sum: &Amounts| sum.of(order_of(list));
            sums.sort_by(|one, other| amount(&other.1).cmp(&amount(&one.1)).then(one.0.cmp(&other.0)));
            sums.truncate(most);
            sums
        });
        TopNames { covers: now.saturating_duration_since(self.covers_from), lists: lists.collect() }
    }

    /// Begins a new window if the current one is over.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.started);
        if age < WINDOW {
            return;
        }
        let ended = std::mem::take(&mut self.current);
        (self.previous, self.covers_from) =
            if age < 2 * WINDOW { (ended, self.started) } else { (Lists::default(), now) };
        self.started = now;
    }

    /// Returns the memory of the lists in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.current.iter().chain(&self.previous).map(TopList::memory).sum()
    }
}

/// Returns scheme and authority of a URL, or the first two segments of a path below which a mirror is served.
fn origin(url: &str) -> &str {
    let (start, segments) = match url.find("://") {
        Some(at) => (at + 3, 1),
        None => (1.min(url.len()), 2),
    };
    let end = url[start..].match_indices('/').nth(segments - 1);
    end.map_or(url, |(at, _)| &url[..start + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Amounts = Amounts { requests: 1, bytes: 100, misses: 1 };

    #[test]
    fn lists_are_ordered_by_each_amount() {
        let now = Instant::now();
        let mut windows = Windows::new(now);
        let hits = Amounts { requests: 5, bytes: 10, misses: 0 };
        windows.add("https://a.example/x", "10.0.0.1", hits, now);
        windows.add("https://a.example/y", "10.0.0.2", ONE, now);
        windows.add("https://b.example/z", "10.0.0.2", ONE, now);
        windows.add("/mirror/pypi/simple/", "10.0.0.2", ONE, now);
        let top = windows.top(2, now);
        let names = |subject, order| -> Vec<_> {
            top.list(subject, order).iter().map(|(name, _)| name.to_string()).collect()
        };
        assert_eq!(names(Subject::Urls, Order::Requests), ["https://a.example/x", "/mirror/pypi/simple/"]);
        assert_eq!(names(Subject::Origins, Order::Bytes), ["https://a.example", "/mirror/pypi"]);
        assert_eq!(names(Subject::Clients, Order::Misses), ["10.0.0.2"]);
        assert_eq!(
            top.list(Subject::Clients, Order::Bytes)[0].1,
            Amounts { requests: 3, bytes: 300, misses: 3 }
        );
        assert_eq!(
            windows.top(20, now).list(Subject::Origins, Order::Requests)[2].0.as_ref(),
            "https://b.example"
        );
    }

    #[test]
    fn lists_cover_at_most_an_hour() {
        let start = Instant::now();
        let mut windows = Windows::new(start);
        let requests = |windows: &mut Windows, at| {
            let top = windows.top(20, at);
            (top.list(Subject::Urls, Order::Requests).first().map(|(_, sum)| sum.requests), top.covers)
        };
        windows.add("https://a.example/", "10.0.0.1", ONE, start);
        windows.add("https://a.example/", "10.0.0.1", ONE, start + WINDOW);
        assert_eq!(requests(&mut windows, start + WINDOW), (Some(2), WINDOW));
        assert_eq!(requests(&mut windows, start + 2 * WINDOW), (Some(1), WINDOW));
        assert_eq!(requests(&mut windows, start + 10 * WINDOW), (None, Duration::ZERO));
        assert_eq!(windows.memory(), 0);
    }

    #[test]
    fn long_names_are_cut() {
        let now = Instant::now();
        let mut windows = Windows::new(now);
        windows.add(&format!("https://a.example/{}", "x".repeat(10_000)), "10.0.0.1", ONE, now);
        assert_eq!(windows.top(1, now).list(Subject::Urls, Order::Bytes)[0].0.len(), MAX_NAME);
        assert!(windows.memory() < 9 * 500, "{}", windows.memory());
    }
}
