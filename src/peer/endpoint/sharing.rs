//! Answers requests on a server whose few threads handle all kinds of requests.

use std::io::{self, Read};
use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::action::Action;
use super::proxy::Proxy;
use super::refusal::failure;
use crate::base::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::scheduler::{ClientAddress, Share, Shares};

impl Proxy {
    /// Like [`handle`](Self::handle), for a server whose few threads handle all kinds of requests. It limits how many
    /// threads wait for other peers, for one origin, or for one client, so that some threads stay free.
    pub(crate) fn handle_with_shares(
        &self,
        request: Request<Body>,
        shares: Option<&Shares>,
        client: impl FnOnce() -> Option<ClientAddress>,
    ) -> Response<Body> {
        let action = match self.admit(&request) {
            Ok(action) => action,
            Err(refused) => return *refused,
        };
        if matches!(action, Action::Purge { is_of_pool: true }) {
            return self.added_fields(request.headers()).apply(self.answer_exclusive_purge(&request));
        }
        let (Some(origin), Some(shares)) = (action.origin(), shares) else {
            return self.run(action, request);
        };
        match shares.try_enter(origin, client()) {
            None => self.answer_from_store(action, request),
            Some(share) => {
                let response = self.run(action, request);
                if response.body().as_bytes().is_some() {
                    response
                } else {
                    // A thread reads from the origin until the end of the body, so the body holds the share.
                    response.map(|body| body.map_reader(|body| BodyWithShare { body, _share: share }))
                }
            }
        }
    }

    /// Serves a stored response, stale or not, without a request to the origin.
    fn answer_from_store(&self, action: Action, mut request: Request<Body>) -> Response<Body> {
        let added = match &action {
            Action::Forward(forwarded) => self.forward_added_fields(forwarded),
            _ => self.added_fields(request.headers()),
        };
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let only_stored = HeaderValue::from_static("only-if-cached, max-stale");
            request.headers_mut().insert(CACHE_CONTROL, only_stored);
            let response = self.run(action, request);
            if response.status() != StatusCode::GATEWAY_TIMEOUT {
                return response;
            }
        }
        let text = "too many requests wait for this origin or come from this client";
        added.apply(failure(
            &Error::new(ErrorKind::Unavailable, text).with_retry_after(Duration::from_secs(1)),
        ))
    }
}

/// A body that holds a share of the threads until it is dropped.
struct BodyWithShare {
    body: Body,
    _share: Share,
}

impl Read for BodyWithShare {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}
