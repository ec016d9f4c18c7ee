//! The tests that every store passes, whatever its trait: see [`contract_suite`].
//!
//! A store joins by an implementation of [`Subject`] and one line:
//!
//! ```text
//! contract_suite!(my_store, || Box::new(MySubject::new()));
//! ```

mod subject;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub(crate) use self::subject::{StoreSubject, Subject};
use super::testing::{grouped, key, response, response_of, validity};
use super::{Key, RemoteBody, StoredResponse};
use crate::base::memory_limit::Ledger;
use crate::message::purge::Purge;
use crate::message::stored_bytes::{StoredBytes, StoredReader};
use crate::policy::{Basis, LifetimeSource, Mode, Rules, Stored, Validity, Variant, judge_again};

/// Reads a range of the body of a stored response.
fn read(stored: &StoredResponse, range: std::ops::Range<usize>) -> Vec<u8> {
    let Some(RemoteBody { source, .. }) = stored.remote() else {
        return stored.body().to_bytes().slice(range).to_vec();
    };
    let mut bytes = Vec::new();
    let range = range.start as u64..range.end as u64;
    StoredReader::body(Arc::clone(source), range, Ledger::new(1 << 30)).read_to_end(&mut bytes).unwrap();
    bytes
}

fn number(stored: &StoredResponse) -> u64 {
    u64::from_be_bytes(*read(stored, 0..8).first_chunk().unwrap())
}

fn numbers(subject: &dyn Subject, key: &Key) -> Vec<u64> {
    subject.find(key).iter().map(|stored| number(stored)).collect()
}

/// Compares with what a store that keeps nothing finds.
fn assert_found(subject: &dyn Subject, key: &Key, expected: &[u64]) {
    assert_eq!(numbers(subject, key), if subject.keeps() { expected } else { &[] });
}

fn body(length: usize) -> Bytes {
    (0..length).map(|at| (at / 3 % 251).to_le_bytes()[0]).collect()
}

fn of(headers: &[(&'static str, &'static str)], body: Bytes) -> StoredResponse {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let headers: HeaderMap = headers.iter().map(field).collect();
    StoredResponse::new(StatusCode::OK, &headers, body, validity(), Variant::default())
}

pub(crate) fn stores_and_finds(mut subject: Box<dyn Subject>) {
    let new = of(&[("etag", "\"1\""), ("x-empty", "")], body(500));
    let new = new.with_basis(Basis { rules: [1, 2, 3, 4], request: 3 });
    assert_eq!(subject.insert(&key(1), &new), subject.keeps());
    for _ in 0..2 {
        let found = subject.find(&key(1));
        assert_eq!(found.len(), usize::from(subject.keeps()));
        for found in found {
            assert_eq!((found.status(), found.field_lines()), (new.status(), new.field_lines()));
            assert_eq!((found.validity(), found.variant()), (new.validity(), new.variant()));
            assert_eq!((found.basis(), found.digest()), (new.basis(), new.digest()));
            assert!(read(&found, 0..500) == body(500));
        }
        assert!(subject.find(&key(2)).is_empty());
        if !subject.restart() {
            return;
        }
    }
}

pub(crate) fn newest_variant_comes_first(subject: &dyn Subject) {
    for (variant, number) in [("a", 1), ("b", 2), ("a", 3)] {
        subject.insert(&key(1), &response(variant, number));
    }
    assert_found(subject, &key(1), &[3, 2]);
}

pub(crate) fn late_response_does_not_replace_a_newer_one(mut subject: Box<dyn Subject>) {
    subject.insert_late(&key(1), &response("a", 2), &response("a", 1));
    subject.insert_late(&key(2), &response_of("a", 4, 50_000), &response_of("a", 3, 50_000));
    for _ in 0..2 {
        assert_found(&*subject, &key(1), &[2]);
        assert_found(&*subject, &key(2), &[4]);
        if !subject.restart() {
            return;
        }
    }
}

/// What one process stores and removes is so for the others.
pub(crate) fn processes_share_what_is_stored(subject: &dyn Subject) {
    let Some(other) = subject.other_process() else { return };
    for number in 1..=4 {
        subject.insert(&key(number), &response_of("a", number, 40_000 * (number % 2)));
    }
    subject.insert(&key(1), &response("b", 5));
    subject.catch_up();
    other.catch_up();
    assert_found(&*other, &key(1), &[5, 1]);
    (2..=4).for_each(|number| assert_found(&*other, &key(number), &[number]));
    // The other adds a variant, and a key.
    other.insert(&key(2), &response("b", 6));
    other.insert(&key(7), &response_of("a", 7, 50_000));
    other.catch_up();
    subject.catch_up();
    assert_found(subject, &key(2), if subject.orders_processes() { &[6, 2] } else { &[2, 6] });
    assert_found(subject, &key(7), &[7]);
    subject.remove(&key(1));
    other.catch_up();
    assert_found(&*other, &key(1), &[]);
    assert_found(&*other, &key(3), &[3]);
    subject.purge(&Purge::prefix("http://a/003").unwrap());
    other.catch_up();
    assert_found(&*other, &key(3), &[]);
    assert_found(&*other, &key(4), &[4]);
    subject.purge(&Purge::all());
    other.catch_up();
    assert_found(&*other, &key(4), &[]);
}

pub(crate) fn removal_survives_a_restart(mut subject: Box<dyn Subject>) {
    for number in 1..=3 {
        subject.insert(&key(number), &response_of("a", number, 50_000));
    }
    subject.remove(&key(1));
    subject.remove(&key(9));
    for _ in 0..2 {
        assert_found(&*subject, &key(1), &[]);
        assert_found(&*subject, &key(2), &[2]);
        if !subject.restart() {
            return;
        }
    }
}

pub(crate) fn purge_survives_a_restart(make: &dyn Fn() -> Box<dyn Subject>) {
    for (purge, left) in [
        (Purge::url(key(1).url()).unwrap(), &[2, 3, 4][..]),
        (Purge::prefix("http://a/00").unwrap(), &[4]),
        (Purge::group("http://a", "news").unwrap(), &[1, 2, 4]),
        (Purge::all(), &[]),
    ] {
        let mut subject = make();
        let keys = [key(1), key(2), key(3), Key::new("http://ab/1")];
        subject.insert(&keys[0], &response("a", 1));
        subject.insert(&keys[1], &response_of("a", 2, 50_000));
        subject.insert(&keys[2], &grouped("a", 3, "news"));
        subject.insert(&keys[3], &response("a", 4));
        let purged = subject.purge(&purge);
        let is_counted = subject.keeps() && subject.counts(&purge);
        let expected = if is_counted { 4 - left.len() as u64 } else { 0 };
        assert_eq!((purged.responses, purged.is_counted), (expected, true), "{purge:?}");
        for _ in 0..2 {
            let found: Vec<u64> = keys.iter().flat_map(|key| numbers(&*subject, key)).collect();
            assert_eq!(found, if subject.keeps() { left } else { &[] }, "{purge:?}");
            assert_eq!(subject.purge(&purge).responses, 0, "{purge:?}");
            if !subject.restart() {
                break;
            }
        }
    }
}

pub(crate) fn soft_purge_leaves_a_stale_response(mut subject: Box<dyn Subject>) {
    // A store on a network uses the time of its server for the time of the purge.
    let now = SystemTime::now();
    let validity = Validity { response_time: now.into(), ..validity() };
    subject.insert(&key(1), &response("a", 1).with_validity(validity));
    let at = now + Duration::from_secs(10);
    subject.purge(&Purge::url(key(1).url()).unwrap().soft().at(at));
    for _ in 0..2 {
        for found in subject.find(&key(1)) {
            assert_eq!(found.validity().lifetime_source, LifetimeSource::Purge);
            assert!(!found.validity().is_fresh(at) && number(&found) == 1);
        }
        assert_eq!(subject.find(&key(1)).len(), usize::from(subject.keeps()));
        if !subject.restart() {
            return;
        }
    }
}

/// What a 304 does.
pub(crate) fn new_head_keeps_the_body(mut subject: Box<dyn Subject>) {
    subject.insert(&key(1), &of(&[("x-version", "1")], body(300_000)));
    for version in ["2", "3"] {
        let Some(found) = subject.find(&key(1)).pop() else { return assert!(!subject.keeps()) };
        let mut headers = found.headers();
        headers.insert("x-version", HeaderValue::from_str(version).unwrap());
        let (digest, variant) = (found.digest(), found.variant().clone());
        let head =
            StoredResponse::with_digest(found.status(), &headers, found.body(), digest, validity(), variant);
        let head = match found.remote() {
            Some(remote) => head.with_remote(remote.clone()),
            None => head,
        };
        drop(found);
        assert!(subject.insert(&key(1), &head));
        let found = subject.find(&key(1));
        assert_eq!((found.len(), &found[0].headers()["x-version"]), (1, &HeaderValue::from_static(version)));
        assert!(read(&found[0], 0..300_000) == body(300_000));
        drop(found);
        if !subject.restart() {
            return;
        }
    }
}

pub(crate) fn ranges_of_a_large_body_are_read(mut subject: Box<dyn Subject>) {
    const LENGTH: usize = 2_000_000;
    let is_taken = subject.insert(&key(1), &of(&[], body(LENGTH)));
    assert!(is_taken || !subject.keeps());
    for _ in 0..2 {
        let found = subject.find(&key(1));
        assert_eq!(found.len(), usize::from(is_taken));
        for found in found {
            assert_eq!(found.body_length(), LENGTH);
            for range in [0..1, 65_535..65_537, LENGTH - 10..LENGTH, 0..LENGTH] {
                assert!(read(&found, range.clone()) == body(LENGTH)[range]);
            }
        }
        if !subject.restart() {
            return;
        }
    }
}

pub(crate) fn body_is_read_while_it_is_written(mut subject: Box<dyn Subject>) {
    let bytes = body(1_000_000);
    let Some(spill) = subject.begin(None) else { return };
    for (at, piece) in bytes.chunks(100_000).enumerate() {
        spill.write(piece).unwrap();
        // A reader that joins begins at the start.
        let joined = spill.read(0, 70_000).unwrap();
        assert!(!joined.is_empty() && *joined == bytes[..joined.len()]);
        let last = spill.read((at * 100_000) as u64, 100_000).unwrap();
        assert!(*last == bytes[at * 100_000..][..last.len()]);
    }
    // A body that is not finished leaves nothing.
    let dropped = subject.begin(Some(500_000)).unwrap();
    dropped.write(&bytes[..400_000]).unwrap();
    drop(dropped);
    let number = spill.finish().unwrap();
    let source: Arc<dyn StoredBytes> = spill;
    let head = of(&[], bytes.clone()).with_remote(RemoteBody::on_disk(1_000_000, source));
    assert!(subject.insert_spilled(&key(1), &head, number));
    drop(head);
    for _ in 0..2 {
        let found = subject.find(&key(1));
        assert!(found.len() == 1 && read(&found[0], 0..1_000_000) == bytes);
        drop(found);
        if !subject.restart() {
            return;
        }
    }
}

/// A head that was written in private mode means something else in shared mode.
pub(crate) fn inputs_of_the_verdict_are_kept(mut subject: Box<dyn Subject>) {
    let (private, shared) = (Rules::default(), Rules::new(Mode::Shared));
    let basis = Basis::of(private.digest(), &HeaderMap::new(), &Variant::default());
    let fields = |value| of(&[("cache-control", value)], body(10)).with_basis(basis);
    subject.insert(&key(1), &fields("max-age=60, s-maxage=600"));
    subject.insert(&key(2), &fields("private, max-age=60"));
    subject.restart();
    let judge = |key: &Key| {
        let found = subject.find(key).pop()?;
        assert!(!found.basis().is_of(shared.digest()) && found.basis().is_of(private.digest()));
        let stored = Stored {
            url: key.url(),
            is_partitioned: false,
            status: found.status(),
            headers: &found.headers(),
            variant: found.variant(),
            validity: found.validity(),
            basis: found.basis(),
        };
        judge_again(stored, &shared, 0).map(|validity| validity.lifetime)
    };
    assert_eq!(judge(&key(1)), subject.find(&key(1)).first().map(|_| Duration::from_secs(600)));
    assert_eq!(judge(&key(2)), None);
}

/// Tests a store: one test for each part of the contract.
macro_rules! contract_suite {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            use $crate::store::contract_suite as suite;

            fn make() -> Box<dyn suite::Subject> {
                $make
            }

            #[test]
            fn stores_and_finds() {
                suite::stores_and_finds(make());
            }

            #[test]
            fn newest_variant_comes_first() {
                suite::newest_variant_comes_first(&*make());
            }

            #[test]
            fn late_response_does_not_replace_a_newer_one() {
                suite::late_response_does_not_replace_a_newer_one(make());
            }

            #[test]
            fn processes_share_what_is_stored() {
                suite::processes_share_what_is_stored(&*make());
            }

            #[test]
            fn removal_survives_a_restart() {
                suite::removal_survives_a_restart(make());
            }

            #[test]
            fn purge_survives_a_restart() {
                suite::purge_survives_a_restart(&make);
            }

            #[test]
            fn soft_purge_leaves_a_stale_response() {
                suite::soft_purge_leaves_a_stale_response(make());
            }

            #[test]
            fn new_head_keeps_the_body() {
                suite::new_head_keeps_the_body(make());
            }

            #[test]
            fn ranges_of_a_large_body_are_read() {
                suite::ranges_of_a_large_body_are_read(make());
            }

            #[test]
            fn body_is_read_while_it_is_written() {
                suite::body_is_read_while_it_is_written(make());
            }

            #[test]
            fn inputs_of_the_verdict_are_kept() {
                suite::inputs_of_the_verdict_are_kept(make());
            }
        }
    };
}

pub(crate) use contract_suite;
