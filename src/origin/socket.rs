//! TCP connections with time limits, each tied to the exchange that uses it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::exchange::Exchange;

/// The first connector in ureq's chain: plain TCP.
#[derive(Debug)]
pub(super) struct SocketConnector;

impl Connector<()> for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<SocketTransport>, Error> {
        let exchange = Exchange::current();
        let (socket, received) = match exchange.as_deref().and_then(Exchange::take_begun) {
            Some(begun) => (begun.socket, Some(begun.received.into())),
            None => {
                let deadline = deadline(details.timeout, exchange.as_deref(), Instant::now());
                (connect(&details.addrs, deadline, exchange.as_deref())?, None)
            }
        };
        if details.config.no_delay() {
            socket.set_nodelay(true)?;
        }
        // Only plain HTTP needs a buffer that holds a whole line.
        let output = if details.needs_tls() {
            details.config.input_buffer_size()
        } else {
            details.config.output_buffer_size()
        };
        let sizes = (details.config.input_buffer_size(), output);
        let mut transport = SocketTransport {
            socket: Arc::new(socket),
            sizes,
            buffers: LazyBuffers::new(sizes.0, sizes.1),
            received,
            exchange: None,
            read_limit: None,
            write_limit: None,
        };
        transport.attach()?;
        Ok(Some(transport))
    }
}

/// Tries the addresses in order. Each attempt gets half of the remaining time, the last one all of it.
pub(super) fn connect(
    addresses: &[SocketAddr],
    deadline: Option<Instant>,
    exchange: Option<&Exchange>,
) -> Result<TcpStream, Error> {
    const SHORTEST: Duration = Duration::from_millis(10);
    let mut failure = Error::ConnectionFailed;
    for (at, address) in addresses.iter().enumerate() {
        if let Some(exchange) = exchange {
            exchange.check_cancelled()?;
        }
        let is_last = at + 1 == addresses.len();
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let tried = match remaining {
            Some(Duration::ZERO) => return Err(Error::Timeout(Timeout::Connect)),
            Some(remaining) => {
                let share = if is_last { remaining } else { remaining / 2 };
                TcpStream::connect_timeout(address, share.max(SHORTEST))
            }
            None => TcpStream::connect(address),
        };
        failure = match tried {
            Ok(socket) => return Ok(socket),
            Err(error) if is_timeout(&error) => Error::Timeout(Timeout::Connect),
            Err(error) => Error::Io(error),
        };
        log::debug!("cannot connect to {address}: {failure}");
    }
    Err(failure)
}

/// Returns the earlier of ureq's deadline and the exchange's deadline.
fn deadline(timeout: NextTimeout, exchange: Option<&Exchange>, now: Instant) -> Option<Instant> {
    let from_ureq = (!timeout.after.is_not_happening()).then(|| now.checked_add(*timeout.after)).flatten();
    from_ureq.into_iter().chain(exchange.and_then(|exchange| exchange.next_deadline(now))).min()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

pub(super) struct SocketTransport {
    socket: Arc<TcpStream>,
    /// The sizes of the input and output buffers, which are allocated on first use.
    sizes: (usize, usize),
    buffers: LazyBuffers,
    /// What has arrived of the response to a request that was sent before this transport existed. Until it is read, the
    /// same request is not sent again.
    received: Option<Bytes>,
    /// The exchange that uses the connection; `None` while the connection is idle.
    exchange: Option<Arc<Exchange>>,
    /// The time limits that are set on the socket.
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl SocketTransport {
    /// Attaches the connection to the exchange of this thread, unless it is attached already.
    fn attach(&mut self) -> Result<(), Error> {
        if self.exchange.is_none()
            && let Some(exchange) = Exchange::current()
        {
            exchange.attach_socket(&self.socket);
            self.exchange = Some(exchange);
        }
        self.check()
    }

    /// Detaches the connection from its exchange. Returns whether it was attached.
    fn detach(&mut self) -> bool {
        let exchange = self.exchange.take();
        exchange.inspect(|exchange| exchange.detach_socket(&self.socket)).is_some()
    }

    fn check(&self) -> Result<(), Error> {
        self.exchange.as_ref().map_or(Ok(()), |exchange| exchange.check_cancelled())
    }

    fn read(&mut self, timeout: NextTimeout) -> Result<usize, Error> {
        self.transfer(timeout.for_read(), Direction::In, |own| {
            (&*own.socket).read(own.buffers.input_append_buf())
        })
    }

    fn write(&mut self, from: usize, amount: usize, timeout: NextTimeout) -> Result<usize, Error> {
        let written = self.transfer(timeout.for_write(), Direction::Out, |own| {
            (&*own.socket).write(&own.buffers.output()[from..amount])
        })?;
        if written == 0 { Err(Error::Io(io::ErrorKind::WriteZero.into())) } else { Ok(written) }
    }

    /// Reads or writes once, as soon as the socket is ready.
    fn transfer(
        &mut self,
        timeout: NextTimeout,
        direction: Direction,
        mut once: impl FnMut(&mut Self) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        let deadline = deadline(timeout, self.exchange.as_deref(), Instant::now());
        loop {
            let remaining = remaining(deadline, timeout.reason)?;
            let set = match direction {
                Direction::In => &mut self.read_limit,
                Direction::Out => &mut self.write_limit,
            };
            if let Some(limit) = limit_to_set(*set, remaining) {
                match direction {
                    Direction::In => self.socket.set_read_timeout(limit)?,
                    Direction::Out => self.socket.set_write_timeout(limit)?,
                }
                *set = limit;
            }
            match once(self) {
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {
                    self.check()?;
                    // A non-blocking socket would make this loop spin until the deadline.
                    self.socket.set_nonblocking(false)?;
                }
                result => return Ok(result?),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    In,
    Out,
}

/// Returns the remaining time; an error if no time is left.
fn remaining(deadline: Option<Instant>, reason: Timeout) -> Result<Option<Duration>, Error> {
    let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if remaining.is_some_and(|remaining| remaining.is_zero()) {
        Err(Error::Timeout(reason))
    } else {
        Ok(remaining)
    }
}

/// Returns the time limit to set on a socket whose current limit is `set`, so that it waits no longer than
/// `remaining`; `None` if the current limit is good enough. The limit is somewhat shorter than `remaining`,
/// so that it also fits the next wait and saves a system call. A wait that ends early is repeated.
fn limit_to_set(set: Option<Duration>, remaining: Option<Duration>) -> Option<Option<Duration>> {
    const SHORT: Duration = Duration::from_millis(100);
    match (set, remaining) {
        (None, None) => None,
        (Some(set), Some(remaining)) if set <= remaining && remaining / 2 <= set => None,
        (_, Some(remaining)) if remaining > SHORT => Some(Some(remaining - remaining / 8)),
        (_, remaining) => Some(remaining),
    }
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.attach()?;
        if self.received.is_some() {
            return Ok(());
        }
        let mut from = 0;
        while from < amount {
            let written = self.write(from, amount, timeout);
            // Report the cancellation rather than the error of the socket that it shut down.
            self.check()?;
            from += written?;
            if let Some(exchange) = &self.exchange {
                exchange.note_sent(Instant::now());
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.attach()?;
        if let Some(mut received) = self.received.take().filter(|received| !received.is_empty()) {
            let buffer = self.buffers.input_append_buf();
            let part = received.split_to(received.len().min(buffer.len()));
            buffer[..part.len()].copy_from_slice(&part);
            self.buffers.input_appended(part.len());
            self.received = Some(received).filter(|rest| !rest.is_empty());
            return Ok(true);
        }
        let read = self.read(timeout);
        // A read on a socket that was shut down looks like a regular end.
        self.check()?;
        let amount = read?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Called by ureq between two exchanges: when a connection is returned, and again when it is taken. The
    /// first call detaches the connection, so that a later cancellation cannot shut it down. Only the second
    /// call reads from the socket, and sees whether it was shut down before.
    fn is_open(&mut self) -> bool {
        let is_returned = self.detach();
        if !self.buffers.input().is_empty() {
            // Under TLS, unsolicited records are in this buffer and not in the socket.
            return false;
        }
        // An idle connection keeps no buffer.
        self.buffers = LazyBuffers::new(self.sizes.0, self.sizes.1);
        if is_returned {
            return true;
        }
        let mut socket = &*self.socket;
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        // Unsolicited bytes make a connection as unusable as its end does.
        let is_quiet = socket.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        is_quiet && socket.set_nonblocking(false).is_ok()
    }
}

impl Drop for SocketTransport {
    fn drop(&mut self) {
        let _ = self.detach();
    }
}

impl fmt::Debug for SocketTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketTransport").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_timeout_is_set_only_if_needed() {
        let millis = |count| Some(Duration::from_millis(count));
        for (set, remaining, expected) in [
            (None, None, None),
            (None, millis(8000), Some(millis(7000))),
            (None, millis(80), Some(millis(80))),
            (millis(7000), None, Some(None)),
            (millis(7000), millis(7001), None),
            (millis(7000), millis(4000), Some(millis(3500))),
            (millis(7000), millis(80_000), Some(millis(70_000))),
        ] {
            assert_eq!(limit_to_set(set, remaining), expected, "{set:?} {remaining:?}");
        }
    }

    #[test]
    fn addresses_are_tried_in_order_within_one_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            other.local_addr().unwrap()
        };
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(connect(&[closed, open], deadline, None).unwrap().peer_addr().unwrap(), open);
        assert!(matches!(
            connect(&[open], Some(Instant::now()), None),
            Err(Error::Timeout(Timeout::Connect))
        ));
        assert!(matches!(connect(&[closed], None, None), Err(Error::Io(_))));
        assert!(matches!(connect(&[], None, None), Err(Error::ConnectionFailed)));
    }
}
