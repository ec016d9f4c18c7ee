//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::stats::{ConnectionRefusal, FrontStats};

/// Counts the connections of a front.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_address: usize,
    counts: Mutex<Counts>,
    stats: Arc<FrontStats>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Held by a connection for as long as it lasts.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_address: usize, stats: Arc<FrontStats>) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, counts: Mutex::default(), stats })
    }

    /// Lets a connection from this address in, if there is room for it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock();
        if counts.all >= self.most {
            self.stats.count_connection_refusal(ConnectionRefusal::TooMany);
            return None;
        }
        let own = counts.by_address.entry(address).or_default();
        if *own >= self.most_per_address {
            self.stats.count_connection_refusal(ConnectionRefusal::TooManyOfAddress);
            return None;
        }
        *own += 1;
        counts.all += 1;
        drop(counts);
        self.stats.count_accepted();
        Some(Admitted { admission: Arc::clone(self), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.stats.count_closed();
        let mut counts = self.admission.counts.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_kept_and_what_leaves_makes_room() {
        let stats = Arc::new(FrontStats::default());
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
        assert!(admission.counts.lock().by_address.is_empty());
        assert_eq!((stats.accepted(), stats.open()), (4, 0));
    }
}
