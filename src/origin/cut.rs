//! A connection that was cut is told from one that was closed.
//!
//! ureq takes a reset, and the end of a TLS stream without its goodbye, for the end of a body that is
//! ended by its connection: such a body would look whole (RFC 9112 section 9.8). It does so by the kind of
//! the error, so here that kind is packed away.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::cancellation::Cancellation;
use crate::error::ErrorKind;

/// How often a wait looks whether its request was cancelled.
const LOOK: Duration = Duration::from_millis(20);

thread_local! {
    /// What ends a wait of this thread early.
    static WAITS: RefCell<Waits> = const { RefCell::new(Waits { cancellation: None, head: None, begun: None }) };
}

/// What ends a wait for input early.
#[derive(Clone, Default)]
pub(super) struct Waits {
    pub(super) cancellation: Option<Cancellation>,
    /// How long the head may take from its first byte on.
    pub(super) head: Option<Duration>,
    /// When the first byte of the head came.
    begun: Option<Instant>,
}

impl Waits {
    pub(super) fn for_head(cancellation: Option<Cancellation>, head: Option<Duration>) -> Self {
        Self { cancellation, head, begun: None }
    }

    /// Makes it that of this thread until the guard is dropped.
    pub(super) fn enter(self) -> Entered {
        Entered { before: WAITS.replace(self) }
    }
}

/// Puts back what was before.
pub(super) struct Entered {
    before: Waits,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(WAITS.replace(std::mem::take(&mut self.before)));
    }
}

/// The last link in the chain of connectors.
#[derive(Debug)]
pub(super) struct CutConnector;

impl<In: Transport> Connector<In> for CutConnector {
    type Out = CutTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(CutTransport))
    }
}

#[derive(Debug)]
pub(super) struct CutTransport<T>(T);

impl<T: Transport> Transport for CutTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let waits = WAITS.with_borrow(Clone::clone);
        // A head may take longer than a body may be silent: the other may have to wait for it as well.
        let timeout = NextTimeout { per_read: timeout.per_read.filter(|_| waits.head.is_none()), ..timeout };
        let (whole, begun) = (timeout.for_read(), Instant::now());
        loop {
            if waits.cancellation.as_ref().is_some_and(Cancellation::is_cancelled) {
                return Err(packed(io::ErrorKind::ConnectionAborted.into()));
            }
            let head =
                waits.head.zip(waits.begun).map(|(limit, begun)| limit.saturating_sub(begun.elapsed()));
            if head.is_some_and(|left| left.is_zero()) {
                let text = "the head of the response comes too slowly";
                return Err(Error::Other(Box::new(crate::error::Error::new(ErrorKind::BadResponse, text))));
            }
            let left = whole.after.saturating_sub(begun.elapsed()).min(head.unwrap_or(Duration::MAX));
            if left.is_zero() {
                return Err(Error::Timeout(whole.reason));
            }
            let slice = match waits.cancellation {
                Some(_) => left.min(LOOK),
                None => left,
            };
            let is_unlimited = slice == *whole.after;
            let limit = NextTimeout { after: slice.into(), ..whole };
            match self.0.await_input(if is_unlimited { timeout } else { limit }) {
                Err(Error::Timeout(_)) if slice < left || head == Some(left) => {}
                Err(Error::Io(error)) if is_cut(error.kind()) => return Err(packed(error)),
                answer => {
                    WAITS.with_borrow_mut(|waits| _ = waits.begun.get_or_insert_with(Instant::now));
                    return answer;
                }
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

/// An error whose kind ureq does not see.
fn packed(error: io::Error) -> Error {
    Error::Io(io::Error::other(Cut(error)))
}

fn is_cut(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// The kind of an error, unpacked.
pub(super) fn kind(error: &io::Error) -> io::ErrorKind {
    let packed = error.get_ref().and_then(|inner| inner.downcast_ref::<Cut>());
    packed.map_or_else(|| error.kind(), |Cut(error)| error.kind())
}

/// What the connection said when it was cut.
#[derive(Debug)]
struct Cut(io::Error);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cut {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
