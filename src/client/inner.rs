//! The state that all clones of a client share.

use std::sync::Arc;

use http::Request;
use http::header::PROXY_AUTHORIZATION;

use super::budget::RetryBudget;
use super::counts::Counters;
use super::exchange::Watch;
use super::helpers::Helpers;
use super::options::Options;
use super::peers::Peers;
use super::pool::Pool;
use super::ring_mismatches::Disagreements;
use crate::base::token::Tokens;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::round_trip::RoundTrip;
use crate::origin::Origin;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::{ForPeer, Paths};

/// What the clones of a client share.
pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) paths: Paths,
    pub(super) transport: Arc<dyn RoundTrip>,
    /// The networks that these two use, where they are not of the program's own.
    pub(super) networks: Vec<Origin>,
    /// What fetches when there is no peer, if that was chosen.
    pub(super) direct: Option<Arc<dyn RoundTrip>>,
    pub(super) options: Options,
    pub(super) disagreements: Disagreements,
    pub(super) peers: Peers,
    pub(super) counters: Counters,
    pub(super) retries: RetryBudget,
    /// Who asks peers whether they are there, and who reads short bodies while a caller waits for them.
    pub(super) probers: Helpers,
    pub(super) readers: Helpers,
    pub(super) watch: Watch,
}

/// Who answers when no peer is left.
pub(super) enum Fallback<'a> {
    /// The origin, or nobody, as the client was told.
    Chosen,
    /// Nobody: only a peer can.
    Nobody,
    /// The peer that asks, whose URL this is: also where it is its turn.
    Own(&'a PeerUrl, &'a dyn RoundTrip),
}

impl Inner {
    /// Gives a request the time that all have, unless it says otherwise.
    pub(super) fn limit(&self, request: &mut Request<Body>) {
        let (hard, soft) = (self.options.deadline, self.options.soft_deadline);
        if (hard.is_some() || soft.is_some()) && Deadline::of(request.extensions()).is_none() {
            let deadline = hard.map_or_else(Deadline::none, Deadline::within);
            request.extensions_mut().insert(soft.map_or(deadline, |soft| deadline.softly_within(soft)));
        }
    }

    /// Has a request to a peer show the token, which is taken from whatever is not marked as one.
    pub(super) fn show_token(&self, request: &mut Request<Body>) {
        show(self.options.tokens.as_ref(), request);
    }

    /// As [`show_token`](Self::show_token), for a request that purges, or says that a peer leaves.
    pub(super) fn show_operator_token(&self, request: &mut Request<Body>) {
        show(self.options.operator_tokens.as_ref().or(self.options.tokens.as_ref()), request);
    }
}

fn show(tokens: Option<&Tokens>, request: &mut Request<Body>) {
    if let Some(credential) = tokens.and_then(Tokens::credential) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credential);
        request.extensions_mut().insert(ForPeer);
    }
}
