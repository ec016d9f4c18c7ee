use proptest::prelude::*;

use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (CACHE_CONTROL, HeaderValue::from_str(line).unwrap())).collect()
}

fn response(lines: &[&str]) -> ResponseDirectives {
    ResponseDirectives::of(&headers(lines))
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn case_spaces_quotes_and_line_breaks_do_not_matter() {
    assert!(response(&["foo", "No-Store"]).no_store);
    assert!(response(&["a=\"b, c\" ,PRIVATE"]).private);
    assert!(!response(&["a=\"no-store, private\""]).no_store);
    assert_eq!(response(&["Max-Age = 5"]).max_age, secs(5));
    assert_eq!(response(&["max-age=\"5\""]).max_age, secs(5));
}

#[test]
fn large_numbers_are_clamped_and_invalid_ones_are_zero() {
    for (text, seconds) in [
        ("max-age=0", 0),
        ("max-age=2147483648", 1 << 31),
        ("max-age=2147483649", 1 << 31),
        ("max-age=99999999999999999999999999", 1 << 31),
        ("max-age=-5", 0),
        ("max-age=+5", 0),
        ("max-age=5.0", 0),
        ("max-age=a5", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=10, max-age=5", 5),
        ("max-age=5, max-age=10", 5),
    ] {
        assert_eq!(response(&[text]).max_age, secs(seconds), "{text}");
    }
}

#[test]
fn qualified_directives_apply_to_their_fields() {
    let directives = response(&["no-cache=\"set-cookie, x-a\", private=x-b"]);
    assert!(!directives.no_cache && !directives.private);
    assert_eq!(directives.no_cache_fields, ["set-cookie", "x-a"]);
    assert_eq!(directives.private_fields, ["x-b"]);
    assert!(response(&["private=\"\""]).private);
    assert!(response(&["no-cache=\"a b\""]).no_cache);
}

#[test]
fn directive_qualified_with_an_essential_field_applies_to_the_response() {
    for name in ["vary", "x-a, Content-Encoding", "ETag"] {
        let directives = response(&[&format!("private=\"{name}\", no-cache=\"{name}\"")]);
        assert!(directives.private && directives.no_cache, "{name}");
    }
}

#[test]
fn stricter_reading_of_broken_quoting_counts() {
    for text in ["max-age=60, x=\", no-store", "x=5\", no-store", "a=x\"y, no-store, b=\"z", "\"a, no-store"]
    {
        assert!(response(&[text]).no_store, "{text}");
        assert!(RequestDirectives::of(&headers(&[text])).no_store, "{text}");
    }
    assert!(response(&["ext=\"a, private"]).private);
    assert!(response(&["x=\"a", "b\", no-cache"]).no_cache);
    assert!(response(&["private=\"x-a, x-b"]).private);
    let lenient = "x=\", public, immutable, must-understand, max-age=60, stale-if-error=60";
    let strict = response(&[lenient]);
    assert!(!strict.public && !strict.immutable && !strict.must_understand);
    assert_eq!((strict.max_age, strict.stale_if_error), (secs(0), secs(0)));
    assert_eq!(response(&["max-age=60, x=\", max-age=5"]).max_age, secs(5));
    let request = RequestDirectives::of(&headers(&["max-age=60, x=\", max-stale, max-age=5"]));
    assert_eq!((request.max_age, request.max_stale), (secs(5), secs(0)));
    // The quoting in these fields is correct.
    assert!(!response(&["a=\"b\\\", no-store\", max-age=1"]).no_store);
    assert!(!response(&["a = \"no-store, private\" "]).no_store);
}

#[test]
fn strictest_directive_of_a_request_counts() {
    let request = |text: &str| RequestDirectives::of(&headers(&[text]));
    assert_eq!(request("max-stale").max_stale, Some(Duration::MAX));
    assert_eq!(request("max-stale, max-stale=7").max_stale, secs(7));
    assert_eq!(request("min-fresh=3, min-fresh=9").min_fresh, secs(9));
    assert_eq!(request("max-age=nonsense").max_age, secs(0));
    assert_eq!(request("stale-if-error=7, stale-if-error").stale_if_error, secs(7));
    assert_eq!(request("stale-if-error").stale_if_error, Some(Duration::MAX));
    assert!(request("").is_empty());
    assert!(!request("only-if-cached").is_empty());
}

#[test]
fn pragma_counts_only_without_cache_control() {
    let mut headers = HeaderMap::new();
    headers.insert(PRAGMA, HeaderValue::from_static("x, No-Cache"));
    assert!(RequestDirectives::of(&headers).no_cache);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert!(!RequestDirectives::of(&headers).no_cache);
}

proptest! {
    #[test]
    fn parser_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let headers: HeaderMap = [(CACHE_CONTROL, value)].into_iter().collect();
            let response = ResponseDirectives::of(&headers);
            prop_assert!(response.max_age.is_none_or(|age| age.as_secs() <= MAX_DELTA_SECONDS));
            let _ = RequestDirectives::of(&headers);
        }
    }
}
