use super::*;

#[test]
fn dropping_a_hold_releases_its_bytes() {
    let ledger = Ledger::new(100);
    let mut hold = ledger.reserve(MemoryUse::Windows, 60).unwrap();
    assert!(ledger.reserve(MemoryUse::Content, 41).is_none());
    assert!(hold.try_grow(40) && !hold.try_grow(1));
    let over = ledger.hold(MemoryUse::Content, 7);
    assert!(ledger.is_over());
    assert_eq!((ledger.total(), ledger.held(MemoryUse::Windows), hold.bytes()), (107, 100, 100));
    hold.set(10);
    assert_eq!(ledger.total(), 17);
    drop((hold, over));
    assert_eq!(ledger.total(), 0);
}

#[test]
fn shared_bytes_count_until_the_last_holder_drops_them() {
    let ledger = Ledger::new(100);
    let bytes = ledger.share(MemoryUse::Bodies, vec![7; 50].into());
    let part = bytes.slice(1..2);
    drop(bytes);
    assert_eq!(ledger.held(MemoryUse::Bodies), 50);
    let refused = ledger.try_share(MemoryUse::Bodies, vec![7; 51].into()).unwrap_err();
    assert_eq!((refused.len(), ledger.total()), (51, 50));
    drop(ledger.try_share(MemoryUse::Bodies, vec![7; 50].into()).unwrap());
    drop(part);
    assert_eq!(ledger.held(MemoryUse::Bodies), 0);
}

#[test]
fn ledger_evicts_before_it_refuses_a_reservation() {
    struct Store(parking_lot::Mutex<Vec<Hold>>);
    impl Evict for Store {
        fn make_room(&self) {
            drop(self.0.lock().pop());
        }

        fn max_evictable(&self) -> u64 {
            self.0.lock().iter().map(Hold::bytes).sum()
        }
    }
    let ledger = Ledger::new(100);
    let store = Arc::new(Store(parking_lot::Mutex::default()));
    let weak: Weak<Store> = Arc::downgrade(&store);
    ledger.set_store(weak);
    store.0.lock().push(ledger.hold(MemoryUse::Entries, 90));
    assert!(ledger.reserve(MemoryUse::Fetches, 101).is_none());
    assert_eq!(ledger.total(), 90, "nothing is evicted for a reservation that cannot fit");
    let hold = ledger.reserve(MemoryUse::Fetches, 50).unwrap();
    assert_eq!(ledger.total(), 50);
    assert!(ledger.reserve(MemoryUse::Fetches, 51).is_none());
    drop(hold);
    store.0.lock().push(ledger.hold(MemoryUse::Entries, 60));
    let held = ledger.hold(MemoryUse::Content, 100);
    assert!(ledger.is_over() && !ledger.is_exhausted(), "the store can free enough");
    let more = ledger.hold(MemoryUse::Content, 1);
    assert!(ledger.is_exhausted());
    assert!(ledger.is_short() && ledger.total() == 161, "nothing is evicted in vain");
    drop(more);
    assert!(!ledger.is_short() && ledger.total() == 100, "the store has evicted");
    drop(held);
    assert!(!ledger.is_exhausted());
}
