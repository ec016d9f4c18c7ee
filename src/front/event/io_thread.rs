//! A thread that serves connections: it waits for their sockets, and for nothing else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::admission::{Admission, Admitted};
use super::connection::{Connection, Next};
use super::mailbox::{Letter, Letters, Mailbox};
use super::surroundings::Surroundings;
use super::transport::Transport;
use crate::front::options::FrontOptions;
use crate::front::serving::Lifetime;
use crate::stats::ConnectionRefusal;

pub(super) const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Connections have the tokens from here on.
const FIRST: usize = 2;

/// How long nobody is accepted after the system had no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// How many connections are accepted before others have their turn.
const AT_ONCE: usize = 256;

/// How many slow readers are cut off at a look.
const CUT_OFF: usize = 4;

/// How often deadlines are looked at, at most and at least.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(250);

/// What is said, and no more, to a connection too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\ncontent-security-policy: sandbox\r\nx-content-type-options: nosniff\r\n\
    forwardcache-error: unavailable\r\nforwardcache-peer: 1\r\nconnection: close\r\n\r\n";

pub(super) struct IoThread {
    poll: Poll,
    letters: Letters,
    acceptor: Option<Acceptor>,
    connections: Slab<Connection>,
    /// Those that have more to do than was their turn.
    again: Vec<usize>,
    around: Surroundings,
    lifetime: Arc<Lifetime>,
    between_looks: Duration,
    /// Whether more memory was held at the last look than there should be.
    was_over: bool,
    /// See [`Ledger::unstarted`](crate::ledger::Ledger).
    unstarted: u64,
}

/// Takes connections and shares them out.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) admission: Arc<Admission>,
    /// Those of all threads, this one's first.
    pub(super) mailboxes: Vec<Mailbox>,
    next: usize,
    /// Given up for a moment when there are no more file descriptors, so that whoever waits learns of it.
    reserve: Option<File>,
    again_at: Option<Instant>,
    /// Whether the last one could not be accepted for want of file descriptors, which has been told.
    is_exhausted: bool,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, admission: Arc<Admission>, mailboxes: Vec<Mailbox>) -> Self {
        Self {
            listener,
            admission,
            mailboxes,
            next: 0,
            reserve: reserve(),
            again_at: None,
            is_exhausted: false,
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl IoThread {
    pub(super) fn new(
        poll: Poll,
        letters: Letters,
        acceptor: Option<Acceptor>,
        around: Surroundings,
        lifetime: Arc<Lifetime>,
    ) -> io::Result<Self> {
        let between_looks = between_looks(&around.options);
        let mut thread = Self {
            poll,
            letters,
            acceptor,
            connections: Slab::new(),
            again: Vec::new(),
            around,
            lifetime,
            between_looks,
            was_over: false,
            unstarted: 0,
        };
        if let Some(acceptor) = &mut thread.acceptor {
            thread.poll.registry().register(&mut acceptor.listener, LISTENER, Interest::READABLE)?;
        }
        Ok(thread)
    }

    /// Serves until the front has shut down and every connection is done.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut next_look = Instant::now() + self.between_looks;
        loop {
            let timeout = self.timeout(next_look);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("a thread of the front cannot wait for its sockets: {error}");
                return;
            }
            self.around.now = Instant::now();
            for number in std::mem::take(&mut self.again) {
                if let Some(connection) = self.connections.get_mut(number) {
                    connection.is_listed = false;
                }
                self.advance(number);
            }
            // New connections come last: the numbers of those that end here are free for them, and what the
            // system says of the old ones must not be taken for theirs.
            let (mut has_letters, mut has_arrivals) = (false, false);
            for event in &events {
                match event.token() {
                    WAKER => has_letters = true,
                    LISTENER => has_arrivals = true,
                    Token(token) => {
                        let number = token - FIRST;
                        let Some(connection) = self.connections.get_mut(number) else { continue };
                        // Nobody is there any more to read what would be written. Where both have said their
                        // last word, it may still be on its way.
                        if event.is_write_closed() && !connection.is_lingering() {
                            self.remove(number);
                            continue;
                        }
                        let is_last = event.is_read_closed() || event.is_error();
                        connection.is_ready(event.is_readable(), is_last, event.is_writable());
                        self.advance(number);
                    }
                }
            }
            if has_letters {
                self.read_letters();
            }
            let again_at = self.acceptor.as_ref().and_then(|acceptor| acceptor.again_at);
            if has_arrivals || again_at.is_some_and(|at| at <= self.around.now) {
                self.accept();
            }
            if self.around.now >= next_look {
                next_look = self.around.now + self.between_looks;
                self.look_at_the_clock();
            }
            if self.around.is_stopping && (self.connections.is_empty() || self.lifetime.is_over()) {
                return;
            }
        }
    }

    fn timeout(&self, next_look: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self.acceptor.as_ref().and_then(|acceptor| acceptor.again_at);
        let is_busy = !self.connections.is_empty() || self.around.is_stopping || self.around.is_finishing();
        let look = is_busy.then_some(next_look);
        // A millisecond at least, which is what the system counts in.
        accept
            .into_iter()
            .chain(look)
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }

    fn read_letters(&mut self) {
        let letters: Vec<Letter> = self.letters.take().collect();
        for letter in letters {
            match letter {
                Letter::Take(socket, remote, admitted) => self.serve(socket, remote, admitted),
                Letter::Look(address) => {
                    let Some(connection) = self.connections.get_mut(address.connection) else { continue };
                    let next = caught(&mut self.around, |around| {
                        connection.hear(address.exchange, around);
                        Next::Again
                    });
                    self.follow(address.connection, next);
                }
                Letter::Stop => self.stop(),
            }
        }
    }

    /// Takes nobody any more, and lets go of those that wait for nothing.
    fn stop(&mut self) {
        self.around.is_stopping = true;
        self.acceptor = None;
        let numbers: Vec<usize> = self.connections.iter().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(connection) =
                self.connections.get_mut(number).filter(|connection| connection.is_idle())
            {
                // What has come by now is still answered.
                connection.is_ready(true, false, false);
                self.advance(number);
            }
        }
    }

    fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.again_at = None;
        let mut own = Vec::new();
        for turn in 0.. {
            // Those that are served already have their turn too.
            if turn == AT_ONCE {
                acceptor.again_at = Some(self.around.now);
                break;
            }
            match acceptor.listener.accept() {
                Ok((socket, remote)) => {
                    acceptor.is_exhausted = false;
                    let Some(admitted) = acceptor.admission.admit(remote.ip()) else {
                        log::debug!("a connection too many is closed");
                        turn_away(&socket, self.around.options.tls.is_some());
                        continue;
                    };
                    let turn = acceptor.next;
                    acceptor.next = (turn + 1) % acceptor.mailboxes.len();
                    if turn == 0 {
                        own.push((socket, remote, admitted));
                    } else {
                        acceptor.mailboxes[turn].leave(Letter::Take(socket, remote, admitted));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhaustion(&error) => {
                    if !acceptor.is_exhausted {
                        log::warn!("no connection can be accepted: {error}");
                    }
                    acceptor.is_exhausted = true;
                    self.around.stats.count_connection_refusal(ConnectionRefusal::NoDescriptors);
                    // With the one that is kept for this, one who waits can be told by the end of the connection.
                    if acceptor.reserve.take().is_some() {
                        drop(acceptor.listener.accept());
                    }
                    acceptor.reserve = reserve();
                    acceptor.again_at = Some(self.around.now + EXHAUSTED);
                    break;
                }
                // The one that was next is gone; the listener itself goes with a shutdown.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    log::debug!("accepting connections ends for now: {error}");
                    acceptor.again_at = Some(self.around.now + EXHAUSTED);
                    break;
                }
            }
        }
        for (socket, remote, admitted) in own {
            self.serve(socket, remote, admitted);
        }
    }

    /// Serves a connection from now on.
    fn serve(&mut self, socket: TcpStream, remote: SocketAddr, admitted: Admitted) {
        // Linux lets it inherit that from the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = socket.set_nodelay(true);
        let transport = match &self.around.options.tls {
            None => Ok(Transport::plain(socket)),
            Some(tls) => Transport::tls(socket, tls.config(), Arc::clone(&self.around.stats)),
        };
        let mut transport = match transport {
            Ok(transport) => transport,
            Err(error) => return log::error!("a connection cannot be served: {error}"),
        };
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(transport.socket(), Token(FIRST + number), interest)
        {
            return log::error!("a connection cannot be watched: {error}");
        }
        entry.insert(Connection::new(transport, remote, number, self.around.now, admitted));
        self.advance(number);
    }

    fn advance(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        match caught(&mut self.around, |around| connection.advance(around)) {
            Next::Wait => {}
            Next::Again if connection.is_listed => {}
            Next::Again => {
                connection.is_listed = true;
                self.again.push(number);
            }
            Next::Close => self.remove(number),
        }
    }

    /// Advances a connection at once, where there is something to do.
    fn follow(&mut self, number: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Again => self.advance(number),
            Next::Close => self.remove(number),
        }
    }

    fn remove(&mut self, number: usize) {
        if let Some(connection) = self.connections.try_remove(number) {
            caught(&mut self.around, |around| {
                connection.part(around);
                Next::Close
            });
        }
    }

    fn look_at_the_clock(&mut self) {
        caught(&mut self.around, |around| {
            around.look_at_the_clock();
            Next::Wait
        });
        self.cut_off_slow_readers();
        let mut due = Vec::new();
        for (number, connection) in &mut self.connections {
            match caught(&mut self.around, |around| connection.look_at_the_clock(around)) {
                Next::Wait => {}
                next => due.push((number, next)),
            }
        }
        for (number, next) in due {
            self.follow(number, next);
        }
    }
}

/// Runs what is done for one connection. Not all of it is ours: a panic ends this connection, and no other.
fn caught(around: &mut Surroundings, act: impl FnOnce(&mut Surroundings) -> Next) -> Next {
    panic::catch_unwind(AssertUnwindSafe(|| act(around))).unwrap_or_else(|_| {
        log::error!("a connection ended in a panic");
        around.restore();
        Next::Close
    })
}

impl IoThread {
    /// Ends connections of clients that do not read, as long as more memory is held than there should be, or so much
    /// that fetches cannot start: a few of them, those first that hold most for longest.
    fn cut_off_slow_readers(&mut self) {
        let ledger = &self.around.ledger;
        if ledger.is_over() {
            ledger.make_room(0);
        }
        let unstarted = ledger.unstarted();
        let is_short = std::mem::replace(&mut self.unstarted, unstarted) != unstarted;
        if !ledger.is_over() && !is_short {
            self.was_over = false;
            return;
        }
        // What was over just now may be gone by the next look.
        if !std::mem::replace(&mut self.was_over, true) {
            return;
        }
        let now = self.around.now;
        let blocked = self.connections.iter();
        let mut blocked: Vec<(u128, usize)> = blocked
            .filter_map(|(number, connection)| Some((connection.is_worth_cutting(now)?, number)))
            .collect();
        blocked.sort_unstable_by(|one, other| other.cmp(one));
        for (_, number) in blocked.into_iter().take(CUT_OFF) {
            if let Some(connection) = self.connections.get_mut(number) {
                connection.cut_off();
                self.around.stats.count_cut_off();
            }
            self.remove(number);
        }
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        for connection in self.connections.drain() {
            connection.part(&mut self.around);
        }
    }
}

/// A quarter of the shortest deadline, within bounds.
fn between_looks(options: &FrontOptions) -> Duration {
    let FrontOptions { head_timeout, idle_timeout, handshake_timeout, write_timeout, .. } = options;
    let shortest = head_timeout.min(idle_timeout).min(handshake_timeout).min(write_timeout);
    (*shortest / 4).clamp(OFTEN, SELDOM)
}

/// Tells a connection that there is no room for it, as far as it hears that at once.
fn turn_away(socket: &TcpStream, is_tls: bool) {
    let mut socket = socket;
    if !is_tls {
        let _ = socket.write(TOO_MANY);
    }
    let _ = socket.shutdown(Shutdown::Write);
    // What is not read when the socket is closed would make the system take back what was just said.
    let _ = socket.read(&mut [0; 16 << 10]);
}

/// No more file descriptors, in this process or on the machine, or no memory for a socket.
fn is_exhaustion(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let number = error.raw_os_error();
    matches!(number, Some(ENFILE | EMFILE))
        || matches!(error.kind(), io::ErrorKind::OutOfMemory)
        || (cfg!(target_os = "linux") && number == Some(105))
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use mio::Waker;

    use super::*;
    use crate::body::Body;
    use crate::front::event::mailbox::mailbox;
    use crate::front::event::upload::Places;
    use crate::front::serve::Unhurried;
    use crate::ledger::Ledger;
    use crate::scheduler::{PoolOptions, Scheduler};

    #[test]
    fn a_panic_ends_one_connection_and_what_it_took_is_put_back() {
        let poll = Poll::new().unwrap();
        let (mailbox, _letters) = mailbox(Waker::new(poll.registry(), WAKER).unwrap());
        let ledger = Ledger::new(u64::MAX);
        let scheduler = Scheduler::new(&PoolOptions::default(), &ledger, Box::new(|_| None));
        let handler = |_: Request<Body>| Response::new(Body::from(Bytes::new()));
        let mut around = Surroundings::new(
            Arc::new(Unhurried(handler)),
            Arc::new(scheduler),
            ledger,
            Arc::default(),
            Places::new(8),
            FrontOptions::new(),
            mailbox,
        );
        let next = caught(&mut around, |around| {
            around.input = Box::default();
            panic!("a body of a test panics")
        });
        assert!(matches!(next, Next::Close) && !around.input.is_empty());
        assert!(matches!(caught(&mut around, |_| Next::Wait), Next::Wait));
    }
}
