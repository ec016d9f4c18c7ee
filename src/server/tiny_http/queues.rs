//! Two bounded queues to two fixed pools of workers, and rejection of requests over the limit.

use std::mem;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tiny_http::Request;

use super::exchange::{self, Exchange, RejectReason, Rejecter};

/// The queues into which the dispatcher puts requests; it never blocks.
#[derive(Clone)]
pub(super) struct Queues {
    without_body: Queue,
    with_body: Queue,
    max_body: u64,
}

/// The receiving ends of a queue.
pub(super) struct QueueReceivers {
    work: Receiver<Request>,
    rejected: Receiver<(Request, RejectReason)>,
}

#[derive(Clone)]
struct Queue {
    /// `None` once the server shuts down.
    work: Option<Sender<Request>>,
    /// Unbounded, like tiny_http's own queue: a request takes the same memory in either.
    rejected: Sender<(Request, RejectReason)>,
}

impl Queues {
    /// Creates the queues, and the receiving ends for requests without and with a body.
    pub(super) fn new(queue_length: usize, max_body: u64) -> (Self, QueueReceivers, QueueReceivers) {
        let (without_body, receivers_without) = Queue::new(queue_length);
        let (with_body, receivers_with) = Queue::new(queue_length);
        (Self { without_body, with_body, max_body }, receivers_without, receivers_with)
    }

    /// Puts a request into its queue.
    pub(super) fn route(&self, request: Request) {
        let queue = if exchange::is_body_pending(&request) { &self.with_body } else { &self.without_body };
        if request.body_length().is_some_and(|length| length as u64 > self.max_body) {
            queue.reject(request, RejectReason::TooLarge);
        } else {
            queue.push(request);
        }
    }

    /// Rejects all further requests; workers end once their queue is empty.
    pub(super) fn close(&mut self) {
        self.without_body.work = None;
        self.with_body.work = None;
    }
}

impl Queue {
    fn new(queue_length: usize) -> (Self, QueueReceivers) {
        let (work, queued) = bounded(queue_length);
        let (rejected, rejections) = unbounded();
        (Self { work: Some(work), rejected }, QueueReceivers { work: queued, rejected: rejections })
    }

    fn push(&self, request: Request) {
        match &self.work {
            None => self.reject(request, RejectReason::Stopping),
            Some(work) => {
                if let Err(full) = work.try_send(request) {
                    self.reject(full.into_inner(), RejectReason::Busy);
                }
            }
        }
    }

    fn reject(&self, request: Request, why: RejectReason) {
        if let Err(unsent) = self.rejected.send((request, why)) {
            // Dropping a request reads and writes, and may block for both; the dispatcher must not.
            mem::forget(unsent.into_inner());
        }
    }
}

impl QueueReceivers {
    /// Returns the work of one worker thread, which ends with its queue.
    pub(super) fn worker(&self, exchange: &Arc<Exchange>) -> impl FnOnce() + Send + use<> {
        let (requests, exchange) = (self.work.clone(), Arc::clone(exchange));
        move || {
            for request in requests {
                exchange.process(request);
            }
        }
    }

    /// Returns the work of the thread that sends the responses for rejected requests.
    pub(super) fn rejecter(&self, rejecter: &Rejecter) -> impl FnOnce() + Send + use<> {
        let (requests, rejecter) = (self.rejected.clone(), rejecter.clone());
        move || {
            for (request, why) in requests {
                rejecter.reject(request, why);
            }
        }
    }
}
