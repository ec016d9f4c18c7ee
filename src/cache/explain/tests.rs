//! Explanations, compared with the outcome of the same request.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue, Response};

use super::*;
use crate::base::clock::ManualClock;
use crate::message::body::Body;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::policy::{LifetimeSource, Mode, Rules};
use crate::store::MemoryStore;

const URL: &str = "http://example.com/a?b=c";
const DAY_AGO: &str = "Sat, 08 Sep 2001 01:46:40 GMT";

struct Scene {
    cache: HttpCache,
    clock: Arc<ManualClock>,
    asked: Arc<AtomicUsize>,
}

type Fields = [(&'static str, &'static str)];

fn request<B>(fields: &Fields, body: B) -> Request<B> {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let mut request = Request::new(body);
    *request.uri_mut() = URL.parse().unwrap();
    *request.headers_mut() = headers;
    request
}

/// A cache whose origin answers every request with this status and these fields.
fn scene(mode: Mode, status: u16, fields: &'static Fields) -> Scene {
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = RoundTripFn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Ok(response.body(Body::from("hello")).unwrap())
    });
    let store = MemoryStore::new(1 << 20);
    let cache =
        HttpCache::builder().origin(origin).store(store).clock(Arc::clone(&clock)).rules(Rules::new(mode));
    Scene { cache: cache.build().unwrap(), clock, asked }
}

impl Scene {
    /// Fetches the URL once, and lets time pass.
    fn fetched(self, fields: &Fields, seconds: u64) -> Self {
        let response = self.cache.round_trip(request(fields, Body::empty())).unwrap();
        response.into_body().into_bytes().unwrap();
        self.clock.advance(Duration::from_secs(seconds));
        self
    }

    /// Explains a request, and checks that the explanation changed nothing.
    fn explain(&self, fields: &Fields) -> Explanation {
        let (counts, asked) = (self.cache.stats().counts(), self.asked.load(Ordering::Relaxed));
        let usage = self.cache.store().usage();
        let explanation = self.cache.explain(&request(fields, ())).unwrap();
        assert_eq!(self.asked.load(Ordering::Relaxed), asked);
        assert_eq!(self.cache.stats().counts(), counts);
        assert_eq!(self.cache.store().usage(), usage);
        explanation
    }

    /// Explains a request, sends it, and checks that the outcome is the explained one.
    fn explain_and_send(&self, fields: &Fields) -> Explanation {
        let explanation = self.explain(fields);
        let response = self.cache.round_trip(request(fields, Body::empty())).unwrap();
        let outcome = Outcome::of(response.headers()).unwrap();
        match explanation.verdict {
            Verdict::Serve { outcome: expected, status } => {
                assert_eq!((outcome, response.status()), (expected, status), "{explanation}");
            }
            Verdict::Forward(why) => assert_eq!(outcome.forward(), Some(why), "{explanation}"),
            Verdict::Refuse(_) => assert_eq!(outcome, Outcome::OnlyIfCached, "{explanation}"),
        }
        response.into_body().into_bytes().unwrap();
        explanation
    }
}

fn hit(status: u16) -> Verdict {
    Verdict::Serve { outcome: Outcome::Hit, status: status.try_into().unwrap() }
}

#[test]
fn a_fresh_response_is_a_hit() {
    let scene = scene(Mode::Private, 200, &[("cache-control", "max-age=3600"), ("etag", "\"a\"")]);
    let scene = scene.fetched(&[], 10);
    let explanation = scene.explain_and_send(&[]);
    assert_eq!((explanation.verdict, explanation.rule), (hit(200), Rule::Fresh));
    assert_eq!(
        explanation.outlook,
        "Fresh for another 3590 s; after that it is validated with its entity tag."
    );
    assert_eq!(
        explanation.to_string(),
        "url       http://example.com/a?b=c\n\
         cache     private mode\n\
         verdict   hit: answered from the store with 200\n\
         rule      the stored response is fresh (RFC 9111 section 4.2)\n\
         outlook   Fresh for another 3590 s; after that it is validated with its entity tag.\n\
         stored    1 response\n\
         \n\
         response  1 of 1, which this request selects\n\
         \x20 status  200, 5 bytes\n\
         \x20 etag    \"a\"\n\
         \x20 age     10 s of 3600 s (max-age, RFC 9111 section 5.2.2.1)\n\
         \x20         fresh for another 3590 s\n"
    );
    let explanation = scene.explain_and_send(&[("if-none-match", "\"a\"")]);
    assert_eq!(explanation.verdict, hit(304));
    assert_eq!(scene.explain_and_send(&[("range", "bytes=1-2")]).verdict, hit(206));
}

#[test]
fn request_directives_are_explained() {
    for (control, rule, words) in [
        ("no-cache", Rule::RequestNoCache, "answered from the store (hit)"),
        ("max-age=5", Rule::RequestMaxAge, "answered from the store (hit)"),
        ("min-fresh=3595", Rule::RequestMinFresh, "answered from the store (hit)"),
        ("max-age=30", Rule::Fresh, "Fresh enough for this request for another 20 s; after that"),
        ("min-fresh=3500", Rule::Fresh, "Fresh enough for this request for another 90 s; after that"),
        ("max-stale=7", Rule::Fresh, "after that it is still served from the store (stale-accepted)"),
        ("only-if-cached", Rule::Fresh, "after that it is refused with 504"),
    ] {
        let scene = scene(Mode::Private, 200, &[("cache-control", "max-age=3600")]).fetched(&[], 10);
        let explanation = scene.explain_and_send(&[("cache-control", control)]);
        assert_eq!(explanation.rule, rule, "{control}");
        assert!(explanation.outlook.contains(words), "{control}: {}", explanation.outlook);
    }
}

#[test]
fn a_stale_response_is_validated_or_accepted() {
    for (stored, control, rule, words) in [
        (
            "max-age=10",
            "",
            Rule::Stale,
            "fetched in full; if the origin fails, the stored response is served stale",
        ),
        ("max-age=10", "max-stale=9", Rule::RequestMaxStale, "Accepted stale for another 4 s; after that"),
        ("max-age=10", "max-stale", Rule::RequestMaxStale, "for as long as it is stored"),
        ("max-age=10, stale-while-revalidate=60", "", Rule::StaleWhileRevalidate, "for another 55 s"),
        ("max-age=10, stale-if-error=1", "", Rule::Stale, "no stale response"),
        ("max-age=10, must-revalidate", "max-stale", Rule::Response(Flag::MustRevalidate), "an error"),
        ("max-age=60, no-cache", "", Rule::Response(Flag::NoCache), "an error"),
        ("max-age=10", "only-if-cached", Rule::Stale, "Without only-if-cached"),
    ] {
        let fields: &'static Fields = Box::leak(Box::new([("cache-control", stored)]));
        let scene = scene(Mode::Private, 200, fields).fetched(&[], 15);
        let asked: &Fields = if control.is_empty() { &[] } else { &[("cache-control", control)] };
        let explanation = scene.explain_and_send(asked);
        assert_eq!(explanation.rule, rule, "{stored} | {control}");
        assert!(explanation.outlook.contains(words), "{stored} | {control}: {}", explanation.outlook);
    }
}

#[test]
fn windows_and_flags_are_shown_with_their_clauses() {
    let control = "max-age=10, s-maxage=5, proxy-revalidate, public, immutable, \
                   stale-while-revalidate=3, stale-if-error=4";
    let fields: &'static Fields = Box::leak(Box::new([("cache-control", control)]));
    let scene = scene(Mode::Shared, 200, fields).fetched(&[], 6);
    let explanation = scene.explain_and_send(&[]);
    let text = explanation.to_string();
    for words in [
        "shared mode\n",
        "rule      the stored response is stale and has proxy-revalidate (RFC 9111 section 5.2.2.8)\n",
        "age     6 s of 5 s (s-maxage, RFC 9111 section 5.2.2.10)\n          stale for 1 s\n",
        "stale-while-revalidate for 3 s (RFC 5861 section 3)\n",
        "stale-if-error for 4 s (RFC 5861 section 4)\n",
        "says    public (RFC 9111 section 5.2.2.9)\n",
        "says    immutable (RFC 8246 section 2)\n",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn a_heuristic_lifetime_is_shown_as_such() {
    let scene = scene(Mode::Private, 200, &[("last-modified", DAY_AGO)]).fetched(&[], 60);
    let explanation = scene.explain_and_send(&[]);
    assert_eq!((explanation.verdict, explanation.rule), (hit(200), Rule::Fresh));
    let response = &explanation.stored[0];
    assert_eq!(response.lifetime_source, LifetimeSource::Heuristic);
    assert_eq!((response.lifetime.as_secs(), response.age.as_secs()), (8640, 60));
    assert_eq!(
        explanation.outlook,
        "Fresh for another 8580 s; after that it is validated with its Last-Modified date."
    );
    let text = explanation.to_string();
    assert!(text.contains("(heuristic from Last-Modified, RFC 9111 section 4.2.2)"), "{text}");
}

#[test]
fn nothing_stored_is_a_miss_in_each_partition() {
    let scene = scene(Mode::Private, 200, &[("cache-control", "max-age=60")]);
    let explanation = scene.explain(&[]);
    assert_eq!(
        (explanation.verdict, explanation.rule),
        (Verdict::Forward(Forward::UriMiss), Rule::NothingStored)
    );
    assert!(explanation.stored.is_empty() && !explanation.is_partitioned);
    let scene = scene.fetched(&[("authorization", "Basic secret")], 0);
    let explanation = scene.explain(&[("authorization", "Basic secret")]);
    assert!(explanation.is_partitioned && !format!("{explanation:?} {explanation}").contains("secret"));
    assert_eq!(explanation.verdict, hit(200));
    let explanation = scene.explain(&[("cache-control", "no-store")]);
    assert_eq!(explanation.verdict, Verdict::Forward(Forward::UriMiss));
    assert!(explanation.outlook.contains("not stored"));
    let explanation = scene.explain(&[("cache-control", "only-if-cached")]);
    assert_eq!(explanation.verdict, Verdict::Refuse(Forward::UriMiss));
}

#[test]
fn another_variant_is_a_miss_and_only_negotiation_values_are_shown() {
    let fields =
        &[("cache-control", "max-age=60"), ("vary", "accept-language, x-tenant, cookie"), ("etag", "\"a\"")];
    let german: &Fields = &[("accept-language", "DE, en"), ("x-tenant", "hidden"), ("cookie", "hidden")];
    let scene = scene(Mode::Private, 200, fields).fetched(german, 1);
    let explanation = scene.explain(german);
    assert_eq!(explanation.verdict, hit(200));
    let text = explanation.to_string();
    assert!(text.contains("  vary    accept-language: de,en; cookie; x-tenant\n"), "{text}");
    assert!(!text.contains("hidden") && !format!("{explanation:?}").contains("hidden"));
    let explanation =
        scene.explain_and_send(&[("accept-language", "fr"), ("x-tenant", "hidden"), ("cookie", "hidden")]);
    assert_eq!(
        (explanation.verdict, explanation.rule),
        (Verdict::Forward(Forward::VaryMiss), Rule::NotSelected)
    );
    assert!(!explanation.stored[0].is_selected);
    assert!(explanation.outlook.contains("unless one of the stored entity tags still holds"));
    assert!(explanation.outlook.contains("accept-language, cookie, x-tenant"));
}

#[test]
fn a_part_answers_ranges_within_it() {
    let fields = &[("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10"), ("etag", "\"a\"")];
    let scene = scene(Mode::Private, 206, fields).fetched(&[("range", "bytes=0-4")], 1);
    let explanation = scene.explain_and_send(&[("range", "bytes=1-2")]);
    assert_eq!((explanation.verdict, explanation.rule), (hit(206), Rule::Fresh));
    assert_eq!(explanation.stored[0].content_range.as_deref(), Some("bytes 0-4/10"));
    assert!(explanation.outlook.ends_with("after that it is fetched in full."));
    let explanation = scene.explain(&[("range", "bytes=1-7")]);
    assert_eq!((explanation.verdict, explanation.rule), (Verdict::Forward(Forward::Partial), Rule::Partial));
    assert!(explanation.outlook.contains("a range within"));
    let explanation = scene.explain(&[]);
    assert_eq!(explanation.verdict, Verdict::Forward(Forward::Partial));
    assert!(explanation.outlook.contains("completes the stored beginning"));
}

#[test]
fn requests_that_only_the_origin_can_answer_are_forwarded() {
    let scene = scene(Mode::Private, 200, &[("cache-control", "max-age=60")]).fetched(&[], 1);
    let explanation = scene.explain_and_send(&[("if-match", "\"a\"")]);
    assert_eq!(
        (explanation.verdict, explanation.rule),
        (Verdict::Forward(Forward::Bypass), Rule::OriginCondition)
    );
    let post = Request::post(URL).body(()).unwrap();
    let explanation = scene.cache.explain(&post).unwrap();
    assert_eq!((explanation.verdict, explanation.rule), (Verdict::Forward(Forward::Method), Rule::Method));
    let bad = scene.cache.explain(&Request::get("/a").body(()).unwrap());
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::BadUrl);
}
