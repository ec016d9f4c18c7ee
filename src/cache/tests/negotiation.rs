//! Variants: which one answers, and whose entity tags are sent for validation.

use proptest::prelude::*;

use super::*;

#[test]
fn a_response_with_vary_takes_precedence_over_one_without() {
    let scene = Scene::new();
    let german = [("accept-language", "de")];
    scene.answer(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], "hallo");
    scene.get(&german);
    // This response omits Vary, because the request stated no preference.
    scene.answer(200, &[("cache-control", "max-age=60")], "hello");
    scene.get(&[]).is(Outcome::Miss(Forward::VaryMiss), "hello");
    scene.get(&german).is(Outcome::Hit, "hallo");
    scene.get(&[("accept-language", "fr")]).is(Outcome::Hit, "hello");
}

#[test]
fn language_order_distinguishes_variants() {
    let scene = Scene::new();
    let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
    scene.answer(200, &fields, "hello").answer(200, &fields, "hallo");
    scene.get(&[("accept-language", "en, de")]);
    scene.get(&[("accept-language", "de, en")]).is(Outcome::Miss(Forward::VaryMiss), "hallo");
    scene.get(&[("accept-language", "en,  DE")]).is(Outcome::Hit, "hello");
}

#[test]
fn an_invalid_vary_counts_as_asterisk() {
    for vary in ["foo bar", ": : foo", "Accept-Encoding, User-Agent)", "\"foo, bar"] {
        let scene = Scene::new();
        for _ in 0..2 {
            scene.answer(200, &[("cache-control", "max-age=60"), ("vary", vary)], "one");
            let answer = scene.get(&[]);
            answer.is(Outcome::Miss(Forward::UriMiss), "one");
            assert!(answer.field("cache-status").unwrap().contains("detail=vary-any"), "{vary}");
        }
    }
}

const ONE_FOR_ALL: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("vary", "accept-encoding"), ("etag", "\"v1\"")];

fn zipped() -> Vec<(&'static str, &'static str)> {
    [ONE_FOR_ALL, &[("content-encoding", "gzip")]].concat()
}

#[test]
fn a_304_does_not_confirm_identity_for_a_client_that_accepts_a_coding() {
    let scene = Scene::new();
    scene.answer(200, ONE_FOR_ALL, "plain").answer(200, &zipped(), "zipped");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "plain");
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Miss(Forward::VaryMiss), "zipped");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
}

#[test]
fn a_304_does_not_confirm_a_coding_that_the_client_does_not_accept() {
    let scene = Scene::new();
    scene.answer(200, &zipped(), "zipped").answer(200, ONE_FOR_ALL, "plain");
    scene.get(&[("accept-encoding", "gzip")]).is(Outcome::Miss(Forward::UriMiss), "zipped");
    scene.get(&[]).is(Outcome::Miss(Forward::VaryMiss), "plain");
    assert_eq!(scene.last_asked().field("if-none-match"), None);
    // A tag of an acceptable coding is still sent.
    scene.answer(304, &[("etag", "\"v1\"")], "");
    scene.get(&[("accept-encoding", "br, gzip")]).is(Outcome::Revalidated(Forward::VaryMiss), "zipped");
}

/// The response of a server that gives all codings of a file the same tag.
fn file_server(request: &Request<Body>) -> Response<Body> {
    let field = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let response =
        Response::builder().header("vary", "accept-encoding").header("cache-control", "max-age=60");
    let response = response.header("etag", "\"v1\"");
    if field("if-none-match").contains("\"v1\"") {
        return response.status(304).body(Body::empty()).unwrap();
    }
    let accepts = |coding: &str| field("accept-encoding").split(", ").any(|member| member == coding);
    match ["br", "gzip"].into_iter().find(|coding| accepts(coding)) {
        Some(coding) => response.header("content-encoding", coding).body(Body::from(coding)).unwrap(),
        None => response.body(Body::from("identity")).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn responses_have_an_accepted_coding_and_identity_only_when_wanted(
        asks in prop::collection::vec((prop::sample::select(
            &["", "identity", "gzip", "br", "br, gzip", "gzip, br", "gzip;q=0", "deflate", "*;q=0"][..]
        ), 0..50_u64), 1..20),
        mode in prop_oneof![Just(Mode::Private), Just(Mode::Shared)],
    ) {
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let cache = HttpCache::builder()
            .origin(RoundTripFn(|request: Request<Body>| Ok(file_server(&request))))
            .store(MemoryStore::new(1 << 20))
            .clock(Arc::clone(&clock))
            .rules(Rules::new(mode))
            .build()
            .unwrap();
        for (accepted, pause) in asks {
            let mut request = Request::get(URL);
            if !accepted.is_empty() {
                request = request.header("accept-encoding", accepted);
            }
            let answer = Answer::read(cache.round_trip(request.body(Body::empty()).unwrap()).unwrap());
            let codings: Vec<&str> = accepted.split(", ").filter(|coding| ["br", "gzip"].contains(coding)).collect();
            if codings.is_empty() {
                prop_assert_eq!((answer.body.as_str(), answer.field("content-encoding")), ("identity", None));
            } else {
                prop_assert!(codings.contains(&answer.body.as_str()), "{accepted} got {}", answer.body);
            }
            clock.advance(Duration::from_secs(pause));
        }
    }
}
