//! Two bounded queues to two fixed pools of workers, and who is turned away.

use std::mem;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tiny_http::Request;

use super::exchange::{self, Door, Exchange, TurnedAway};

/// Where the dispatcher leaves requests; it never waits there.
#[derive(Clone)]
pub(super) struct Lanes {
    without_body: Lane,
    with_body: Lane,
    max_body: u64,
}

/// The receiving ends of a lane.
pub(super) struct LaneEnds {
    work: Receiver<Request>,
    turned_away: Receiver<(Request, TurnedAway)>,
}

#[derive(Clone)]
struct Lane {
    /// None once nothing is begun any more.
    work: Option<Sender<Request>>,
    /// Unbounded, as tiny_http's own queue is: a request takes the same memory here as there.
    turned_away: Sender<(Request, TurnedAway)>,
}

impl Lanes {
    /// The lanes, and the ends of the one for requests without a body and of the other.
    pub(super) fn new(queue_length: usize, max_body: u64) -> (Self, LaneEnds, LaneEnds) {
        let (without_body, ends_without) = Lane::new(queue_length);
        let (with_body, ends_with) = Lane::new(queue_length);
        (Self { without_body, with_body, max_body }, ends_without, ends_with)
    }

    /// Hands the request to its lane.
    pub(super) fn route(&self, request: Request) {
        let lane = if exchange::is_body_pending(&request) { &self.with_body } else { &self.without_body };
        if request.body_length().is_some_and(|length| length as u64 > self.max_body) {
            lane.turn_away(request, TurnedAway::TooLarge);
        } else {
            lane.offer(request);
        }
    }

    /// From now on everybody is turned away, and workers end when their queue is empty.
    pub(super) fn stop_work(&mut self) {
        self.without_body.work = None;
        self.with_body.work = None;
    }
}

impl Lane {
    fn new(queue_length: usize) -> (Self, LaneEnds) {
        let (work, queued) = bounded(queue_length);
        let (turned_away, others) = unbounded();
        (Self { work: Some(work), turned_away }, LaneEnds { work: queued, turned_away: others })
    }

    fn offer(&self, request: Request) {
        match &self.work {
            None => self.turn_away(request, TurnedAway::Stopping),
            Some(work) => {
                if let Err(full) = work.try_send(request) {
                    self.turn_away(full.into_inner(), TurnedAway::Busy);
                }
            }
        }
    }

    fn turn_away(&self, request: Request, why: TurnedAway) {
        if let Err(unsent) = self.turned_away.send((request, why)) {
            // Dropping a request writes, and reads, and waits for both: not here.
            mem::forget(unsent.into_inner());
        }
    }
}

impl LaneEnds {
    /// What one worker does until its lane's work has ended.
    pub(super) fn worker(&self, exchange: &Arc<Exchange>) -> impl FnOnce() + Send + use<> {
        let (queue, exchange) = (self.work.clone(), Arc::clone(exchange));
        move || {
            for request in queue {
                exchange.answer(request);
            }
        }
    }

    /// What the thread does that tells those who are turned away.
    pub(super) fn doorkeeper(&self, door: &Door) -> impl FnOnce() + Send + use<> {
        let (queue, door) = (self.turned_away.clone(), door.clone());
        move || {
            for (request, why) in queue {
                door.turn_away(request, why);
            }
        }
    }
}
