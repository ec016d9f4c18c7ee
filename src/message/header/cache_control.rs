//! `Cache-Control` (RFC 9111 section 5.2) and `Pragma` (section 5.4).
//!
//! A tolerant parser finds the name and argument of each directive. [`RequestDirectives`] and [`ResponseDirectives`]
//! hold their meaning; targeted fields (RFC 9213), whose grammar is stricter, use the latter too.
//!
//! If a field is contradictory, the strictest reading counts: the smallest of several numbers, and zero instead of an
//! invalid number (section 4.2.1). If a quote is not part of a quoted string, the field is parsed twice, with and
//! without quoted strings: a restriction counts if either reading has it, a permission only if both have it.

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES,
    LAST_MODIFIED, PRAGMA, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list;
use super::structured::{self, Value};

/// The largest number of seconds that is represented; larger numbers are reduced to it (RFC 9111 section 1.2.2).
pub(crate) const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// The directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// `max-stale` without an argument accepts any staleness.
    pub(crate) max_stale: Option<Duration>,
    /// How stale a response may be if the origin fails (RFC 5861 section 4). Without an argument, any staleness.
    pub(crate) stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Parses the fields of a request. `Pragma: no-cache` counts only if there is no `Cache-Control`.
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
            max_stale: stricter(strict.max_stale, other.max_stale),
            stale_if_error: stricter(strict.stale_if_error, other.stale_if_error),
        }
    }

    fn read<'a, M: Iterator<Item = &'a [u8]>>(headers: &'a HeaderMap, members: fn(&'a [u8]) -> M) -> Self {
        let mut directives = Self::default();
        for_each(headers, members, |name, argument| match name {
            b"no-cache" => directives.no_cache = true,
            b"no-store" => directives.no_store = true,
            b"only-if-cached" => directives.only_if_cached = true,
            b"max-age" => set_smallest(&mut directives.max_age, seconds_or_zero(argument)),
            // The longest `min-fresh` is the strictest.
            b"min-fresh" => {
                let seconds = seconds_or_zero(argument);
                directives.min_fresh = Some(directives.min_fresh.map_or(seconds, |known| known.max(seconds)));
            }
            b"max-stale" => set_smallest(&mut directives.max_stale, seconds_or_unlimited(argument)),
            b"stale-if-error" => set_smallest(&mut directives.stale_if_error, seconds_or_unlimited(argument)),
            _ => {}
        });
        directives
    }

    /// Returns whether the request has no directives, so that a fresh response may be served without further checks.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The directives of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    /// The directives come from a targeted field, so `Expires` is ignored (RFC 9213 section 2.2).
    pub(crate) are_targeted: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// The fields listed in a qualified `no-cache`.
    pub(crate) no_cache_fields: Vec<HeaderName>,
    pub(crate) private: bool,
    /// The fields listed in a qualified `private`.
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
    /// Parses the `Cache-Control` fields of a response.
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
            max_age: stricter(strict.max_age, other.max_age),
            s_maxage: stricter(strict.s_maxage, other.s_maxage),
            stale_while_revalidate: stricter(strict.stale_while_revalidate, other.stale_while_revalidate),
            stale_if_error: stricter(strict.stale_if_error, other.stale_if_error),
        }
    }

    fn read<'a, M: Iterator<Item = &'a [u8]>>(headers: &'a HeaderMap, members: fn(&'a [u8]) -> M) -> Self {
        let mut directives = Self::default();
        for_each(headers, members, |name, argument| match name {
            b"no-store" => directives.no_store = true,
            b"no-cache" => add_qualified(argument, &mut directives.no_cache, &mut directives.no_cache_fields),
            b"private" => add_qualified(argument, &mut directives.private, &mut directives.private_fields),
            b"public" => directives.public = true,
            b"must-revalidate" => directives.must_revalidate = true,
            b"proxy-revalidate" => directives.proxy_revalidate = true,
            b"must-understand" => directives.must_understand = true,
            b"immutable" => directives.immutable = true,
            b"max-age" => set_smallest(&mut directives.max_age, seconds_or_zero(argument)),
            b"s-maxage" => set_smallest(&mut directives.s_maxage, seconds_or_zero(argument)),
            b"stale-while-revalidate" => {
                set_smallest(&mut directives.stale_while_revalidate, seconds_or_zero(argument));
            }
            b"stale-if-error" => set_smallest(&mut directives.stale_if_error, seconds_or_zero(argument)),
            _ => {}
        });
        directives
    }

    /// Parses a targeted field (RFC 9213 section 2.1). Returns `None` if it is absent, empty or not a valid dictionary.
    ///
    /// If a value has the wrong type, the strictest meaning of the directive counts: a restriction applies, a
    /// permission does not, and a lifetime is zero.
    pub(crate) fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let field = list::joined(headers, name)?;
        let members = structured::dictionary(&field).filter(|members| !members.is_empty())?;
        let mut directives = Self { are_targeted: true, ..Self::default() };
        for (name, value) in members {
            let allows = value == Value::Boolean(true);
            match name {
                b"no-store" => directives.no_store = true,
                b"no-cache" => {
                    add_targeted(&value, &mut directives.no_cache, &mut directives.no_cache_fields);
                }
                b"private" => add_targeted(&value, &mut directives.private, &mut directives.private_fields),
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

/// Parses `1*DIGIT`. Numbers above [`MAX_DELTA_SECONDS`] are reduced to it (RFC 9111 section 1.2.2).
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MAX_DELTA_SECONDS)
    });
    Some(Duration::from_secs(seconds))
}

/// Calls `each` with the lower-case name and the unquoted argument of every directive.
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

/// Returns whether each quote belongs to a quoted string that is a complete argument. Otherwise it is ambiguous which
/// commas separate directives.
fn is_well_quoted(headers: &HeaderMap) -> bool {
    let has_quote = |part: &[u8]| part.contains(&b'"');
    // Most fields have no quotes.
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

/// Parses the limit of a directive that has no limit without an argument.
fn seconds_or_unlimited(argument: Option<&[u8]>) -> Duration {
    if argument.is_none() { Duration::MAX } else { seconds_or_zero(argument) }
}

/// Returns the stricter of two readings of a permission; a missing permission is the strictest.
fn stricter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (None, None) => None,
        _ => Some(Duration::ZERO),
    }
}

fn set_smallest(known: &mut Option<Duration>, seconds: Duration) {
    *known = Some(known.map_or(seconds, |known| known.min(seconds)));
}

fn integer_seconds(value: &Value) -> Duration {
    let Value::Integer(seconds) = value else { return Duration::ZERO };
    Duration::from_secs(u64::try_from(*seconds).unwrap_or_default().min(MAX_DELTA_SECONDS))
}

/// Adds a directive of a targeted field, which lists its fields in a string.
fn add_targeted(value: &Value, whole: &mut bool, fields: &mut Vec<HeaderName>) {
    let named = if let Value::String(names) = value { Some(names.as_slice()) } else { None };
    add_qualified(named, whole, fields);
}

/// Fields that cannot be omitted: without them the response has another meaning or cannot be cached.
static ESSENTIAL_FIELDS: [HeaderName; 13] = [
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

/// Adds a directive that may list fields and then applies only to them (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
/// It applies to the whole response if the argument lists no field, an invalid name or an essential field.
fn add_qualified(argument: Option<&[u8]>, whole: &mut bool, fields: &mut Vec<HeaderName>) {
    let named = argument.map(list::members).map(|members| members.map(HeaderName::from_bytes).collect());
    match named {
        Some(Ok::<Vec<_>, _>(names))
            if !names.is_empty() && !names.iter().any(|name| ESSENTIAL_FIELDS.contains(name)) =>
        {
            fields.extend(names);
        }
        _ => *whole = true,
    }
}

#[cfg(test)]
mod tests;
