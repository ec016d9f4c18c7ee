//! The state that all clones of a client share.

use std::sync::Arc;

use std::time::Instant;

use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response};

use super::budget::RetryBudget;
use super::counts::Counters;
use super::exchange::Exchanges;
use super::helpers::Helpers;
use super::options::Options;
use super::peers::Peers;
use super::pool::Pool;
use super::ring_mismatches::RingMismatches;
use crate::base::error::Result;
use crate::base::token::Tokens;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::response_info::ResponseInfo;
use crate::message::round_trip::RoundTrip;
use crate::metrics::{RequestFinished, Watcher};
use crate::origin::Origin;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{Paths, SentToPeer};

/// The state that all clones of a client share.
pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) paths: Paths,
    pub(super) transport: Arc<dyn RoundTrip>,
    /// The networks of `transport` and `direct`, unless the program supplied its own transport.
    pub(super) networks: Vec<Origin>,
    /// Fetches from origins when no peer is left, if that option is set.
    pub(super) direct: Option<Arc<dyn RoundTrip>>,
    pub(super) options: Options,
    pub(super) ring_mismatches: RingMismatches,
    pub(super) peers: Peers,
    pub(super) counters: Counters,
    pub(super) watcher: Watcher,
    pub(super) retries: RetryBudget,
    /// Helper threads: `probers` run health probes, `readers` read short bodies on behalf of callers.
    pub(super) probers: Helpers,
    pub(super) readers: Helpers,
    pub(super) exchanges: Exchanges,
}

/// What handles a request when no peer is left.
pub(super) enum Fallback<'a> {
    /// The origin or an error, as [`OnNoPeers`](super::OnNoPeers) specifies.
    Configured,
    /// An error: only a peer can handle the request.
    Fail,
    /// The cache of the asking peer, which has this URL. Also used when this peer is the next owner in order.
    OwnCache(&'a PeerUrl, &'a dyn RoundTrip),
}

impl Inner {
    /// Adds the client's default deadlines, unless the request has its own.
    pub(super) fn add_deadline(&self, request: &mut Request<Body>) {
        let (hard, soft) = (self.options.deadline, self.options.soft_deadline);
        if (hard.is_some() || soft.is_some()) && Deadline::of(request.extensions()).is_none() {
            let deadline = hard.map_or_else(Deadline::none, Deadline::within);
            request.extensions_mut().insert(soft.map_or(deadline, |soft| deadline.softly_within(soft)));
        }
    }

    /// Runs a request of the program, and reports its end.
    pub(super) fn observed(
        &self,
        request: Request<Body>,
        send: impl FnOnce(Request<Body>) -> Result<Response<Body>>,
    ) -> Result<Response<Body>> {
        if !self.watcher.is_set() {
            return send(request);
        }
        let (method, url, begun) = (request.method().clone(), request.uri().to_string(), Instant::now());
        let answer = send(request);
        let info = answer.as_ref().map(ResponseInfo::of).unwrap_or_default();
        self.watcher.tell(|observer| {
            observer.request_finished(&RequestFinished {
                method: &method,
                url: &url,
                result: answer.as_ref().map(Response::status),
                outcome: info.outcome(),
                peer: info.peer(),
                attempts: info.attempts(),
                is_direct: info.is_direct(),
                elapsed: begun.elapsed(),
            });
        });
        answer
    }

    /// Adds the pool's token to a request to a peer. The transport removes credentials from requests without
    /// the `SentToPeer` mark.
    pub(super) fn add_token(&self, request: &mut Request<Body>) {
        add(self.options.tokens.as_ref(), request);
    }

    /// Like [`add_token`](Self::add_token), for purges and leave notices.
    pub(super) fn add_operator_token(&self, request: &mut Request<Body>) {
        add(self.options.operator_tokens.as_ref().or(self.options.tokens.as_ref()), request);
    }
}

fn add(tokens: Option<&Tokens>, request: &mut Request<Body>) {
    if let Some(credential) = tokens.and_then(Tokens::credential) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credential);
        request.extensions_mut().insert(SentToPeer);
    }
}
