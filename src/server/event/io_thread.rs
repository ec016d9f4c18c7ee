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
use super::context::Surroundings;
use super::inbox::{Letter, Letters, Mailbox};
use super::rotation::Rotation;
use super::transport::Transport;
use super::turn::BYTES;
use crate::message::stats::ConnectionRefusal;
use crate::server::options::ServerConfig;
use crate::server::serving::Lifetime;

pub(super) const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Connections have the tokens from here on.
const FIRST: usize = 2;

/// How long nobody is accepted after the system had no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// How many connections are accepted before others have their turn.
const AT_ONCE: usize = 64;

/// For so many connections that were served at once one TLS handshake goes on, and one in any case: it takes about as
/// long.
const HITS_OF_A_HANDSHAKE: usize = 32;

/// For each connection that was served at once so many bytes are moved for those that have more to do, beside those of
/// one turn: that takes about as long.
const BYTES_OF_A_HIT: usize = 8 << 10;

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
    /// Those that have more to do than was their turn, or more than what is done at once.
    again: Rotation,
    /// Those whose TLS handshake is to go on.
    handshakes: Rotation,
    around: Surroundings,
    lifetime: Arc<Lifetime>,
    between_looks: Duration,
    next_look: Instant,
    /// Whether more memory was held at the last look than there should be.
    was_over: bool,
    /// See [`Ledger::unstarted`](crate::base::ledger::Ledger).
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
            again: Rotation::default(),
            handshakes: Rotation::default(),
            around,
            lifetime,
            between_looks,
            next_look: Instant::now(),
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
        self.next_look = Instant::now() + self.between_looks;
        while self.turn(&mut events) {}
    }

    /// One turn of the loop: whoever has something to do gets some of it done. Says whether there is another.
    fn turn(&mut self, events: &mut Events) -> bool {
        let timeout = self.timeout();
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("a thread of the front cannot wait for its sockets: {error}");
            return false;
        }
        self.around.now = Instant::now();
        self.around.turn_number += 1;
        let mut served = 0;
        // New connections come last: the numbers of those that end here are free for them, and what the
        // system says of the old ones must not be taken for theirs.
        let (mut has_letters, mut has_arrivals) = (false, false);
        for event in &*events {
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
                    served += usize::from(self.proceed(number));
                }
            }
        }
        if has_letters {
            self.read_letters();
        }
        let mut bulk = BYTES + served * BYTES_OF_A_HIT;
        for _ in 0..self.again.len() {
            if bulk == 0 {
                break;
            }
            let Some(number) = self.again.pop() else { break };
            bulk = bulk.saturating_sub(self.resume(number));
        }
        let again_at = self.acceptor.as_ref().and_then(|acceptor| acceptor.again_at);
        if has_arrivals || again_at.is_some_and(|at| at <= self.around.now) {
            self.accept();
        }
        for _ in 0..=served / HITS_OF_A_HANDSHAKE {
            let Some(number) = self.handshakes.pop() else { break };
            self.resume(number);
        }
        if self.around.now >= self.next_look {
            self.next_look = self.around.now + self.between_looks;
            self.look_at_the_clock();
        }
        !(self.around.is_stopping && (self.connections.is_empty() || self.lifetime.is_over()))
    }

    fn timeout(&self) -> Option<Duration> {
        let accept = self.acceptor.as_ref().and_then(|acceptor| acceptor.again_at);
        let may_accept = accept.is_some_and(|at| at <= self.around.now);
        if may_accept || self.again.len() + self.handshakes.len() > 0 {
            return Some(Duration::ZERO);
        }
        let is_busy = !self.connections.is_empty() || self.around.is_stopping || self.around.is_finishing();
        let look = is_busy.then_some(self.next_look);
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
            Some(tls) => Transport::tls(socket, tls.served(), Arc::clone(&self.around.stats)),
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
        self.proceed(number);
    }

    /// Advances a connection at once, which is said, or when those have had their turn who need less.
    fn proceed(&mut self, number: usize) -> bool {
        let Some(connection) = self.connections.get_mut(number) else { return false };
        if connection.is_handshaking() {
            list(&mut self.handshakes, number, connection);
        } else if connection.is_bulk() {
            list(&mut self.again, number, connection);
        } else {
            self.advance(number);
            return true;
        }
        false
    }

    /// Advances a connection that is taken off its list, and says how many bytes it has moved.
    fn resume(&mut self, number: usize) -> usize {
        let Some(connection) = self.connections.get_mut(number) else { return 0 };
        connection.is_listed = false;
        let left = connection.left(&self.around);
        self.advance(number);
        left.saturating_sub(self.around.turn.bytes())
    }

    fn advance(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        match caught(&mut self.around, |around| connection.advance(around)) {
            Next::Wait => {}
            Next::Again => list(&mut self.again, number, connection),
            Next::Close => self.remove(number),
        }
    }

    /// Goes on with a connection where there is something to do.
    fn follow(&mut self, number: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Again => {
                self.proceed(number);
            }
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

/// Puts a connection on a list, once.
fn list(to: &mut Rotation, number: usize, connection: &mut Connection) {
    if !std::mem::replace(&mut connection.is_listed, true) {
        to.push(connection.client(), number);
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
fn between_looks(options: &ServerConfig) -> Duration {
    let ServerConfig { head_timeout, idle_timeout, handshake_timeout, write_timeout, .. } = options;
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
    use std::net::TcpStream as Client;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::base::ledger::Use;
    use crate::base::tls::testing::Authority;
    use crate::message::stats::ServerStats;
    use crate::server::ServerTls;

    #[test]
    fn a_panic_ends_one_connection_and_what_it_took_is_put_back() {
        let poll = Poll::new().unwrap();
        let (mut around, _letters) = Surroundings::in_test(&poll, ServerConfig::new());
        let next = caught(&mut around, |around| {
            around.input = Box::default();
            panic!("a body of a test panics")
        });
        assert!(matches!(next, Next::Close) && !around.input.is_empty());
        assert!(matches!(caught(&mut around, |_| Next::Wait), Next::Wait));
    }

    /// A thread, and so many clients that are connected to it.
    fn thread_with_clients(options: ServerConfig, count: usize) -> (IoThread, Vec<Client>) {
        let poll = Poll::new().unwrap();
        let (around, letters) = Surroundings::in_test(&poll, options);
        let lifetime = Lifetime::new(Duration::ZERO, Duration::ZERO);
        let mut thread = IoThread::new(poll, letters, None, around, lifetime).unwrap();
        let admission = Admission::new(count, count, Arc::new(ServerStats::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let clients = (0..count).map(|_| {
            let client = Client::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, remote) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let admitted = admission.admit(remote.ip()).unwrap();
            thread.serve(TcpStream::from_std(socket), remote, admitted);
            client.set_nonblocking(true).unwrap();
            client
        });
        let clients = clients.collect();
        (thread, clients)
    }

    /// How many bytes have come.
    fn received(mut client: &Client) -> usize {
        let mut count = 0;
        let mut buffer = [0; 64 << 10];
        while let Ok(more) = client.read(&mut buffer) {
            count += more;
        }
        count
    }

    #[test]
    fn a_few_handshakes_go_on_at_a_turn() {
        let authority = Authority::new();
        let made = authority.sign("localhost");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), made.certificate + &made.key).unwrap();
        let tls = ServerTls::from_files(file.path(), file.path()).unwrap();
        let (mut thread, mut clients) = thread_with_clients(ServerConfig::new().tls(tls), 12);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(crate::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        for client in &mut clients {
            let name = "localhost".try_into().unwrap();
            ClientConnection::new(Arc::clone(&config), name).unwrap().write_tls(client).unwrap();
        }
        let mut events = Events::with_capacity(64);
        let (mut answered, mut turns) = (0, 0);
        while answered < clients.len() {
            assert!(thread.turn(&mut events));
            turns += 1;
            answered += clients.iter().filter(|client| received(client) > 0).count();
            assert!(answered <= turns, "{answered} in {turns} turns");
        }
    }

    #[test]
    fn no_more_is_kept_behind_a_request_than_a_head_may_have() {
        let (mut thread, clients) = thread_with_clients(ServerConfig::new(), 1);
        let requests = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1500);
        (&clients[0]).write_all(requests.as_bytes()).unwrap();
        let mut events = Events::with_capacity(64);
        for _ in 0..100 {
            assert!(thread.turn(&mut events));
            received(&clients[0]);
            let held = thread.around.ledger.held(Use::Connections);
            assert!(held > 0 && held < 17 << 10, "{held}");
        }
    }

    #[test]
    fn a_connection_gets_its_part_of_a_turn_and_those_who_wait_have_theirs_first() {
        // More than any socket takes at once, and readers that are as fast as it is written.
        let (mut thread, clients) = thread_with_clients(ServerConfig::new(), 3);
        let mut totals = [0; 2];
        let mut events = Events::with_capacity(64);
        for mut client in &clients[..2] {
            client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        }
        let mut small = 0;
        for turn in 1..400 {
            (&clients[2]).write_all(b"GET /small HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            assert!(thread.turn(&mut events));
            small += usize::from(received(&clients[2]) > 0);
            assert_eq!(small, turn, "each is answered in its turn");
            totals.iter_mut().zip(&clients).for_each(|(total, client)| *total += received(client));
            // And what is served at once beside it: the heads of both, and the quiet one.
            let most = turn * (2 * BYTES + 3 * BYTES_OF_A_HIT);
            assert!(totals.iter().all(|total| *total <= turn * BYTES), "{totals:?} in {turn} turns");
            assert!(totals.iter().sum::<usize>() <= most, "{totals:?} in {turn} turns");
            if totals.iter().all(|total| *total > 8 << 20) {
                return;
            }
        }
        panic!("{totals:?}");
    }
}
