//! Invariants of every response head.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::mutate::{headers, lines};
use crate::message::header::cache_control::{MAX_DELTA_SECONDS, RequestDirectives, ResponseDirectives};
use crate::message::header::hop_by_hop;
use crate::message::header::range::ContentRange;
use crate::policy::{
    CredentialDigest, ExchangeTimes, LifetimeSource, Mode, Part, Reuse, Rules, StoringRequest, Validity,
    Variant, condition, freshened, implied_fields, may_serve_on_error, may_store, range_applies, reuse,
    validity,
};
use crate::store::{BackedStore, ByteStore, Key, MemoryByteStore, Store, StoredResponse};

/// The time of the dates in the corpus, in seconds since the epoch.
const NOW: u64 = 784_111_777;

pub(super) fn check(head: &[u8], update: &[u8], request_head: &[u8], next_request: &[u8], elapsed: usize) {
    let status = std::str::from_utf8(lines(head).0.get(9..12).unwrap_or_default());
    let status = status.ok().and_then(|status| status.parse().ok()).unwrap_or(StatusCode::OK);
    let (response, update, request_head, next_request) =
        (headers(head), headers(update), headers(request_head), headers(next_request));
    let directives = ResponseDirectives::of(&response);
    numbers(&directives);
    parts(status, &response, &next_request);
    merging(&response, &update);

    let times = ExchangeTimes { request: at(NOW - 1).into(), response: at(NOW).into() };
    let now = at(NOW + elapsed as u64);
    let _ =
        (condition(&next_request, &response, times.response.wall()), range_applies(&next_request, &response));
    let stored = [Mode::Private, Mode::Shared].map(|mode| {
        let rules = Rules::new(mode);
        let validity = validity(status, &response, &directives, times, &rules);
        time_passes(&validity, &rules, now);
        answers(&validity, &RequestDirectives::of(&next_request), &rules, now);
        let asking = RequestDirectives::of(&request_head);
        let request = StoringRequest { method: &Method::GET, headers: &request_head, directives: &asking };
        let variant =
            Variant::of(&response, &implied_fields(&[], &directives, &rules), &request_head, &TestDigest);
        assert!(variant.matches(&request_head, &TestDigest), "a variant must match its own request");
        records(status, &response, validity, variant, head);
        may_store(request, status, &response, &directives, &rules).is_ok()
    });
    assert!(
        !(stored.contains(&true) && plainly_forbidden(&response)),
        "a response with no-store must not be stored"
    );
    assert!(
        stored[0] || !stored[1] || directives.s_maxage.is_some(),
        "a shared cache must be at least as strict"
    );
}

fn numbers(directives: &ResponseDirectives) {
    let ResponseDirectives { max_age, s_maxage, stale_while_revalidate, stale_if_error, .. } = directives;
    let all = [max_age, s_maxage, stale_while_revalidate, stale_if_error];
    assert!(all.into_iter().flatten().all(|seconds| seconds.as_secs() <= MAX_DELTA_SECONDS));
}

/// A second parser for `no-store`, for fields that have no quoted parts or none that can be parsed.
fn plainly_forbidden(response: &HeaderMap) -> bool {
    let lines = response.get_all(CACHE_CONTROL).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let lines: Vec<_> = lines.map(|line| line.to_ascii_lowercase()).collect();
    let is_open = |line: &String| line.matches('"').count() % 2 == 1 && !line.contains('\\');
    let is_plain = |line: &String| !line.contains(['"', '\\']);
    let has_no_store =
        |line: &String| line.split(',').any(|member| member.trim_matches([' ', '\t']) == "no-store");
    let may_be_read = lines.iter().all(is_plain) || lines.iter().any(is_open);
    may_be_read
        && !lines.iter().any(|line| line.contains("must-understand"))
        && lines.iter().any(has_no_store)
}

fn parts(status: StatusCode, response: &HeaderMap, next_request: &HeaderMap) {
    let Some(part) = Part::of(status, response) else { return };
    assert!(part.start < part.end && part.end <= part.complete && part.length() > 0);
    let read = ContentRange::parse(part.value().as_bytes()).expect("an encoded Content-Range must parse");
    assert_eq!((read.start, read.end, read.complete), (part.start, part.end, Some(part.complete)));
    if let Some(range) = part.answers(next_request, response) {
        assert!(part.start <= range.start && range.start < range.end && range.end <= part.end);
    }
}

fn merging(response: &HeaderMap, update: &HeaderMap) {
    let once = freshened(response, update);
    assert_eq!(freshened(&once, update), once, "applying a 304 twice must change nothing");
    let mut bare = response.clone();
    hop_by_hop::remove(&mut bare);
    let known = bare.clone();
    hop_by_hop::remove(&mut bare);
    assert_eq!(bare, known);
    assert!(![CONNECTION, TRANSFER_ENCODING].iter().any(|name| bare.contains_key(name)));
}

fn time_passes(validity: &Validity, rules: &Rules, now: SystemTime) {
    let most = match validity.lifetime_source {
        LifetimeSource::SMaxage | LifetimeSource::MaxAge => Duration::from_secs(MAX_DELTA_SECONDS),
        // HTTP dates have years of four digits.
        LifetimeSource::Expires => Duration::from_secs(10_000 * 366 * 86_400),
        LifetimeSource::Heuristic => rules.max_heuristic_lifetime,
        LifetimeSource::Rule | LifetimeSource::Purge | LifetimeSource::None => Duration::ZERO,
    };
    assert!(validity.lifetime <= most, "{validity:?}");
    let later = now + Duration::from_secs(1);
    assert!(validity.age(later) > validity.age(now));
    assert!(validity.is_fresh(now) || !validity.is_fresh(later), "a stale response must not become fresh");
    assert_eq!(validity.is_fresh(now), validity.remaining(now) > Duration::ZERO);
}

fn answers(validity: &Validity, request: &RequestDirectives, rules: &Rules, now: SystemTime) {
    let fresh = validity.is_fresh(now);
    let asks_first = validity.no_cache || request.no_cache || (validity.must_revalidate && !fresh);
    let decision = reuse(validity, request, now);
    assert!(matches!(decision, Reuse::Validate(_)) || !asks_first);
    assert!(fresh || decision != Reuse::Fresh);
    assert!(!asks_first || fresh || !may_serve_on_error(StatusCode::OK, validity, request, rules, now));
}

/// A stored record reads back unchanged, and a corrupt record is an error.
fn records(status: StatusCode, response: &HeaderMap, validity: Validity, variant: Variant, head: &[u8]) {
    let key = Key::new("http://example.com/");
    let store = BackedStore::new(MemoryByteStore::new());
    let stored = StoredResponse::new(status, response, Bytes::copy_from_slice(head), validity, variant);
    let mut kept = response.clone();
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        kept.remove(name);
    }
    assert_eq!(stored.headers(), kept);
    assert!(store.insert(&key, Arc::new(stored.clone())).unwrap());
    if status.is_informational() {
        assert!(store.variants(&key).is_err(), "a record of an interim response must not be served");
        return;
    }
    let read = store.variants(&key).unwrap();
    let [read] = &read[..] else { panic!("expected 1 stored response, found {}", read.len()) };
    assert_eq!((read.status(), read.headers()), (status, kept));
    assert_eq!((read.validity(), read.variant(), read.body()), (&validity, stored.variant(), stored.body()));
    store.inner().set(key.as_str(), Bytes::copy_from_slice(head)).unwrap();
    assert!(store.variants(&key).is_err(), "a head must not decode as a record");
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

struct TestDigest;

impl CredentialDigest for TestDigest {
    fn digest(&self, credential: &[u8]) -> u128 {
        credential.iter().fold(7, |sum: u128, byte| sum.wrapping_mul(31).wrapping_add(u128::from(*byte)))
    }
}
