//! `Cache-Status` (RFC 9211): what this cache did, said to whoever asks.
//!
//! ```text
//! forwardcache; hit; ttl=3590
//! forwardcache; fwd=uri-miss; fwd-status=200; stored
//! forwardcache; fwd=stale; fwd-status=304; detail=revalidated
//! ```
//!
//! `hit` and `fwd` exclude each other (sections 2.1 and 2.2). `detail` says what the parameters before
//! it do not: the outcome's name, or why a response was not stored.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::outcome::{Forward, Outcome};
use crate::message::header::list;

pub(crate) static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the Go package says of every answer from the store, for programs that look for it.
pub(crate) static X_FROM_CACHE: HeaderName = HeaderName::from_static("x-from-cache");

const CACHE_NAME: &str = "forwardcache";

/// A near cache is told from the one that it asked.
const NEAR_NAME: &str = "forwardcache-near";

/// One cache's member of the field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheStatus<'a> {
    name: &'static str,
    outcome: Outcome,
    forward_status: Option<StatusCode>,
    time_to_live: Option<i64>,
    stored: bool,
    detail: Option<&'static str>,
    key: Option<&'a str>,
}

impl<'a> CacheStatus<'a> {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            name: CACHE_NAME,
            outcome,
            forward_status: None,
            time_to_live: None,
            stored: false,
            detail: None,
            key: None,
        }
    }

    /// The status of the answer to what was forwarded.
    pub(crate) fn forward_status(mut self, status: StatusCode) -> Self {
        self.forward_status = Some(status);
        self
    }

    /// For how long the answer stays fresh, or has been stale.
    pub(crate) fn time_to_live(mut self, remaining: Duration, staleness: Duration) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        self.time_to_live = Some(seconds(remaining) - seconds(staleness));
        self
    }

    /// In the name of a near cache.
    pub(crate) fn near(mut self) -> Self {
        self.name = NEAR_NAME;
        self
    }

    pub(crate) fn stored(mut self) -> Self {
        self.stored = true;
        self
    }

    /// What is worth saying beyond the outcome: a token.
    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The key under which it is stored, worth saying where it is not the URL.
    pub(crate) fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Adds it to the members that caches nearer to the origin left.
    pub(crate) fn append_to(&self, headers: &mut HeaderMap) {
        headers.append(&CACHE_STATUS, self.value());
    }

    fn value(&self) -> HeaderValue {
        let mut text = String::with_capacity(64);
        self.write(&mut text);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("tokens and numbers are visible ASCII")
    }

    /// Adds the text of this member.
    pub(crate) fn write(&self, text: &mut String) {
        text.push_str(self.name);
        match self.outcome.forward() {
            Some(forward) => {
                text.push_str("; fwd=");
                text.push_str(forward.name());
            }
            None if self.outcome.is_from_store() => text.push_str("; hit"),
            None => {}
        }
        if let Some(status) = self.forward_status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if let Some(seconds) = self.time_to_live {
            // Writing to a String cannot fail.
            let _ = write!(text, "; ttl={seconds}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if matches!(self.outcome, Outcome::Collapsed(_)) {
            text.push_str("; collapsed");
        }
        // A string of RFC 8941: visible ASCII and space, and nothing else can be said in it.
        if let Some(key) = self.key.filter(|key| key.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
            text.push_str("; key=\"");
            text.push_str(&key.replace('\\', "\\\\").replace('"', "\\\""));
            text.push('"');
        }
        let implied = matches!(self.outcome, Outcome::Hit | Outcome::Miss(_) | Outcome::Collapsed(_));
        if let Some(detail) = self.detail.or((!implied).then(|| self.outcome.name())) {
            text.push_str("; detail=");
            text.push_str(detail);
        }
    }
}

/// What the last member says, where it is ours.
pub(super) fn outcome(headers: &HeaderMap) -> Option<Outcome> {
    let member = list::members_of(headers, &CACHE_STATUS).last()?;
    let mut parameters = list::split(member, b';').map(<[u8]>::trim_ascii);
    let name = parameters.next();
    if ![CACHE_NAME, NEAR_NAME].iter().any(|ours| name == Some(ours.as_bytes())) {
        return None;
    }
    let (mut hit, mut collapsed, mut forward, mut detail) = (false, false, None, None);
    for parameter in parameters {
        match std::str::from_utf8(parameter).ok()?.split_once('=') {
            None if parameter == b"hit" => hit = true,
            None if parameter == b"collapsed" => collapsed = true,
            Some(("fwd", token)) => {
                forward = Forward::ALL.into_iter().find(|candidate| candidate.name() == token);
            }
            Some(("detail", token)) => detail = Some(token),
            _ => {}
        }
    }
    if let Some(named) = detail.and_then(|name| Outcome::from_name(name, forward)) {
        return Some(named);
    }
    match forward {
        Some(forward) if collapsed => Some(Outcome::Collapsed(forward)),
        Some(forward) => Some(Outcome::Miss(forward)),
        None => hit.then_some(Outcome::Hit),
    }
}

/// For how long the answer stays fresh, by what the last member says, where that is of a cache of a pool and it says
/// so; `None` where it is stale.
pub(crate) fn time_to_live(headers: &HeaderMap) -> Option<Duration> {
    let member = list::members_of(headers, &CACHE_STATUS).last()?;
    let mut parameters = list::split(member, b';').map(<[u8]>::trim_ascii);
    if parameters.next() != Some(CACHE_NAME.as_bytes()) {
        return None;
    }
    let seconds = parameters.find_map(|parameter| parameter.strip_prefix(b"ttl="))?;
    let seconds: u64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: CacheStatus<'_>) -> String {
        status.value().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_field_says_what_happened() {
        let second = Duration::from_secs(1);
        for (status, expected) in [
            (
                CacheStatus::new(Outcome::Hit).time_to_live(second * 30, Duration::ZERO),
                "forwardcache; hit; ttl=30",
            ),
            (
                CacheStatus::new(Outcome::StaleAccepted).time_to_live(Duration::ZERO, second * 5),
                "forwardcache; hit; ttl=-5; detail=stale-accepted",
            ),
            (
                CacheStatus::new(Outcome::Miss(Forward::UriMiss)).forward_status(StatusCode::OK).stored(),
                "forwardcache; fwd=uri-miss; fwd-status=200; stored",
            ),
            (
                CacheStatus::new(Outcome::Miss(Forward::UriMiss)).detail("no-store"),
                "forwardcache; fwd=uri-miss; detail=no-store",
            ),
            (CacheStatus::new(Outcome::Collapsed(Forward::UriMiss)), "forwardcache; fwd=uri-miss; collapsed"),
            (
                CacheStatus::new(Outcome::Revalidated(Forward::Stale))
                    .forward_status(StatusCode::NOT_MODIFIED),
                "forwardcache; fwd=stale; fwd-status=304; detail=revalidated",
            ),
            (CacheStatus::new(Outcome::OnlyIfCached), "forwardcache; detail=only-if-cached"),
            (CacheStatus::new(Outcome::Hit).key("a\"b\\c"), "forwardcache; hit; key=\"a\\\"b\\\\c\""),
            (CacheStatus::new(Outcome::Hit).key("\u{e9}\n"), "forwardcache; hit"),
        ] {
            assert_eq!(text(status), expected);
        }
    }

    #[test]
    fn a_lifetime_is_read_from_the_last_member_alone() {
        for (members, expected) in [
            (&["forwardcache; hit; ttl=30"][..], Some(30)),
            (&["forwardcache; fwd=uri-miss; collapsed; ttl=1"], Some(1)),
            (&["OriginCache; hit; ttl=1100, forwardcache; hit; ttl=30"], Some(30)),
            (&["OriginCache; hit; ttl=1100", "forwardcache; fwd=uri-miss; fwd-status=200; stored"], None),
            (&["forwardcache; hit; ttl=30", "OriginCache; hit; ttl=1100"], None),
            (&["forwardcache; hit; ttl=30", "forwardcache-near; hit; ttl=5"], None),
            (&["forwardcache; hit; ttl=0"], None),
            (&["forwardcache; hit; ttl=-5; detail=stale-while-revalidate"], None),
            (&["forwardcache; hit; ttl=x"], None),
            (&["forwardcache; hit; key=\"; ttl=30\""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for member in members {
                headers.append(&CACHE_STATUS, HeaderValue::from_static(member));
            }
            assert_eq!(time_to_live(&headers), expected.map(Duration::from_secs), "{members:?}");
        }
    }

    #[test]
    fn a_near_cache_has_a_name_of_its_own() {
        let status = CacheStatus::new(Outcome::Revalidated(Forward::Stale)).near();
        assert_eq!(text(status), "forwardcache-near; fwd=stale; detail=revalidated");
        let mut headers = HeaderMap::new();
        status.append_to(&mut headers);
        assert_eq!(Outcome::of(&headers), Some(Outcome::Revalidated(Forward::Stale)));
    }

    #[test]
    fn every_outcome_is_read_back_from_the_field() {
        let mut outcomes =
            vec![Outcome::Hit, Outcome::StaleAccepted, Outcome::StaleWhileRevalidate, Outcome::OnlyIfCached];
        for forward in Forward::ALL {
            outcomes.extend([
                Outcome::Miss(forward),
                Outcome::Collapsed(forward),
                Outcome::Revalidated(forward),
                Outcome::StaleOnError(forward),
                Outcome::StaleOnDeadline(forward),
                Outcome::Passed(forward),
                Outcome::Failed(forward),
            ]);
        }
        for expected in outcomes {
            let mut headers = HeaderMap::new();
            headers.append(&CACHE_STATUS, HeaderValue::from_static("OriginCache; hit; ttl=1100"));
            CacheStatus::new(expected).append_to(&mut headers);
            assert_eq!(Outcome::of(&headers), Some(expected));
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Outcome::of(&headers), None);
        headers.append(&CACHE_STATUS, HeaderValue::from_static("OriginCache; hit"));
        assert_eq!(Outcome::of(&headers), None);
    }
}
