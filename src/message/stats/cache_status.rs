//! The `Cache-Status` field (RFC 9211): how this cache handled a request.
//!
//! ```text
//! forwardcache; hit; ttl=3590
//! forwardcache; fwd=uri-miss; fwd-status=200; stored
//! forwardcache; fwd=stale; fwd-status=304; detail=revalidated
//! ```
//!
//! `hit` and `fwd` exclude each other (sections 2.1 and 2.2). `detail` is the outcome's name or the reason why a
//! response was not stored, unless the other parameters already express it.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::outcome::{Forward, Outcome};
use crate::message::header::list;

pub(crate) static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The field that the Go package httpcache adds to each response from its store, for programs that look for it.
pub(crate) static X_FROM_CACHE: HeaderName = HeaderName::from_static("x-from-cache");

const CACHE_NAME: &str = "forwardcache";

/// Distinguishes a near cache from the cache of the peer that it asks.
const NEAR_NAME: &str = "forwardcache-near";

/// The list member of one cache.
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

    /// Sets the status code of the response to the forwarded request.
    pub(crate) fn forward_status(mut self, status: StatusCode) -> Self {
        self.forward_status = Some(status);
        self
    }

    /// Sets the remaining freshness lifetime, or how long the response has been stale.
    pub(crate) fn time_to_live(mut self, remaining: Duration, staleness: Duration) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        self.time_to_live = Some(seconds(remaining) - seconds(staleness));
        self
    }

    /// Marks the member as one of a near cache.
    pub(crate) fn near(mut self) -> Self {
        self.name = NEAR_NAME;
        self
    }

    pub(crate) fn stored(mut self) -> Self {
        self.stored = true;
        self
    }

    /// Sets additional information: a token.
    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Sets the store key, for keys that are not the URL.
    pub(crate) fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Appends the member after those of caches that are nearer to the origin.
    pub(crate) fn append_to(&self, headers: &mut HeaderMap) {
        headers.append(&CACHE_STATUS, self.value());
    }

    fn value(&self) -> HeaderValue {
        let mut text = String::with_capacity(64);
        self.write(&mut text);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("tokens and numbers are visible ASCII")
    }

    /// Appends the text of the member to `text`.
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
        // A String (RFC 8941) can contain only visible ASCII and spaces; other keys are omitted.
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

impl Outcome {
    /// Returns the outcome from the last member of `Cache-Status`, which belongs to the cache nearest to the client.
    /// Returns `None` if that is not a forwardcache.
    ///
    /// ```
    /// use forwardcache::metrics::Forward;
    /// use forwardcache::Outcome;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("cache-status", "forwardcache; fwd=uri-miss; stored".parse().unwrap());
    /// assert_eq!(Outcome::of(&headers), Some(Outcome::Miss(Forward::UriMiss)));
    /// ```
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        LastMember::of(headers)?.outcome
    }
}

/// The last member of a `Cache-Status` field, which belongs to the cache nearest to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastMember<'a> {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) is_stored: bool,
    /// Additional information other than the name of the outcome.
    pub(crate) detail: Option<&'a str>,
}

impl<'a> LastMember<'a> {
    /// Returns `None` if the member does not belong to a forwardcache or is malformed.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let member = list::members_of(headers, &CACHE_STATUS).last()?;
        let mut parameters = list::split(member, b';').map(<[u8]>::trim_ascii);
        let name = parameters.next();
        if ![CACHE_NAME, NEAR_NAME].iter().any(|ours| name == Some(ours.as_bytes())) {
            return None;
        }
        let (mut hit, mut collapsed, mut stored, mut forward, mut detail) = (false, false, false, None, None);
        for parameter in parameters {
            match std::str::from_utf8(parameter).ok()?.split_once('=') {
                None if parameter == b"hit" => hit = true,
                None if parameter == b"collapsed" => collapsed = true,
                None if parameter == b"stored" => stored = true,
                Some(("fwd", token)) => {
                    forward = Forward::ALL.into_iter().find(|candidate| candidate.name() == token);
                }
                Some(("detail", token)) => detail = Some(token),
                _ => {}
            }
        }
        let named = detail.and_then(|name| Outcome::from_name(name, forward));
        let outcome = named.or(match forward {
            Some(forward) if collapsed => Some(Outcome::Collapsed(forward)),
            Some(forward) => Some(Outcome::Miss(forward)),
            None => hit.then_some(Outcome::Hit),
        });
        Some(Self { outcome, is_stored: stored, detail: detail.filter(|_| named.is_none()) })
    }
}

/// Returns the remaining freshness lifetime from the last member of `Cache-Status`. Returns `None` if the response is
/// stale, the member has no `ttl`, or the member does not belong to a peer's cache.
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
mod tests;
