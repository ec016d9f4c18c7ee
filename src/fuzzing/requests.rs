//! Invariants of every request head.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, RANGE, TRANSFER_ENCODING};

use super::mutate::{headers, lines};
use crate::message::header::cache_control::{MAX_DELTA_SECONDS, RequestDirectives};
use crate::message::header::range::{Requested, requested};
use crate::message::url::{CanonicalUrl, query_escape, query_value};
use crate::server::check_request_head;

const LENGTHS: [u64; 5] = [0, 1, 1000, 1 << 62, u64::MAX];

pub(super) fn check(head: &[u8]) {
    let (line, fields) = lines(head);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let version = if words.next() == Some(b"HTTP/1.0") { (1, 0) } else { (1, 1) };
    if let Some(request) = check_request_head(method, target, version, fields.into_iter()) {
        let headers = request.headers();
        let count = |name| headers.get_all(name).iter().count();
        assert!(count(HOST) == 1 || (count(HOST) == 0 && version == (1, 0)));
        assert!(count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1, "there is at most one framing field");
        query(request.uri().query());
    }
    if let Ok(text) = std::str::from_utf8(target) {
        query(text.split_once('?').map(|(_, query)| query));
        url(text);
    }
    let headers = headers(head);
    directives(RequestDirectives::of(&headers));
    for field in headers.get_all(RANGE) {
        ranges(field.as_bytes());
    }
}

fn query(query: Option<&str>) {
    let Ok(Some(value)) = query_value(query, "q") else { return };
    let escaped = format!("q={}", query_escape(&value));
    assert_eq!(query_value(Some(&escaped), "q"), Ok(Some(value.clone())));
    url(&value);
}

fn url(text: &str) {
    let Ok(target) = CanonicalUrl::parse(text) else { return };
    assert_eq!(CanonicalUrl::parse(target.as_str()).as_ref(), Ok(&target), "canonicalization is idempotent");
    assert_eq!(target.uri().to_string(), target.as_str());
    assert!(!target.authority().contains('@') && target.path().starts_with('/'));
    if let Some(joined) = target.join(text) {
        assert_eq!(CanonicalUrl::parse(joined.as_str()).as_ref(), Ok(&joined));
    }
}

fn directives(directives: RequestDirectives) {
    let most = Duration::from_secs(MAX_DELTA_SECONDS);
    let RequestDirectives { max_age, min_fresh, max_stale, .. } = directives;
    assert!([max_age, min_fresh].into_iter().flatten().all(|seconds| seconds <= most));
    assert!(max_stale.is_none_or(|seconds| seconds <= most || seconds == Duration::MAX));
}

fn ranges(field: &[u8]) {
    for length in LENGTHS {
        if let Requested::Parts(parts) = requested(field, length) {
            assert!(!parts.is_empty() && parts.len() <= 16);
            assert!(parts.iter().all(|(start, end)| start < end && *end <= length));
        }
    }
}
