//! `Cache-Control` (RFC 9111 section 5.2) and `Pragma` (section 5.4).
//!
//! One tolerant reader gives name and argument of each directive; two structs say what they mean for
//! a request and for a response. A targeted field (RFC 9213), which has a stricter grammar, comes to the same
//! struct. Where senders disagree with themselves, the strictest reading wins:
//! the smallest of several numbers, and zero for a number that is none (section 4.2.1). A field with a quote that is
//! not that of a quoted string is read twice, with and without quoted strings: what forbids counts in either reading,
//! and what allows has to be in both.

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES,
    LAST_MODIFIED, PRAGMA, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list;
use super::structured::{self, Value};

/// The largest number of seconds that is told from a larger one (RFC 9111 section 1.2.2).
pub(crate) const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// What a request asks of caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// `max-stale` without an argument takes any staleness.
    pub(crate) max_stale: Option<Duration>,
    /// How stale a response may be if the origin fails (RFC 5861 section 4). Without an argument, as stale as it is.
    pub(crate) stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// What the fields of a request say. `Pragma: no-cache` counts where there is no `Cache-Control`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(CACHE_CONTROL) {
            let lines = headers.get_all(PRAGMA).into_iter().map(HeaderValue::as_bytes);
            let mut members = lines.flat_map(list::members_without_quotes);
            let no_cache = members.any(|member| member.eq_ignore_ascii_case(b"no-cache"));
            return Self { no_cache, ..Self::default() };
        }
        let strict = Self::read(headers, list::members);
        if is_well_quoted(headers) {
            return strict;
        }
        let other = Self::read(headers, list::members_without_quotes);
        Self {
            no_cache: strict.no_cache || other.no_cache,
            no_store: strict.no_store || other.no_store,
            only_if_cached: strict.only_if_cached || other.only_if_cached,
            max_age: [strict.max_age, other.max_age].into_iter().flatten().min(),
            min_fresh: strict.min_fresh.max(other.min_fresh),
            max_stale: least(strict.max_stale, other.max_stale),
            stale_if_error: least(strict.stale_if_error, other.stale_if_error),
        }
    }

    fn read<'a, M: Iterator<Item = &'a [u8]>>(headers: &'a HeaderMap, members: fn(&'a [u8]) -> M) -> Self {
        let mut directives = Self::default();
        for_each(headers, members, |name, argument| match name {
            b"no-cache" => directives.no_cache = true,
            b"no-store" => directives.no_store = true,
            b"only-if-cached" => directives.only_if_cached = true,
            b"max-age" => strictest(&mut directives.max_age, seconds_or_zero(argument)),
            // The strictest freshness asked for is the longest one.
            b"min-fresh" => {
                let asked = seconds_or_zero(argument);
                directives.min_fresh = Some(directives.min_fresh.map_or(asked, |known| known.max(asked)));
            }
            b"max-stale" => strictest(&mut directives.max_stale, seconds_or_any(argument)),
            b"stale-if-error" => strictest(&mut directives.stale_if_error, seconds_or_any(argument)),
            _ => {}
        });
        directives
    }

    /// Whether nothing is asked, so that a fresh response may simply be served.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a response allows caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    /// They are of a targeted field, so that `Expires` does not count (RFC 9213 section 2.2).
    pub(crate) are_targeted: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// The fields that a qualified `no-cache` names.
    pub(crate) no_cache_fields: Vec<HeaderName>,
    pub(crate) private: bool,
    /// The fields that a qualified `private` names.
    pub(crate) private_fields: Vec<HeaderName>,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) immutable: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// What the `Cache-Control` of a response says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let strict = Self::read(headers, list::members);
        if is_well_quoted(headers) {
            return strict;
        }
        let other = Self::read(headers, list::members_without_quotes);
        Self {
            are_targeted: false,
            no_store: strict.no_store || other.no_store,
            no_cache: strict.no_cache || other.no_cache,
            no_cache_fields: [strict.no_cache_fields, other.no_cache_fields].concat(),
            private: strict.private || other.private,
            private_fields: [strict.private_fields, other.private_fields].concat(),
            public: strict.public && other.public,
            must_revalidate: strict.must_revalidate || other.must_revalidate,
            proxy_revalidate: strict.proxy_revalidate || other.proxy_revalidate,
            must_understand: strict.must_understand && other.must_understand,
            immutable: strict.immutable && other.immutable,
            max_age: least(strict.max_age, other.max_age),
            s_maxage: least(strict.s_maxage, other.s_maxage),
            stale_while_revalidate: least(strict.stale_while_revalidate, other.stale_while_revalidate),
            stale_if_error: least(strict.stale_if_error, other.stale_if_error),
        }
    }

    fn read<'a, M: Iterator<Item = &'a [u8]>>(headers: &'a HeaderMap, members: fn(&'a [u8]) -> M) -> Self {
        let mut directives = Self::default();
        for_each(headers, members, |name, argument| match name {
            b"no-store" => directives.no_store = true,
            b"no-cache" => qualified(argument, &mut directives.no_cache, &mut directives.no_cache_fields),
            b"private" => qualified(argument, &mut directives.private, &mut directives.private_fields),
            b"public" => directives.public = true,
            b"must-revalidate" => directives.must_revalidate = true,
            b"proxy-revalidate" => directives.proxy_revalidate = true,
            b"must-understand" => directives.must_understand = true,
            b"immutable" => directives.immutable = true,
            b"max-age" => strictest(&mut directives.max_age, seconds_or_zero(argument)),
            b"s-maxage" => strictest(&mut directives.s_maxage, seconds_or_zero(argument)),
            b"stale-while-revalidate" => {
                strictest(&mut directives.stale_while_revalidate, seconds_or_zero(argument));
            }
            b"stale-if-error" => strictest(&mut directives.stale_if_error, seconds_or_zero(argument)),
            _ => {}
        });
        directives
    }

    /// What a targeted field says (RFC 9213 section 2.1); `None` where it is absent, empty or no dictionary.
    ///
    /// A value of the wrong type is not used, and the strictest reading of the directive wins: what forbids
    /// still forbids, what allows does not allow, and a lifetime is zero.
    pub(crate) fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let field = list::joined(headers, name)?;
        let members = structured::dictionary(&field).filter(|members| !members.is_empty())?;
        let mut directives = Self { are_targeted: true, ..Self::default() };
        for (name, value) in members {
            let allows = value == Value::Boolean(true);
            match name {
                b"no-store" => directives.no_store = true,
                b"no-cache" => about(&value, &mut directives.no_cache, &mut directives.no_cache_fields),
                b"private" => about(&value, &mut directives.private, &mut directives.private_fields),
                b"public" => directives.public = allows,
                b"must-revalidate" => directives.must_revalidate = true,
                b"proxy-revalidate" => directives.proxy_revalidate = true,
                b"must-understand" => directives.must_understand = allows,
                b"immutable" => directives.immutable = allows,
                b"max-age" => directives.max_age = Some(integer_seconds(&value)),
                b"s-maxage" => directives.s_maxage = Some(integer_seconds(&value)),
                b"stale-while-revalidate" => {
                    directives.stale_while_revalidate = Some(integer_seconds(&value));
                }
                b"stale-if-error" => directives.stale_if_error = Some(integer_seconds(&value)),
                _ => {}
            }
        }
        Some(directives)
    }
}

/// Reads `1*DIGIT`; what is larger than [`MAX_DELTA_SECONDS`] is that (RFC 9111 section 1.2.2).
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MAX_DELTA_SECONDS)
    });
    Some(Duration::from_secs(seconds))
}

/// Calls `each` with the name, in lower case, and the unquoted argument of every directive.
fn for_each<'a, M: Iterator<Item = &'a [u8]>>(
    headers: &'a HeaderMap,
    members: fn(&'a [u8]) -> M,
    mut each: impl FnMut(&[u8], Option<&[u8]>),
) {
    for member in headers.get_all(CACHE_CONTROL).into_iter().flat_map(|line| members(line.as_bytes())) {
        let (name, argument) = name_and_argument(member);
        let argument = argument.map(list::unquoted);
        each(&name.to_ascii_lowercase(), argument.as_deref());
    }
}

fn name_and_argument(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = member.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    (parts.next().unwrap_or_default(), parts.next())
}

/// Whether each quote of a field belongs to a quoted string that is a whole argument. Otherwise nobody knows which of
/// its commas separate directives.
fn is_well_quoted(headers: &HeaderMap) -> bool {
    let has_quote = |part: &[u8]| part.contains(&b'"');
    // Most have none at all.
    !headers.get_all(CACHE_CONTROL).iter().any(|line| has_quote(line.as_bytes()))
        || list::members_of(headers, &CACHE_CONTROL).all(|member| {
            let (name, argument) = name_and_argument(member);
            !has_quote(name)
                && argument.is_none_or(|argument| !has_quote(argument) || list::is_quoted_string(argument))
        })
}

fn seconds_or_zero(argument: Option<&[u8]>) -> Duration {
    argument.and_then(delta_seconds).unwrap_or_default()
}

/// What a request takes: anything where it gives no limit.
fn seconds_or_any(argument: Option<&[u8]>) -> Duration {
    if argument.is_none() { Duration::MAX } else { seconds_or_zero(argument) }
}

/// The stricter of two readings of something that allows: none is less than any.
fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (None, None) => None,
        _ => Some(Duration::ZERO),
    }
}

fn strictest(known: &mut Option<Duration>, said: Duration) {
    *known = Some(known.map_or(said, |known| known.min(said)));
}

fn integer_seconds(value: &Value) -> Duration {
    let Value::Integer(seconds) = value else { return Duration::ZERO };
    Duration::from_secs(u64::try_from(*seconds).unwrap_or_default().min(MAX_DELTA_SECONDS))
}

/// The fields that a directive of a targeted field names are in a string.
fn about(value: &Value, whole: &mut bool, fields: &mut Vec<HeaderName>) {
    let named = if let Value::String(names) = value { Some(names.as_slice()) } else { None };
    qualified(named, whole, fields);
}

/// Fields without which the rest of a response means something else, or without which it cannot be cached.
static NEVER_LEFT_OUT: [HeaderName; 13] = [
    AGE,
    CACHE_CONTROL,
    HeaderName::from_static("cache-groups"),
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    TRANSFER_ENCODING,
    VARY,
];

/// A directive that names fields is about those fields alone (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
/// One whose argument names no field that can exist, or one that cannot be left out, is taken for the whole response.
fn qualified(argument: Option<&[u8]>, whole: &mut bool, fields: &mut Vec<HeaderName>) {
    let named = argument.map(list::members).map(|members| members.map(HeaderName::from_bytes).collect());
    match named {
        Some(Ok::<Vec<_>, _>(names))
            if !names.is_empty() && !names.iter().any(|name| NEVER_LEFT_OUT.contains(name)) =>
        {
            fields.extend(names);
        }
        _ => *whole = true,
    }
}

#[cfg(test)]
mod tests {
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
    fn case_space_quotes_and_lines_do_not_matter() {
        assert!(response(&["foo", "No-Store"]).no_store);
        assert!(response(&["a=\"b, c\" ,PRIVATE"]).private);
        assert!(!response(&["a=\"no-store, private\""]).no_store);
        assert_eq!(response(&["Max-Age = 5"]).max_age, secs(5));
        assert_eq!(response(&["max-age=\"5\""]).max_age, secs(5));
    }

    #[test]
    fn numbers_are_clamped_and_bad_ones_are_stale() {
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
    fn qualified_directives_are_about_their_fields() {
        let directives = response(&["no-cache=\"set-cookie, x-a\", private=x-b"]);
        assert!(!directives.no_cache && !directives.private);
        assert_eq!(directives.no_cache_fields, ["set-cookie", "x-a"]);
        assert_eq!(directives.private_fields, ["x-b"]);
        assert!(response(&["private=\"\""]).private);
        assert!(response(&["no-cache=\"a b\""]).no_cache);
    }

    #[test]
    fn a_directive_about_a_field_that_cannot_be_left_out_is_about_the_response() {
        for name in ["vary", "x-a, Content-Encoding", "ETag"] {
            let directives = response(&[&format!("private=\"{name}\", no-cache=\"{name}\"")]);
            assert!(directives.private && directives.no_cache, "{name}");
        }
    }

    #[test]
    fn of_broken_quoting_the_stricter_reading_counts() {
        for text in
            ["max-age=60, x=\", no-store", "x=5\", no-store", "a=x\"y, no-store, b=\"z", "\"a, no-store"]
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
        // These are as they should be.
        assert!(!response(&["a=\"b\\\", no-store\", max-age=1"]).no_store);
        assert!(!response(&["a = \"no-store, private\" "]).no_store);
    }

    #[test]
    fn the_strictest_of_a_request_wins() {
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
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers: HeaderMap = [(CACHE_CONTROL, value)].into_iter().collect();
                let response = ResponseDirectives::of(&headers);
                prop_assert!(response.max_age.is_none_or(|age| age.as_secs() <= MAX_DELTA_SECONDS));
                let _ = RequestDirectives::of(&headers);
            }
        }
    }
}
