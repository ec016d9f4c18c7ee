//! How many connections there may be, in all and from one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::stats::{ConnectionRefusal, ServerStats};
use crate::scheduler::Client;

/// Counts the connections of a front.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_client: usize,
    counts: Mutex<Counts>,
    stats: Arc<ServerStats>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<Client, usize>,
}

/// Held by a connection for as long as it lasts.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    client: Client,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_client: usize, stats: Arc<ServerStats>) -> Arc<Self> {
        Arc::new(Self { most, most_per_client, counts: Mutex::default(), stats })
    }

    /// Lets a connection from this address in, if there is room for it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let client = Client::of(address);
        let mut counts = self.counts.lock();
        if counts.all >= self.most {
            self.stats.count_connection_refusal(ConnectionRefusal::TooMany);
            return None;
        }
        let own = counts.by_client.entry(client).or_default();
        if *own >= self.most_per_client {
            self.stats.count_connection_refusal(ConnectionRefusal::TooManyOfAddress);
            return None;
        }
        *own += 1;
        counts.all += 1;
        drop(counts);
        self.stats.count_accepted();
        Some(Admitted { admission: Arc::clone(self), client })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.stats.count_closed();
        let mut counts = self.admission.counts.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// Files that a process has open beside its connections and those to origins, at most a quarter of all.
const OTHER_FILES: usize = 64;

/// As many connections to origins are kept when nobody uses them.
const KEPT_TO_ORIGINS: usize = 2048;

/// How many connections there may be where so many files may be open: each of these threads may have a connection to
/// an origin, and others are kept, in up to a quarter of all files.
pub(super) fn most_connections(open_files: usize, threads: usize) -> usize {
    let quarter = open_files / 4;
    let to_origins = quarter.min(KEPT_TO_ORIGINS).max(threads);
    open_files.saturating_sub(to_origins).saturating_sub(quarter.min(OTHER_FILES)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_origins() {
        for (files, threads, most) in [
            (usize::MAX, 1024, usize::MAX - 2048 - 64),
            (65_536, 4096, 65_536 - 4096 - 64),
            (1024, 512, 448),
            (256, 8, 128),
            (40, 20, 10),
            (2, 9, 1),
        ] {
            assert_eq!(most_connections(files, threads), most, "{files} files, {threads} threads");
        }
    }

    #[test]
    fn both_limits_are_kept_and_what_leaves_makes_room() {
        let stats = Arc::new(ServerStats::default());
        let admission = Admission::new(3, 2, Arc::clone(&stats));
        let [one, other, third] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap());
        let first = admission.admit(one).unwrap();
        let second = admission.admit("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(admission.admit(one).is_none());
        let last = admission.admit(other).unwrap();
        assert!(admission.admit(third).is_none());
        assert_eq!((stats.accepted(), stats.open()), (3, 3));
        assert_eq!(stats.connection_refusals()[..2], [("too_many", 1), ("too_many_of_address", 1)]);
        drop(first);
        drop(admission.admit(third).unwrap());
        drop((second, last));
        assert!(admission.counts.lock().by_client.is_empty());
        assert_eq!((stats.accepted(), stats.open()), (4, 0));
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_have_one_limit() {
        let admission = Admission::new(9, 2, Arc::default());
        let admit = |text: &str| admission.admit(text.parse().unwrap());
        let held = [admit("2001:db8::1"), admit("2001:db8::2:0:0:1")];
        assert!(held.iter().all(Option::is_some) && admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
    }
}
