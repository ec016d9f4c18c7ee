//! [`AccessLog`]: receives a record of each request that a server has answered.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use crate::message::stats::Outcome;

/// Receives a record of each request that a server has answered ([`ServerConfig::access_log`](crate::server::ServerConfig::access_log)).
///
/// # Contract
///
/// * `log` must be fast and must never block: I/O threads call it, and other clients wait meanwhile.
/// * I/O threads call it concurrently.
pub trait AccessLog: fmt::Debug + Send + Sync {
    /// Logs one request.
    fn log(&self, record: &AccessRecord<'_>);
}

/// A request that a server has answered, or whose client left before.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The client, as in [`RemoteAddress`](super::RemoteAddress).
    pub remote: SocketAddr,
    /// The method; `None` if the head could not be parsed.
    pub method: Option<&'a Method>,
    /// The request target as received, with its query; empty if the head could not be parsed.
    pub target: &'a str,
    /// The status code. It is 499 if the client left before there was a response.
    pub status: u16,
    /// How many bytes of content the server sent. Framing and bytes that TLS adds do not count.
    pub bytes: u64,
    /// Whether the client received the whole response.
    pub is_complete: bool,
    /// The outcome, from `Cache-Status`.
    pub outcome: Option<Outcome>,
    /// The time from the complete head until the last byte of the response was passed to the system.
    pub duration: Duration,
}

/// Receives a sample of the requests that a server has answered. Each record stands for `weight` requests.
pub(crate) trait TrafficRecorder: fmt::Debug + Send + Sync {
    /// Records requests that ended at about this time. I/O threads call it; it must be fast and never block.
    fn record(&self, record: &AccessRecord<'_>, weight: u64, now: Instant);
}

/// What is known about a request whose response is not yet written.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    pub(super) started: Instant,
    pub(super) method: Option<Method>,
    /// Empty if nothing is logged and the request does not belong to the sample.
    pub(super) target: Cow<'a, str>,
    /// `None` until there is a response.
    pub(super) status: Option<StatusCode>,
    pub(super) outcome: Option<Outcome>,
    pub(super) bytes: u64,
    /// How many requests this one stands for in the sample; 0 if it does not belong to the sample.
    pub(super) weight: u64,
}

/// nginx's status code for a client that left before there was a response.
const CLIENT_LEFT: u16 = 499;

impl<'a> Pending<'a> {
    /// Creates the record of a request whose head is complete.
    pub(super) fn new(started: Instant, method: Option<Method>, target: Cow<'a, str>, weight: u64) -> Self {
        Self { started, method, target, status: None, outcome: None, bytes: 0, weight }
    }

    /// Returns the same with a target of its own, for a request that has not ended.
    pub(super) fn into_owned(self) -> Pending<'static> {
        Pending { target: self.target.into_owned().into(), ..self }
    }

    /// Returns the record at the end of the request.
    pub(super) fn record(&self, remote: SocketAddr, now: Instant, is_complete: bool) -> AccessRecord<'_> {
        AccessRecord {
            remote,
            method: self.method.as_ref(),
            target: &self.target,
            status: self.status.map_or(CLIENT_LEFT, |status| status.as_u16()),
            bytes: self.bytes,
            is_complete: is_complete && self.status.is_some(),
            outcome: self.outcome,
            duration: now.saturating_duration_since(self.started),
        }
    }
}
