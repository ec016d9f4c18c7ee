//! Decides whether a response of the origin is stored, and stores it when its body is whole.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, RANGE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use super::engine::Inner;
use super::flight::{FlightLeader, FlightResult, Head};
use super::forwarding::{Received, remove_unstored};
use super::incoming::Incoming;
use super::lookup::Plan;
use super::tombstones::Fetch;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind};
use crate::cache::fill::{Arrived, Commit, Fill, FillReader, Keeping};
use crate::message::body::{Body, Growing};
use crate::message::digest::Digest;
use crate::message::header::cache_control::ResponseDirectives;
use crate::message::pieces::Pieces;
use crate::message::stats::{CACHE_STATUS, CacheStatus, Outcome, time_to_live};
use crate::policy::{
    HeadComparison, LifetimeRule, NotStored, Rules, compare_with_head, directives_by_rules, freshened,
    may_store_by_rules, response_directives, varies_by_anything,
};
use crate::store::{Key, RemoteBody, StoredResponse};

/// The longest error response of an origin that followers share, in bytes.
const SHARED_FAILURE: u64 = 64 << 10;

/// A body that failed while it was read ahead.
struct FailedBody(Option<Error>);

impl Read for FailedBody {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let error = self.0.take();
        Err(error.unwrap_or_else(|| Error::new(ErrorKind::IncompleteBody, "the body is incomplete")).into())
    }
}

/// Holds a place among the readers of a body, without reading. Dropping it never waits.
struct HeldReader(Option<Box<FillReader>>);

impl Drop for HeldReader {
    fn drop(&mut self) {
        if let Some(reader) = self.0.take() {
            reader.abandon();
        }
    }
}

impl Inner {
    /// Freshens the stored response that a 304 confirmed, and answers with it.
    pub(super) fn confirm(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        at: usize,
        received: &Received,
        fetch: &Fetch,
        leader: Option<FlightLeader>,
    ) -> Response<Body> {
        let confirmed = &plan.candidates[at];
        let mut known = confirmed.headers();
        if self.near.is_some() {
            // The owner's new Cache-Status replaces the old one, even if the new response has none.
            known.remove(&CACHE_STATUS);
        }
        let mut headers = freshened(&known, &received.fields_to_store(&self.rules, self.upstream()));
        // A 304 need not repeat which fields must not be stored.
        remove_unstored(&mut headers, &self.rules);
        let may_store = self.may_store(incoming, confirmed.status(), &headers);
        let own = own_fields(&received.headers, &headers, &self.rules);
        let freshened = Head::of(self, incoming, confirmed.status(), headers, received.times)
            .into_freshened(confirmed, fetch.sequence());
        match may_store {
            Ok(()) => {
                let is_stored = self.store.insert(fetch, &freshened);
                if let Some(leader) = leader {
                    leader.finish(if is_stored { FlightResult::Stored } else { FlightResult::NotShared });
                }
            }
            Err(why) if !why.is_about_stored() => {}
            Err(_) => self.store.remove(&incoming.key),
        }
        let status =
            CacheStatus::new(Outcome::Revalidated(plan.why)).forward_status(StatusCode::NOT_MODIFIED);
        let mut response = self.serve_with(&freshened, incoming, status);
        response.headers_mut().extend(own);
        response
    }

    /// Applies the response to a HEAD to the stored response of GET (RFC 9111 section 4.3.5).
    pub(super) fn update_from_head(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        received: &Received,
        fetch: &Fetch,
    ) {
        // Only a 200 describes the representation that GET would return.
        let Some(stored) = plan.selected.as_ref().filter(|_| received.status == StatusCode::OK) else {
            return;
        };
        let headers = stored.headers();
        let verdict = if received.status == stored.status() {
            compare_with_head(&headers, stored.body_length(), &received.headers)
        } else {
            HeadComparison::Changed
        };
        match verdict {
            HeadComparison::Nothing => {}
            HeadComparison::Changed => self.store.remove(&incoming.key),
            HeadComparison::Confirmed => {
                let mut headers =
                    freshened(&headers, &received.fields_to_store(&self.rules, self.upstream()));
                remove_unstored(&mut headers, &self.rules);
                let get = Incoming { method: Method::GET, ..incoming.clone() };
                let status = stored.status();
                match self.may_store(&get, status, &headers) {
                    Ok(()) => {
                        let head = Head::of(self, &get, status, headers, received.times);
                        self.store.insert(fetch, &head.into_freshened(stored, fetch.sequence()));
                    }
                    Err(why) if !why.is_about_stored() => {}
                    Err(_) => self.store.remove(&incoming.key),
                }
            }
        }
    }

    /// Returns a response to the client and, if that is allowed, stores it once it is whole. The token cancels a
    /// transfer that no client reads any more.
    pub(super) fn keep(
        &self,
        incoming: &Incoming,
        selected: Option<&Arc<StoredResponse>>,
        received: Received,
        status: CacheStatus<'_>,
        (fetch, cancellation): (Fetch, Cancellation),
        leader: Option<FlightLeader>,
    ) -> Response<Body> {
        if let Err(why) = self.may_store_received(incoming, &received) {
            self.unstored.remember(&incoming.key, why, received.status, self.clock.now());
            if self.is_part_to_keep(incoming, &received) {
                if let Some(leader) = leader {
                    leader.finish(FlightResult::NotShared);
                }
                return self.keep_part(incoming, received, status, (fetch, cancellation));
            }
            let received = match leader {
                Some(leader) => self.finish_unstored(incoming, leader, received, why),
                None => received,
            };
            // The response contradicts the stored one, with exceptions: a server error contradicts only a stored
            // server error, and a response to a range, a condition, no-store or a credential, or about the client
            // (429), contradicts nothing.
            let is_failure = |status: StatusCode| status.is_server_error();
            let contradicts = (!is_failure(received.status)
                || selected.is_some_and(|stored| is_failure(stored.status())))
                && why.is_about_stored();
            if selected.is_some() && contradicts {
                self.store.remove(&incoming.key);
            }
            let Received { status: code, headers, body, .. } = received;
            return self.forward_response(incoming, code, headers, body, status.detail(why.name()));
        }
        self.uncacheable.forget(&self.sharing_key(incoming));
        self.unstored.forget(&incoming.key);
        self.failures.forget(&incoming.key, &incoming.target);
        let fields = received.fields_to_store(&self.rules, self.upstream());
        let Received { status: code, headers, body, times, continues } = received;
        let head = Head::of(self, incoming, code, fields, times);
        let whole = if body.is_empty() { Some(Pieces::new()) } else { body.as_pieces().cloned() };
        let Some(whole) = whole else {
            let fetch = (Arc::new(fetch), cancellation);
            let body = self.fill(head, body, (selected, continues.as_ref()), fetch, leader);
            let body = match &continues {
                Some(part) => self.recovering_whole(body, part, incoming),
                None => body,
            };
            return self.forward_response(incoming, code, headers, body, status.stored());
        };
        let digest = Digest::of_pieces(&whole);
        let is_stored = self.store.insert(&fetch, &head.into_stored(whole, digest, fetch.sequence()));
        if let Some(leader) = leader {
            leader.finish(if is_stored { FlightResult::Stored } else { FlightResult::NotShared });
        }
        let status = if is_stored { status.stored() } else { status };
        self.forward_response(incoming, code, headers, body, status)
    }

    /// Gives the followers the result of a fetch whose response is not stored. Followers share a short server error
    /// unless its fields prohibit that, so that each follower does not send its own request.
    fn finish_unstored(
        &self,
        incoming: &Incoming,
        leader: FlightLeader,
        received: Received,
        why: NotStored,
    ) -> Received {
        let is_failure = received.status.is_server_error() || why == NotStored::AboutRequest;
        if !is_failure {
            if why.is_of_response() {
                self.uncacheable.remember(&self.sharing_key(incoming), self.clock.now());
            }
            leader.finish(FlightResult::NotShared);
            return received;
        }
        let directives = response_directives(&received.headers, &self.rules);
        let is_of_one_user = self.rules.is_shared() && incoming.headers.contains_key(AUTHORIZATION)
            || received.headers.contains_key(SET_COOKIE);
        let is_for_others = !directives.no_store
            && !directives.private
            && !varies_by_anything(&received.headers)
            && !is_of_one_user;
        let is_short = received.body.length().is_some_and(|length| length <= SHARED_FAILURE);
        if !is_for_others || !is_short || !leader.has_followers() {
            // One of the followers leads the next fetch.
            leader.finish_and_release(FlightResult::GivenUp);
            return received;
        }
        let fields = received.fields_to_store(&self.rules, self.upstream());
        let Received { status, headers, body, times, continues } = received;
        match body.into_bytes_limited(SHARED_FAILURE) {
            Ok(bytes) => {
                let head = Head::of(self, incoming, status, fields, times);
                leader.finish_and_release(FlightResult::Failure(Arc::new(head), bytes.clone().into()));
                Received { status, headers, body: Body::from(bytes), times, continues }
            }
            Err(error) => {
                leader.finish_and_release(FlightResult::GivenUp);
                let body = Body::from_reader(FailedBody(Some(error)), None);
                Received { status, headers, body, times, continues }
            }
        }
    }

    /// Returns the key under which [`Uncacheable`](super::hit_for_miss::Uncacheable) remembers a request. In shared
    /// mode, requests with credentials have a separate key, because their responses predict nothing about requests
    /// without.
    pub(super) fn sharing_key<'a>(&self, incoming: &'a Incoming) -> Cow<'a, Key> {
        if self.rules.is_shared() && incoming.headers.contains_key(AUTHORIZATION) {
            Cow::Owned(Key::partitioned(incoming.key.url(), 0))
        } else {
            Cow::Borrowed(&incoming.key)
        }
    }

    /// Whether a response may be stored, by RFC 9111 and by the operator's lifetime rules.
    pub(super) fn may_store(
        &self,
        incoming: &Incoming,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), NotStored> {
        if self.near.is_some() && time_to_live(headers).is_none() {
            return Err(NotStored::NoLifetime);
        }
        may_store_by_rules(incoming.for_storing(), &incoming.target, status, headers, &self.rules)
    }

    /// Returns the caching directives of a response, overridden by the operator's rule, and that rule.
    pub(super) fn directives(
        &self,
        incoming: &Incoming,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> (ResponseDirectives, Option<&LifetimeRule>) {
        directives_by_rules(&incoming.target, status, headers, &self.rules)
    }

    fn may_store_received(&self, incoming: &Incoming, received: &Received) -> Result<(), NotStored> {
        self.may_store(incoming, received.status, &received.headers)?;
        // Any status but 200 may answer the range only.
        if incoming.headers.contains_key(RANGE) && received.status != StatusCode::OK {
            return Err(NotStored::NotWhole);
        }
        if !received.body.is_end_proven() {
            return Err(NotStored::EndNotProven);
        }
        let max_body = self.store.max_body();
        if max_body == 0 || received.body.length().is_some_and(|length| length > max_body) {
            return Err(NotStored::TooLarge);
        }
        let content_type =
            received.headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
        if content_type.is_some_and(|content_type| content_type.starts_with(b"text/event-stream")) {
            return Err(NotStored::EventStream);
        }
        Ok(())
    }

    /// Starts a fill that all followers read and that stores the body when it is whole. The leader's flight ends
    /// then, or when the transfer fails.
    fn fill(
        &self,
        head: Head,
        body: Body,
        (selected, continues): (Option<&Arc<StoredResponse>>, Option<&Arc<StoredResponse>>),
        (fetch, cancellation): (Arc<Fetch>, Cancellation),
        leader: Option<FlightLeader>,
    ) -> Body {
        let head = Arc::new(head);
        let length = body.length();
        let beginning = self.beginning_of_whole(&head, selected, length, &fetch);
        let stored = continues.and_then(|part| self.continued(&fetch, part, length));
        let leader = leader.map(Arc::new);
        let sequence = fetch.sequence();
        let commit = {
            let (store, head, leader) = (self.store.clone(), Arc::clone(&head), leader.clone());
            move |whole, digest| {
                match whole {
                    Arrived::Pieces(body) => {
                        store.insert(&fetch, &head.to_stored(body, digest, fetch.sequence()));
                    }
                    Arrived::Spilled(source, length, number) | Arrived::Growing(source, length, number) => {
                        let stored = head.to_stored(Pieces::new(), digest, fetch.sequence());
                        // Only the disk takes a body in transit.
                        let remote = RemoteBody::on_disk(length, source);
                        let stored = StoredResponse::clone(&stored).with_remote(remote);
                        store.insert_spilled(&fetch, &Arc::new(stored), number);
                    }
                }
                drop(leader);
            }
        };
        let keeping = self.keeping(cancellation, Box::new(commit));
        let reader =
            Fill::start(body, Keeping { spill: self.store.begin_spill(), beginning, stored, ..keeping });
        if let Some(leader) = leader {
            // Only a fresh response may answer requests that did not cause it (RFC 9111 section 4).
            let is_for_all = head.validity.is_fresh(self.clock.moment()) && !head.validity.no_cache;
            match reader.fill().reader().filter(|_| is_for_all) {
                Some(kept) => {
                    // The extra reader keeps the transfer running for followers after the leader's client has left.
                    let result = FlightResult::Fill(head, Arc::downgrade(reader.fill()), sequence);
                    leader.finish_keeping(result, Box::new(HeldReader(Some(Box::new(kept)))));
                }
                None => leader.finish(FlightResult::NotShared),
            }
        }
        reader.into_body()
    }

    /// Returns how a body is kept that `commit` stores when it is whole.
    pub(super) fn keeping(&self, cancellation: Cancellation, commit: Commit) -> Keeping {
        let (limit, worth_finishing) = (self.store.max_body_in_memory(), self.worth_finishing);
        let ledger = Arc::clone(&self.ledger);
        let (spill, beginning, stored) = (None, None, None);
        Keeping { limit, worth_finishing, ledger, cancellation, spill, commit, beginning, stored }
    }
}

/// Returns the fields of a 304 that only the client of this request gets: those that the directives exclude from the
/// store.
fn own_fields(received: &HeaderMap, confirmed: &HeaderMap, rules: &Rules) -> HeaderMap {
    let directives = [received, confirmed].map(|headers| response_directives(headers, rules));
    let is_own = |name: &HeaderName| {
        directives
            .iter()
            .flat_map(|directives| directives.unstored_fields(rules))
            .any(|unstored| unstored == name)
    };
    let own = received.iter().filter(|(name, _)| is_own(name));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}
