//! Requests that are forwarded past the store: unsafe methods, and requests that only the origin can answer.

use http::header::VIA;
use http::{Method, Request, Response};

use super::engine::Inner;
use super::incoming::{BypassRequest, Incoming};
use super::serving::with_status;
use crate::base::cancellation::Cancellation;
use crate::base::error::Result;
use crate::message::body::Body;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::policy::{UnknownFields, also_answers_get};
use crate::pool::protocol::Hop;

impl Inner {
    /// Forwards a request past the store and invalidates the responses that it affects (RFC 9111 section 4.4). If
    /// `post` is present and the response may answer that POST again, stores the response under the key of `post`.
    pub(super) fn bypass(
        &self,
        request: BypassRequest,
        body: Body,
        why: Forward,
        cancellation: Option<Cancellation>,
        post: Option<Incoming>,
    ) -> Result<Response<Body>> {
        let BypassRequest { method, target, mut headers, via, deadline, on_interim } = request;
        let (method, target) = (&method, &target);
        let original_headers = headers.clone();
        if let Some(via) = via {
            headers.append(VIA, via);
        }
        let mut request = Request::new(body);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        if let Some(on_interim) = on_interim {
            request.extensions_mut().insert(on_interim);
        }
        let cancellation = cancellation.unwrap_or_default();
        request.extensions_mut().insert(cancellation.clone());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.uri();
        *request.headers_mut() = headers;
        // A response is not stored if an invalidation arrives during this request.
        let fetch = self.begin(&self.keys.of(target, &original_headers));
        let received = self
            .send_to_origin(request, target, why)
            .inspect_err(|_| self.count(Outcome::Failed(why), target.as_str()))?;
        let tombstones = self.store.tombstones();
        let is_outdated =
            tombstones.covers_fields((fetch.key(), target), fetch.sequence(), &received.headers);
        let (status, fields) = (received.status, &received.headers);
        self.invalidate_after(method, target, status, fields, Some(&original_headers));
        let status = CacheStatus::new(Outcome::Passed(why)).forward_status(received.status);
        // Dropped unknown fields and the content would not be part of the key.
        let may_keep = !is_outdated && self.rules.unknown_fields == UnknownFields::Forward;
        if let Some(post) = post
            && may_keep
            && self.is_for_post(target, received.status, &received.headers)
        {
            let fetch = (self.begin(&post.key), cancellation);
            return Ok(self.keep(&post, None, received, status, fetch, None));
        }
        if may_keep && also_answers_get(method, target, received.status, &received.headers, &self.rules) {
            let via = self.via.clone();
            let get =
                Incoming::new(Method::GET, target.clone(), original_headers, Hop::default(), via, &self.keys);
            // This fetch begins after the invalidation above, which therefore does not cover it.
            let fetch = (self.begin(&get.key), cancellation);
            return Ok(self.keep(&get, None, received, status, fetch, None));
        }
        self.note(status.outcome(), target, false);
        Ok(with_status(received.status, received.headers, received.body, status))
    }
}
