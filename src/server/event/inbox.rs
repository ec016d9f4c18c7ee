//! What other threads have for a thread that serves connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::net::TcpStream;

use super::admission::Admitted;
use crate::message::body::Wake;

/// One thing to tell.
pub(super) enum Letter {
    /// A connection to serve.
    Take(TcpStream, SocketAddr, Admitted),
    /// It is worth looking after a request again.
    Look(Address),
    /// The front is shutting down.
    Stop,
}

/// Which request of which connection is meant. A connection that is gone, and a request that is over, get
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) connection: usize,
    /// No two requests of a thread have the same.
    pub(super) exchange: u64,
}

/// Where letters are left; never waits.
#[derive(Clone)]
pub(super) struct Mailbox {
    letters: Sender<Letter>,
    waker: Arc<mio::Waker>,
    /// Whether the thread has been woken and has not looked yet: once is enough.
    is_woken: Arc<AtomicBool>,
}

/// Where they are taken out.
pub(super) struct Letters {
    letters: Receiver<Letter>,
    is_woken: Arc<AtomicBool>,
}

pub(super) fn mailbox(waker: mio::Waker) -> (Mailbox, Letters) {
    let (send, receive) = unbounded();
    let is_woken = Arc::new(AtomicBool::new(false));
    let letters = Letters { letters: receive, is_woken: Arc::clone(&is_woken) };
    (Mailbox { letters: send, waker: Arc::new(waker), is_woken }, letters)
}

impl Mailbox {
    pub(super) fn leave(&self, letter: Letter) {
        // A thread that has ended needs no letters.
        if self.letters.send(letter).is_ok()
            && !self.is_woken.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log::error!("a thread of the front cannot be woken: {error}");
        }
    }

    /// What wakes the thread for this request.
    pub(super) fn wake(&self, address: Address) -> Wake {
        let mailbox = self.clone();
        Arc::new(move || mailbox.leave(Letter::Look(address)))
    }
}

impl Letters {
    /// Those that are here. To be asked again only when woken again.
    pub(super) fn take(&self) -> impl Iterator<Item = Letter> {
        // In one order with the letters: one that is left later finds it unset, and wakes.
        self.is_woken.swap(false, Ordering::SeqCst);
        self.letters.try_iter()
    }
}
