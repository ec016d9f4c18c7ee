//! Enforces the deadlines of a connection.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::{Closing, Connection};
use crate::server::event::context::ThreadContext;
use crate::server::event::exchange::Reply;
use crate::server::event::next::Next;
use crate::server::request_head::Rejection;

impl Connection {
    /// Enforces the deadlines.
    pub(in crate::server::event) fn check_deadlines(&mut self, context: &mut ThreadContext) -> Next {
        let (now, options) = (context.now, &context.options);
        let has_passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if let Closing::Lingering { until, .. } = self.closing {
            return if now >= until { Next::Close } else { Next::Wait };
        }
        if self.transport.is_handshaking() || self.has_proxy_header {
            return if has_passed(self.idle_since, options.handshake_timeout) {
                Next::Close
            } else {
                Next::Wait
            };
        }
        if self.writing.check_window(options, now) {
            log::debug!("a client reads its response too slowly; its connection is aborted");
            self.transport.abort();
            return Next::Close;
        }
        let reason = "the request did not arrive in time";
        let late = Rejection { status: StatusCode::REQUEST_TIMEOUT, reason };
        let Some(exchange) = &self.exchange else {
            return match self.head_since {
                Some(since) if has_passed(since, options.head_timeout) => {
                    self.reject(late, context);
                    Next::Again
                }
                None if self.closing == Closing::No
                    && self.is_idle()
                    && (has_passed(self.idle_since, options.idle_timeout)
                        || context.closes_idle_connections()) =>
                {
                    Next::Close
                }
                _ => Next::Wait,
            };
        };
        match &exchange.reply {
            Reply::NotDispatched | Reply::Waiting(_) | Reply::Sending(_)
                if self.reading.check_window(options, now) =>
            {
                self.fail_body(late, context);
                Next::Again
            }
            Reply::Waiting(waiting) if waiting.until.is_some_and(|until| until <= now) => {
                self.poll_responder(context);
                Next::Again
            }
            // Retry in case no worker was available to read the body.
            Reply::Sending(_) => Next::Again,
            _ => Next::Wait,
        }
    }
}
