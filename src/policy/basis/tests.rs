use std::time::{Duration, UNIX_EPOCH};

use http::HeaderName;

use super::*;
use crate::policy::Mode;

struct Digests;

impl crate::policy::CredentialDigest for Digests {
    fn digest(&self, credential: &[u8]) -> u128 {
        credential.len() as u128
    }
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn private() -> Rules {
    Rules::default()
}

fn shared() -> Rules {
    Rules::new(Mode::Shared)
}

/// Stores a response under one set of rules, and returns the lifetime in seconds under another.
fn read(
    (writer, request): (&Rules, &[(&'static str, &'static str)]),
    response: &[(&'static str, &'static str)],
    reader: &Rules,
) -> Option<u64> {
    let (request, headers) = (map(request), map(response));
    let target = CanonicalUrl::parse("http://a/").unwrap();
    let (directives, rule) = directives_by_rules(&target, StatusCode::OK, &headers, writer);
    let received = (UNIX_EPOCH + Duration::from_secs(1_700_000_000)).into();
    let times = ExchangeTimes { request: received, response: received };
    let mut validity = validity(StatusCode::OK, &headers, &directives, times, writer);
    apply_rules(&mut validity, &directives, rule, writer, 0);
    let selecting: Vec<HeaderName> = crate::policy::selecting(&request, writer).cloned().collect();
    let variant = Variant::of(&headers, &implied_fields(&selecting, &directives, writer), &request, &Digests);
    let basis = Basis::of(writer.digest(), &request, &variant);
    assert!(basis.is_of(writer.digest()) && !basis.is_of(reader.digest()));
    let stored = Stored {
        url: "http://a/",
        is_partitioned: false,
        status: StatusCode::OK,
        headers: &headers,
        variant: &variant,
        validity: &validity,
        basis,
    };
    judge_again(stored, reader, 0).map(|validity| validity.lifetime.as_secs())
}

#[test]
fn lifetime_is_that_of_the_readers_mode() {
    let fields = [("cache-control", "max-age=60, s-maxage=600"), ("cdn-cache-control", "max-age=6000")];
    assert_eq!(read((&private(), &[]), &fields[..1], &shared()), Some(600));
    assert_eq!(read((&shared(), &[]), &fields[..1], &private()), Some(60));
    assert_eq!(read((&private(), &[]), &fields, &shared()), Some(6000));
    let rule = Rules::default().lifetimes(vec!["host=a exactly=5m".parse().unwrap()]);
    assert_eq!(read((&private(), &[]), &fields[..1], &rule), Some(300));
    assert_eq!(read((&rule, &[]), &fields[..1], &shared()), Some(600));
}

#[test]
fn response_that_the_reader_would_not_have_stored_is_not_found() {
    let private_response = [("cache-control", "private, max-age=60")];
    assert_eq!(read((&private(), &[]), &private_response, &shared()), None);
    let cookie = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
    assert_eq!(read((&private(), &[]), &cookie, &shared()), None);
    assert_eq!(read((&private(), &[]), &cookie, &shared().store_set_cookie(true)), Some(60));
    let authorized: &[(&str, &str)] = &[("authorization", "secret")];
    let plain = [("cache-control", "max-age=60")];
    let public = [("cache-control", "public, max-age=60")];
    assert_eq!(read((&private(), authorized), &plain, &shared()), None);
    assert_eq!(read((&private(), authorized), &public, &shared()), Some(60));
    assert_eq!(read((&shared(), authorized), &public, &private()), None, "it has no partition");
    assert_eq!(
        read((&shared(), &[]), &[("etag", "\"a\"")], &shared().max_heuristic_lifetime(Duration::ZERO)),
        Some(0)
    );
    let of_cookie = [("cache-control", "private=\"x-user\", max-age=60")];
    assert_eq!(read((&shared(), &[]), &of_cookie, &private()), None, "it was not selected by the cookie");
    let field = [("cache-control", "private=\"x-user\", max-age=60"), ("x-user", "1")];
    assert_eq!(read((&private(), &[]), &field, &shared()), None, "it has a field that is not for all");
}

#[test]
fn response_to_unknown_fields_is_found_only_if_they_are_trusted_or_selected_it() {
    let request: &[(&str, &str)] = &[("x-unknown", "1")];
    let response = [("cache-control", "max-age=60")];
    let with = |unknown| private().unknown_fields(unknown);
    assert_eq!(read((&private(), request), &response, &with(UnknownFields::Vary)), None);
    assert_eq!(read((&private(), request), &response, &with(UnknownFields::Drop)), None);
    assert_eq!(read((&with(UnknownFields::Vary), request), &response, &private()), Some(60));
    assert_eq!(read((&private(), &[]), &response, &with(UnknownFields::Vary)), Some(60));
}
