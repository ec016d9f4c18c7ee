//! Generates random exchanges in plain form, and lets both sides judge them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_LANGUAGE, AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA,
    SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;

use crate::message::header::cache_control::{RequestDirectives, ResponseDirectives};
use crate::message::header::date;
use crate::policy::{
    CredentialDigest, ExchangeTimes, Mode, Reuse, Rules, StoringRequest, Variant, implied_fields, may_store,
    reuse, validity,
};

/// When each response arrives, in seconds since the Unix epoch.
const NOW: i64 = 1_700_000_000;
pub(super) const DAY: i64 = 86_400;

/// A response, the request for it, and a later request for the same URL. Times are seconds since [`NOW`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exchange {
    pub(super) shared: bool,
    pub(super) method: Method,
    pub(super) asked: Fields,
    pub(super) status: u16,
    pub(super) response: Control,
    pub(super) response_pragma: bool,
    pub(super) date: Option<i64>,
    pub(super) age: Option<u64>,
    pub(super) age_form: AgeForm,
    pub(super) expires: Option<Expires>,
    pub(super) last_modified: Option<i64>,
    pub(super) has_tag: bool,
    pub(super) vary: Option<&'static str>,
    pub(super) sets_cookie: bool,
    /// Seconds between the request and its response.
    pub(super) delay: u64,
    /// Seconds between the response and the later request; negative if the clock is set back.
    pub(super) elapsed: i64,
    pub(super) again: Fields,
    /// For the library only: whether `immutable` gives a lifetime.
    pub(super) guesses_for_immutable: bool,
    /// For the library only: whether the later request needs validation.
    pub(super) asks_first: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    pub(super) control: Control,
    pub(super) pragma: bool,
    pub(super) authorization: bool,
    pub(super) cookie: Option<&'static str>,
    pub(super) language: Option<&'static str>,
}

pub(super) type Control = BTreeMap<&'static str, Argument>;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Argument {
    None,
    Seconds(u64),
    Field,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expires {
    Never,
    At(i64),
    /// In capitals, with a wrong weekday.
    Spelled(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AgeForm {
    Plain,
    /// Followed by another member.
    First,
    Invalid,
}

/// The decisions on one exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) stored: bool,
    /// Zero if the response is not stored.
    pub(super) lifetime: Duration,
    pub(super) age: Duration,
    /// Whether the later request is answered without contacting the origin.
    pub(super) served: bool,
}

impl Answer {
    pub(super) fn is_bolder_than(&self, other: &Self) -> bool {
        (self.stored && !other.stored)
            || (self.served && !other.served)
            || (self.stored && other.stored && (self.lifetime > other.lifetime || self.age < other.age))
    }
}

pub(super) struct Ours {
    pub(super) answer: Answer,
    pub(super) is_fresh: bool,
}

impl Exchange {
    pub(super) fn has(&self, directive: &str) -> bool {
        self.response.contains_key(directive)
    }

    /// Makes the library not store the response.
    pub(super) fn refuse(&mut self) {
        self.response.remove("must-understand");
        self.asked.control.insert("no-store", Argument::None);
    }

    pub(super) fn ours(&self) -> Ours {
        let rules = Rules::new(if self.shared { Mode::Shared } else { Mode::Private });
        let (asked, again, headers) = (self.asked.headers(), self.again.headers(), self.response_headers());
        let directives = ResponseDirectives::of(&headers);
        let status = StatusCode::from_u16(self.status).unwrap();
        let request = StoringRequest {
            method: &self.method,
            headers: &asked,
            directives: &RequestDirectives::of(&asked),
        };
        let (request_time, response) = (at(0) - Duration::from_secs(self.delay), at(0));
        let times = ExchangeTimes { request: request_time.into(), response: response.into() };
        let validity = validity(status, &headers, &directives, times, &rules);
        let now = at(self.elapsed);
        let is_fresh = validity.is_fresh(now);
        if may_store(request, status, &headers, &directives, &rules).is_err() {
            return Ours { answer: Answer::default(), is_fresh };
        }
        let variant = Variant::of(&headers, &implied_fields(&[], &directives, &rules), &asked, &Verbatim);
        let reuse = reuse(&validity, &RequestDirectives::of(&again), now);
        let served = variant.matches(&again, &Verbatim) && !matches!(reuse, Reuse::Validate(_));
        let answer = Answer { stored: true, lifetime: validity.lifetime, age: validity.age(now), served };
        Ours { answer, is_fresh }
    }

    pub(super) fn theirs(&self) -> Answer {
        let policy = self.policy();
        if !policy.is_storable() {
            return Answer::default();
        }
        let mut again = Request::get("https://example.com/").body(()).unwrap();
        *again.headers_mut() = self.again.headers();
        let now = at(self.elapsed);
        let served = matches!(policy.before_request(&again, now), BeforeRequest::Fresh(_));
        // The lifetime is a private field of the library: it equals the remaining time at age zero.
        let lifetime = Self { age: None, ..self.clone() }.policy().time_to_live(at(0));
        Answer { stored: true, lifetime, age: policy.age(now), served: served && !self.asks_first }
    }

    pub(super) fn policy(&self) -> CachePolicy {
        let mut request =
            Request::builder().method(&self.method).uri("https://example.com/").body(()).unwrap();
        *request.headers_mut() = self.asked.headers();
        let mut response = Response::builder().status(self.status).body(()).unwrap();
        *response.headers_mut() = self.response_headers();
        let mut options = CacheOptions { shared: self.shared, ..CacheOptions::default() };
        if !self.guesses_for_immutable {
            options.immutable_min_time_to_live = Duration::ZERO;
        }
        CachePolicy::new_options(&request, &response, at(0), options)
    }

    pub(super) fn response_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        insert_control(&mut headers, &self.response);
        if self.response_pragma {
            headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        }
        if let Some(age) = self.age {
            let text = match self.age_form {
                AgeForm::Plain => age.to_string(),
                AgeForm::First => format!("{age}, 7"),
                AgeForm::Invalid => format!("{age}.5"),
            };
            headers.insert(AGE, HeaderValue::from_str(&text).unwrap());
        }
        for (name, offset) in [(DATE, self.date), (LAST_MODIFIED, self.last_modified)] {
            if let Some(offset) = offset {
                headers.insert(name, date::value(at(offset)));
            }
        }
        match self.expires {
            Some(Expires::Never) => headers.insert(EXPIRES, HeaderValue::from_static("0")),
            Some(Expires::At(offset)) => headers.insert(EXPIRES, date::value(at(offset))),
            Some(Expires::Spelled(offset)) => {
                let text = date::value(at(offset)).to_str().unwrap().to_ascii_uppercase();
                let other = if text.starts_with("MON") { "TUE" } else { "MON" };
                headers.insert(EXPIRES, HeaderValue::from_str(&format!("{other}{}", &text[3..])).unwrap())
            }
            None => None,
        };
        if self.has_tag {
            headers.insert(ETAG, HeaderValue::from_static("\"a\""));
        }
        if let Some(vary) = self.vary {
            headers.insert(VARY, HeaderValue::from_static(vary));
        }
        if self.sets_cookie {
            headers.insert(SET_COOKIE, HeaderValue::from_static("a=b"));
        }
        headers
    }
}

impl Fields {
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        insert_control(&mut headers, &self.control);
        if self.pragma {
            headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        }
        if self.authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
        }
        for (name, value) in [(COOKIE, self.cookie), (ACCEPT_LANGUAGE, self.language)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        headers
    }
}

pub(super) fn insert_control(headers: &mut HeaderMap, control: &Control) {
    let directives = control.iter().map(|(name, argument)| match argument {
        Argument::None => (*name).to_owned(),
        Argument::Seconds(seconds) => format!("{name}={seconds}"),
        Argument::Field => format!("{name}=\"x-a\""),
    });
    if !control.is_empty() {
        let text = directives.collect::<Vec<_>>().join(", ");
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(&text).unwrap());
    }
}

pub(super) fn at(offset: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW + offset).unwrap())
}

/// Uses the credentials themselves as digests; there are only two.
pub(super) struct Verbatim;

impl CredentialDigest for Verbatim {
    fn digest(&self, credential: &[u8]) -> u128 {
        credential.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }
}

/// Few values close to each other, so that limits are hit.
fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 0..15_u64,
        2 => prop::sample::select(&[60, 3600, 100_000, 10_000_000][..]),
        1 => prop::sample::select(&[(1 << 31) - 1, 1 << 31, (1 << 31) + 1, 1 << 40][..]),
    ]
}

fn flag(directives: &'static [&'static str]) -> impl Strategy<Value = (&'static str, Argument)> {
    prop::sample::select(directives).prop_map(|name| (name, Argument::None))
}

fn timed(directives: &'static [&'static str]) -> impl Strategy<Value = (&'static str, Argument)> {
    (prop::sample::select(directives), seconds())
        .prop_map(|(name, seconds)| (name, Argument::Seconds(seconds)))
}

fn control(directive: impl Strategy<Value = (&'static str, Argument)>) -> impl Strategy<Value = Control> {
    prop::collection::vec(directive, 0..5).prop_map(|directives| directives.into_iter().collect())
}

fn response_control() -> impl Strategy<Value = Control> {
    control(prop_oneof![
        6 => flag(&[
            "no-cache", "private", "public", "must-revalidate", "proxy-revalidate", "must-understand", "immutable",
        ]),
        1 => flag(&["no-store", "x-unknown"]),
        1 => prop::sample::select(&["no-cache", "private"][..]).prop_map(|name| (name, Argument::Field)),
        9 => timed(&["max-age", "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]),
    ])
}

fn fields(control: impl Strategy<Value = Control>) -> impl Strategy<Value = Fields> {
    let cookie = prop::sample::select(&[None, None, Some("a=1"), Some("a=2")][..]);
    let language =
        prop::sample::select(&[None, Some("de,en"), Some("DE, en"), Some("en,de"), Some("fr")][..]);
    let fields = (control, prop::bool::weighted(0.1), prop::bool::weighted(0.2), cookie, language);
    fields.prop_map(|(control, pragma, authorization, cookie, language)| Fields {
        control,
        pragma,
        authorization,
        cookie,
        language,
    })
}

fn first_request() -> impl Strategy<Value = Fields> {
    fields(
        prop::sample::select(&["", "", "", "", "", "", "", "no-cache", "no-store"][..]).prop_map(|name| {
            [(name, Argument::None)].into_iter().filter(|(name, _)| !name.is_empty()).collect()
        }),
    )
}

fn later_request() -> impl Strategy<Value = Fields> {
    fields(prop_oneof![
        Just(Control::new()),
        control(prop_oneof![
            1 => flag(&["no-cache", "no-store"]),
            3 => flag(&["max-stale"]),
            9 => timed(&["max-age", "min-fresh", "max-stale", "max-stale"]).prop_map(|(name, argument)| {
                // The library treats limits beyond 2^31 seconds differently, which is not the subject here.
                let Argument::Seconds(seconds) = argument else { return (name, argument) };
                (name, Argument::Seconds(seconds.min(1 << 31)))
            }),
        ]),
    ])
}

pub(super) fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![9 => Just(Method::GET), 1 => Just(Method::HEAD), 1 => Just(Method::POST)];
    let status = prop_oneof![
        6 => Just(200_u16),
        4 => prop::sample::select(&[203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501][..]),
        2 => prop::sample::select(&[206, 304, 403, 412, 416, 500, 599][..]),
    ];
    let expires = prop_oneof![
        1 => Just(Expires::Never),
        4 => (-20..20_i64).prop_map(Expires::At),
        1 => (-20..20_i64).prop_map(Expires::Spelled),
    ];
    let modified =
        prop_oneof![-300..5_i64, prop::sample::select(&[-9 * DAY, -10 * DAY, -11 * DAY, -900 * DAY][..])];
    let vary = prop::sample::select(
        &[
            None,
            None,
            None,
            Some("accept-language"),
            Some("cookie, Accept-Language"),
            Some("*"),
            Some("cookie, *"),
            Some("cookie bar"),
            Some("accept-language, cookie)"),
        ][..],
    );
    let elapsed =
        prop_oneof![8 => -5..30_i64, 1 => prop::sample::select(&[3600, 86_399, 86_400, 10_000_000][..])];
    let rarely = || prop::bool::weighted(0.1);
    let times = (
        prop::option::of(-15..15_i64),
        prop::option::weighted(0.3, seconds()),
        prop::option::weighted(0.3, expires),
        prop::option::of(modified),
        prop_oneof![3 => Just(0), 1 => 0..4_u64],
        elapsed,
    );
    let age_form =
        prop_oneof![6 => Just(AgeForm::Plain), 1 => Just(AgeForm::First), 1 => Just(AgeForm::Invalid)];
    let response = (method, status, response_control(), rarely(), any::<bool>(), vary, rarely(), age_form);
    (any::<bool>(), first_request(), response, times, later_request()).prop_map(
        |(shared, asked, response, times, again)| {
            let (method, status, response, response_pragma, has_tag, vary, sets_cookie, age_form) = response;
            let (date, age, expires, last_modified, delay, elapsed) = times;
            Exchange {
                shared,
                method,
                asked,
                status,
                response,
                response_pragma,
                date,
                age,
                age_form,
                expires,
                last_modified,
                has_tag,
                vary,
                sets_cookie,
                delay,
                elapsed,
                again,
                guesses_for_immutable: true,
                asks_first: false,
            }
        },
    )
}
