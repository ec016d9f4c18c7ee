//! [`ThreadContext`]: what an I/O thread passes to each of its connections.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};

use super::budget::Budget;
use super::inbox::Inbox;
use super::tunnel_limits::TunnelLimits;
use super::upload::UploadLimits;
use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::body::{Driver, FINISH_TIMEOUT, Growing};
use crate::message::nonblocking::{self, Job, Lane};
use crate::message::url::CanonicalUrl;
use crate::metrics::ServerStats;
use crate::scheduler::{ClientAddress, Scheduler};
use crate::server::access_log::Pending;
use crate::server::handler::{Responder, Scratch, Sender};
use crate::server::options::ServerConfig;
use crate::server::request_head::HeadLimits;
use crate::server::sampler::Sampler;
use crate::server::tls::ServerTls;

/// Maximum number of bytes to read from a socket at once.
const INPUT: usize = 64 << 10;

/// Maximum number of bodies that are kept after their clients left, so that they can be stored.
const MAX_FINISHING: usize = 64;

/// The shortest and the longest interval between checks of deadlines.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);
const MAX_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// State that the connections of one I/O thread share.
pub(super) struct ThreadContext {
    pub(super) responder: Arc<dyn Responder>,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) stats: Arc<ServerStats>,
    pub(super) uploads: Arc<UploadLimits>,
    pub(super) tunnels: Arc<TunnelLimits>,
    /// Whether all clients have shown a certificate, because the TLS configuration requires one.
    pub(super) shows_certificates: bool,
    pub(super) options: ServerConfig,
    pub(super) limits: HeadLimits,
    pub(super) inbox: Inbox,
    /// Buffer for reading from sockets.
    pub(super) input: Box<[u8]>,
    pub(super) scratch: Scratch,
    pub(super) now: Instant,
    /// The number of the current turn of the loop.
    pub(super) turn_number: u64,
    pub(super) budget: Budget,
    pub(super) is_stopping: bool,
    /// The time until which idle connections stay open during a shutdown.
    pub(super) idle_until: Option<Instant>,
    /// Jobs of this turn whose request the event loop may send, with the clients that they are charged to.
    pub(super) asks: Vec<(Job, Option<ClientAddress>)>,
    last_exchange: u64,
    sampler: Cell<Sampler>,
    /// Bodies whose clients have left, each with the time when it is abandoned.
    finishing: Vec<(Box<dyn Growing>, Instant)>,
}

impl ThreadContext {
    #[allow(clippy::too_many_arguments, reason = "each is shared with other parts of the server")]
    pub(super) fn new(
        responder: Arc<dyn Responder>,
        scheduler: Arc<Scheduler>,
        ledger: Arc<Ledger>,
        stats: Arc<ServerStats>,
        (uploads, tunnels): (Arc<UploadLimits>, Arc<TunnelLimits>),
        options: ServerConfig,
        inbox: Inbox,
    ) -> Self {
        Self {
            responder,
            scheduler,
            ledger,
            stats,
            uploads,
            tunnels,
            shows_certificates: options.tls.as_ref().is_some_and(ServerTls::requires_certificates),
            limits: options.head_limits(),
            options,
            inbox,
            input: vec![0; INPUT].into(),
            scratch: Scratch::default(),
            now: Instant::now(),
            turn_number: 0,
            budget: Budget::default(),
            is_stopping: false,
            idle_until: None,
            asks: Vec::new(),
            last_exchange: 0,
            sampler: Cell::new(Sampler::new(Instant::now())),
            finishing: Vec::new(),
        }
    }

    /// Runs code for one connection. A panic, for example of a handler's body, is logged and returns `None`: it ends
    /// only this connection.
    pub(super) fn catch_panic<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let result = panic::catch_unwind(AssertUnwindSafe(|| act(self)));
        if result.is_err() {
            log::error!("a connection panicked and is closed");
            // The panic may have lost the buffer.
            if self.input.is_empty() {
                self.input = vec![0; INPUT].into();
            }
        }
        result.ok()
    }

    /// Starts the record of a request whose head is complete.
    pub(super) fn pending<'a>(
        &self,
        method: Option<&Method>,
        target: impl FnOnce() -> Cow<'a, str>,
    ) -> Pending<'a> {
        let mut weight = 0;
        if self.options.recorder.is_some() {
            let mut sampler = self.sampler.get();
            weight = sampler.weight(self.now);
            self.sampler.set(sampler);
        }
        let is_target_used = weight > 0 || self.options.access_log.is_some();
        let target = if is_target_used { target() } else { Cow::Borrowed("") };
        Pending::new(self.now, method.cloned(), target, weight)
    }

    /// Counts and logs a request that has ended.
    pub(super) fn finished(&self, pending: &Pending<'_>, remote: SocketAddr, is_complete: bool) {
        let record = pending.record(remote, Instant::now(), is_complete);
        self.stats.count_duration(record.outcome, record.duration);
        if let Some(recorder) = self.options.recorder.as_ref().filter(|_| pending.weight > 0) {
            recorder.record(&record, pending.weight, self.now);
        }
        if let Some(log) = &self.options.access_log {
            log.log(&record);
        }
    }

    /// Logs a tunnel that has ended.
    pub(super) fn log(&self, pending: &Pending<'_>, remote: SocketAddr, is_complete: bool) {
        if let Some(log) = &self.options.access_log {
            log.log(&pending.record(remote, Instant::now(), is_complete));
        }
    }

    /// Returns the client to which the jobs of a request are charged; `None` for a peer of the pool.
    pub(super) fn charged_client(&self, remote: SocketAddr, head: &HeaderMap) -> Option<ClientAddress> {
        let is_by_a_peer = self.responder.is_by_a_peer(head, remote.ip(), self.shows_certificates);
        (!is_by_a_peer).then(|| ClientAddress::of(remote.ip()))
    }

    /// Returns how the requests of a client reach the server.
    pub(super) fn sender(&self, remote: SocketAddr) -> Sender {
        Sender {
            address: remote,
            shows_certificate: self.shows_certificates,
            is_tls: self.options.tls.is_some(),
            is_http_proxy: self.options.http_proxy,
            is_behind_proxies: self.options.has_trusted_proxies(),
        }
    }

    /// Returns whether a shutdown closes idle connections now.
    pub(super) fn closes_idle_connections(&self) -> bool {
        self.is_stopping && self.idle_until.is_none_or(|until| until <= self.now)
    }

    pub(super) fn next_exchange(&mut self) -> u64 {
        self.last_exchange += 1;
        self.last_exchange
    }

    /// Runs a job on a thread, or without one if the event loop may send its request.
    pub(super) fn submit(&mut self, job: Job, client: Option<ClientAddress>) {
        match &job.ask {
            Some(_) => self.asks.push((job, client)),
            None => self.scheduler.submit(job, client),
        }
    }

    /// Returns a quarter of the shortest deadline, within bounds.
    pub(super) fn check_interval(&self) -> Duration {
        let ServerConfig { head_timeout, idle_timeout, handshake_timeout, write_timeout, .. } = &self.options;
        let shortest = head_timeout.min(idle_timeout).min(handshake_timeout).min(write_timeout);
        (*shortest / 4).clamp(MIN_CHECK_INTERVAL, MAX_CHECK_INTERVAL)
    }

    /// Submits a job that reads a body from its origin.
    pub(super) fn transfer(
        &self,
        driver: Driver,
        origin: Option<CanonicalUrl>,
        client: Option<ClientAddress>,
    ) {
        let job = Job::new(Lane::Transfer(origin), Cancellation::new(), move |mode| {
            if mode == nonblocking::RunMode::Worker {
                driver();
            }
        });
        self.scheduler.submit(job, client);
    }

    /// Releases a body that no client reads any more. A body that is nearly complete gets a short time to
    /// finish.
    pub(super) fn release_body(
        &mut self,
        stream: Box<dyn Growing>,
        origin: Option<CanonicalUrl>,
        client: Option<ClientAddress>,
    ) {
        if !stream.is_worth_finishing() || self.finishing.len() >= MAX_FINISHING || self.is_stopping {
            return stream.abandon();
        }
        if let Some(driver) = stream.driver() {
            self.transfer(driver, origin, client);
        }
        self.finishing.push((stream, self.now + FINISH_TIMEOUT));
    }

    /// Abandons bodies that did not finish in time, and advances the scheduler's clock.
    pub(super) fn check_deadlines(&mut self) {
        let now = self.now;
        let is_late = |(_, until): &mut (Box<dyn Growing>, Instant)| *until <= now;
        self.finishing.extract_if(.., is_late).for_each(|(stream, _)| stream.abandon());
        self.scheduler.tick(now);
    }

    /// Returns whether released bodies are still finishing.
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
    use crate::server::event::inbox::{InboxReceiver, WAKER, inbox};
    use crate::server::handler::Handler;
    use crate::store::StoredResponse;

    /// Responds at once: with 8 MiB for `/large`, with 10 bytes for other paths.
    struct ImmediateResponder;

    impl Handler for ImmediateResponder {
        fn handle(&self, request: Request<Body>) -> Response<Body> {
            let length = if request.uri().path() == "/large" { 24 << 20 } else { 10 };
            Response::new(Body::from(vec![b'x'; length]))
        }
    }

    impl Responder for ImmediateResponder {
        fn hit(&self, _: &PlainRequest<'_>, _: &Sender, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
            None
        }

        fn step(self: Arc<Self>, request: Request<Body>, _: Wakes<'_>) -> Step<Response<Body>> {
            Step::Serve(self.handle(request))
        }
    }

    impl ThreadContext {
        pub(in super::super) fn for_test(poll: &Poll, options: ServerConfig) -> (Self, InboxReceiver) {
            let (inbox, messages) = inbox(Waker::new(poll.registry(), WAKER).unwrap());
            let ledger = Ledger::new(u64::MAX);
            let scheduler = Arc::new(Scheduler::new(&PoolOptions::default(), &ledger, Box::new(|_| None)));
            let (stats, limits) = (Arc::default(), UploadLimits::new(8));
            let tunnels = TunnelLimits::new(8, Arc::clone(&stats));
            (
                Self::new(
                    Arc::new(ImmediateResponder),
                    scheduler,
                    ledger,
                    stats,
                    (limits, tunnels),
                    options,
                    inbox,
                ),
                messages,
            )
        }
    }
}
