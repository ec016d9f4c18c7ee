//! What the connections of one thread have in common.

use std::sync::Arc;
use std::time::Instant;

use super::inbox::Mailbox;
use super::turn::Turn;
use super::upload::Places;
use crate::base::cancellation::Cancellation;
use crate::base::ledger::Ledger;
use crate::message::body::{Driver, FINISHING, Growing};
use crate::message::nonblocking::{self, Job, Lane};
use crate::message::stats::ServerStats;
use crate::message::url::CanonicalUrl;
use crate::scheduler::{Client, Scheduler};
use crate::server::options::ServerConfig;
use crate::server::request_head::HeadLimits;
use crate::server::serve::{Responder, Scratch};
use crate::server::tls::ServerTls;

/// How much is read from a socket at a time, in bytes.
const INPUT: usize = 64 << 10;

/// How many bodies are held whose clients have left and that are worth finishing.
const MOST_FINISHING: usize = 64;

pub(super) struct Surroundings {
    pub(super) responder: Arc<dyn Responder>,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) stats: Arc<ServerStats>,
    pub(super) uploads: Arc<Places>,
    /// Whether each client has shown a certificate of those that the options name.
    pub(super) shows_certificates: bool,
    pub(super) options: ServerConfig,
    pub(super) limits: HeadLimits,
    pub(super) mailbox: Mailbox,
    /// What is read goes through here.
    pub(super) input: Box<[u8]>,
    pub(super) scratch: Scratch,
    pub(super) now: Instant,
    /// The number of the turn of the loop, and what the connection that is advanced has done in it.
    pub(super) turn_number: u64,
    pub(super) turn: Turn,
    pub(super) is_stopping: bool,
    last_exchange: u64,
    /// Bodies whose clients have left, until when.
    finishing: Vec<(Box<dyn Growing>, Instant)>,
}

impl Surroundings {
    pub(super) fn new(
        responder: Arc<dyn Responder>,
        scheduler: Arc<Scheduler>,
        ledger: Arc<Ledger>,
        stats: Arc<ServerStats>,
        uploads: Arc<Places>,
        options: ServerConfig,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            responder,
            scheduler,
            ledger,
            stats,
            uploads,
            shows_certificates: options.tls.as_ref().is_some_and(ServerTls::asks_for_certificates),
            limits: options.head_limits(),
            options,
            mailbox,
            input: vec![0; INPUT].into(),
            scratch: Scratch::default(),
            now: Instant::now(),
            turn_number: 0,
            turn: Turn::default(),
            is_stopping: false,
            last_exchange: 0,
            finishing: Vec::new(),
        }
    }

    /// Puts back what somebody may have taken who did not come back.
    pub(super) fn restore(&mut self) {
        if self.input.is_empty() {
            self.input = vec![0; INPUT].into();
        }
    }

    pub(super) fn next_exchange(&mut self) -> u64 {
        self.last_exchange += 1;
        self.last_exchange
    }

    /// Moves a body on.
    pub(super) fn transfer(&self, driver: Driver, origin: Option<CanonicalUrl>, client: Option<Client>) {
        let job = Job::new(Lane::Transfer(origin), Cancellation::new(), move |turn| {
            if turn == nonblocking::Turn::Pool {
                driver();
            }
        });
        self.scheduler.submit(job, client);
    }

    /// Lets go of a body that is not read to its end. One that is worth finishing gets a little time for that.
    pub(super) fn let_go(
        &mut self,
        stream: Box<dyn Growing>,
        origin: Option<CanonicalUrl>,
        client: Option<Client>,
    ) {
        if !stream.is_worth_finishing() || self.finishing.len() >= MOST_FINISHING || self.is_stopping {
            return stream.abandon();
        }
        if let Some(driver) = stream.driver() {
            self.transfer(driver, origin, client);
        }
        self.finishing.push((stream, self.now + FINISHING));
    }

    /// Lets go of what was not finished in time.
    pub(super) fn look_at_the_clock(&mut self) {
        let now = self.now;
        let is_late = |(_, until): &mut (Box<dyn Growing>, Instant)| *until <= now;
        self.finishing.extract_if(.., is_late).for_each(|(stream, _)| stream.abandon());
        self.scheduler.tick(now);
    }

    /// Whether something is still to be let go of.
    pub(super) fn is_finishing(&self) -> bool {
        !self.finishing.is_empty()
    }
}

#[cfg(test)]
mod testing {
    use http::{Request, Response};
    use mio::{Poll, Waker};

    use super::*;
    use crate::message::body::Body;
    use crate::message::nonblocking::{PlainRequest, Step, Wakes};
    use crate::scheduler::PoolOptions;
    use crate::server::event::inbox::{Letters, mailbox};
    use crate::server::event::io_thread::WAKER;
    use crate::server::serve::Handler;
    use crate::store::StoredResponse;

    /// Answers at once: with 8 MiB where a path says that it is large.
    struct AtOnce;

    impl Handler for AtOnce {
        fn handle(&self, request: Request<Body>) -> Response<Body> {
            let length = if request.uri().path() == "/large" { 8 << 20 } else { 10 };
            Response::new(Body::from(vec![b'x'; length]))
        }
    }

    impl Responder for AtOnce {
        fn hit(&self, _: &PlainRequest<'_>, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
            None
        }

        fn step(self: Arc<Self>, request: Request<Body>, _: Wakes<'_>) -> Step<Response<Body>> {
            Step::Serve(self.handle(request))
        }
    }

    impl Surroundings {
        pub(in super::super) fn in_test(poll: &Poll, options: ServerConfig) -> (Self, Letters) {
            let (mailbox, letters) = mailbox(Waker::new(poll.registry(), WAKER).unwrap());
            let ledger = Ledger::new(u64::MAX);
            let scheduler = Arc::new(Scheduler::new(&PoolOptions::default(), &ledger, Box::new(|_| None)));
            let (stats, places) = (Arc::default(), Places::new(8));
            (Self::new(Arc::new(AtOnce), scheduler, ledger, stats, places, options, mailbox), letters)
        }
    }
}
