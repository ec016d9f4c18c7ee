use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};

use super::*;
use crate::policy::{LifetimeSource, Validity, Variant};
use crate::store::Key;

const URL: &str = "http://h/a";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A response that is fresh for an hour.
fn stored(sequence: Sequence) -> StoredResponse {
    let validity = Validity {
        response_time: at(0).into(),
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(3600),
        lifetime_source: LifetimeSource::MaxAge,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: None,
        no_cache: false,
        must_revalidate: false,
        immutable: false,
    };
    let response = StoredResponse::new(
        StatusCode::OK,
        &HeaderMap::new(),
        bytes::Bytes::new(),
        validity,
        Variant::default(),
    );
    response.with_sequence(sequence)
}

#[test]
fn a_purge_stays_listed_until_swept_and_no_older_fetch_is_under_way() {
    let (soft, tombstones) = (SoftPurges::default(), Arc::new(Tombstones::default()));
    let fetch = tombstones.begin(&Key::new(URL), at(1));
    let stored = stored(fetch.sequence());
    let is_stale = || soft.mark(URL, &stored, &tombstones).is_some();
    assert!(!is_stale());
    let (purge, sequence) = soft.add(&Purge::prefix("http://h/").unwrap().soft(), &tombstones, at(2));
    assert!(purge.is_soft() && is_stale() && soft.covers_key(URL, fetch.sequence()));
    let later = tombstones.begin(&Key::new(URL), at(3));
    assert!(!soft.covers_key(URL, later.sequence()));
    assert!(!soft.covers_key("http://other/", fetch.sequence()));
    soft.note_swept(sequence, &tombstones);
    assert!(is_stale(), "an older fetch is under way");
    drop(fetch);
    let before = tombstones.retirements();
    assert!(is_stale());
    assert!(!is_stale() && soft.list.read().is_empty());
    assert!(tombstones.retirements() > before);
}

#[test]
fn beyond_the_limit_everything_older_is_stale() {
    let (soft, tombstones) = (SoftPurges::default(), Tombstones::default());
    let old = stored(1);
    for number in 0..=MAX_PURGES {
        soft.add(&Purge::url(&format!("http://other/{number}")).unwrap().soft(), &tombstones, at(1));
    }
    assert_eq!(soft.list.read().len(), MAX_PURGES);
    assert!(soft.mark(URL, &old, &tombstones).is_some());
}
