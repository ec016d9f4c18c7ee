//! [`TopList`]: the names with the largest amounts of a stream, in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::named::named;

/// The number of names in a list. A name with more than this part of the total is always among them.
const TRACKED: usize = 64;

/// The memory of an entry beside its name, in bytes.
const ENTRY: u64 = 128;

named! {
    /// The amount by which names are compared.
    pub(in crate::peer) enum Order: pub(in crate::peer) ALL {
        /// The number of requests.
        Requests = "requests",
        /// The bytes of content sent.
        Bytes = "bytes",
        /// The requests that the store could not answer.
        Misses = "misses",
    }
}

/// The counts of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::peer) struct Amounts {
    pub(in crate::peer) requests: u64,
    pub(in crate::peer) bytes: u64,
    pub(in crate::peer) misses: u64,
}

impl Amounts {
    pub(in crate::peer) const fn of(&self, order: Order) -> u64 {
        match order {
            Order::Requests => self.requests,
            Order::Bytes => self.bytes,
            Order::Misses => self.misses,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.misses = self.misses.saturating_add(more.misses);
    }
}

/// The names with the largest amounts, by the algorithm Space-Saving (Metwally et al., 2005): a new name replaces the
/// smallest one and inherits its rank. The returned counts of a name begin when it enters the list, so they never exceed
/// its total.
#[derive(Debug, Default)]
pub(super) struct TopList {
    entries: HashMap<Arc<str>, Entry>,
    memory: u64,
}

#[derive(Debug, Default)]
struct Entry {
    amounts: Amounts,
    /// The rank of the replaced name, which counts beside the amounts.
    inherited: u64,
}

impl Entry {
    fn rank(&self, order: Order) -> u64 {
        self.amounts.of(order).saturating_add(self.inherited)
    }
}

impl TopList {
    /// Adds to the amounts of a name. `order` is the same for all calls.
    pub(super) fn add(&mut self, order: Order, name: &Arc<str>, amounts: Amounts) {
        if let Some(entry) = self.entries.get_mut(&**name) {
            return entry.amounts.add(amounts);
        }
        if amounts.of(order) == 0 {
            return;
        }
        let mut entry = Entry { amounts, inherited: 0 };
        if self.entries.len() >= TRACKED {
            let smallest = self.entries.iter().min_by_key(|(_, entry)| entry.rank(order));
            if let Some((smallest, rank)) =
                smallest.map(|(name, entry)| (Arc::clone(name), entry.rank(order)))
            {
                self.entries.remove(&smallest);
                self.memory -= memory(&smallest);
                entry.inherited = rank;
            }
        }
        self.memory += memory(name);
        self.entries.insert(Arc::clone(name), entry);
    }

    /// Returns the names with their counts, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Amounts)> {
        self.entries.iter().map(|(name, entry)| (name, entry.amounts))
    }

    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }
}

fn memory(name: &str) -> u64 {
    ENTRY + name.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(count: u64) -> Amounts {
        Amounts { requests: count, bytes: 10 * count, misses: 0 }
    }

    fn of(list: &TopList, name: &str) -> Option<Amounts> {
        list.iter().find(|(one, _)| &***one == name).map(|(_, amounts)| amounts)
    }

    #[test]
    fn few_names_are_counted_exactly() {
        let mut list = TopList::default();
        for number in 0..TRACKED {
            (0..=number).for_each(|_| list.add(Order::Requests, &number.to_string().into(), requests(1)));
        }
        assert_eq!(of(&list, "63"), Some(requests(64)));
        assert_eq!(of(&list, "0"), Some(requests(1)));
    }

    #[test]
    fn frequent_name_stays_among_many_that_come_once() {
        let mut list = TopList::default();
        for number in 0..10_000 {
            list.add(Order::Requests, &format!("https://a.example/{number}").into(), requests(1));
            if number % 20 == 0 {
                list.add(Order::Requests, &"frequent".into(), requests(1));
            }
        }
        let counted = of(&list, "frequent").unwrap().requests;
        assert!((400..=500).contains(&counted), "{counted}");
        assert_eq!(list.entries.len(), TRACKED);
        let expected: u64 = list.entries.keys().map(|name| memory(name)).sum();
        assert_eq!(list.memory(), expected);
        assert!(list.iter().all(|(name, amounts)| &**name == "frequent" || amounts.requests == 1));
    }

    #[test]
    fn name_without_an_amount_in_the_order_is_not_added() {
        let mut list = TopList::default();
        list.add(Order::Misses, &"hit".into(), requests(1));
        assert_eq!((list.iter().count(), list.memory()), (0, 0));
    }
}
