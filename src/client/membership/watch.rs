//! The thread that reads a list in time.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;

use log::{error, info};
use parking_lot::Mutex;

use super::membership::Membership;
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::pool::discovery::MembershipChange;

/// A pool that is kept as its list says, until this is dropped: see [`Membership::watch`].
///
/// From then on the pool stays as it is, even if a list is being read just then, and the thread ends.
#[must_use = "the pool is watched until this is dropped"]
pub struct MembershipWatcher {
    /// When it is gone, the thread ends.
    asks: Sender<Ask>,
    may_change: Arc<Mutex<bool>>,
}

impl Membership {
    /// Has a thread [poll](Self::poll) in time, until the returned guard is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] when no thread can be started.
    pub fn watch(self) -> Result<MembershipWatcher> {
        let may_change = Arc::clone(&self.may_change);
        MembershipWatcher::start(self, may_change)
    }
}

/// Somebody wants the list to be read now, and may wait for what comes of it.
struct Ask {
    answer: Option<SyncSender<Result<MembershipChange>>>,
}

impl MembershipWatcher {
    pub(super) fn start(membership: Membership, may_change: Arc<Mutex<bool>>) -> Result<Self> {
        let (asks, asked) = mpsc::channel();
        thread::Builder::new()
            .name("forwardcache-members".to_owned())
            .spawn(move || keep(membership, &asked))
            .map_err(|error| Error::new(ErrorKind::Io, "the pool cannot be watched").with_source(error))?;
        Ok(Self { asks, may_change })
    }

    /// Has the list read now, and waits for what comes of it: as [`Membership::refresh`].
    ///
    /// # Errors
    ///
    /// As [`Membership::refresh`].
    pub fn refresh(&self) -> Result<MembershipChange> {
        let (answer, answered) = mpsc::sync_channel(1);
        let has_ended = || Error::new(ErrorKind::Io, "the thread that watches the pool has ended");
        self.asks.send(Ask { answer: Some(answer) }).map_err(|_| has_ended())?;
        answered.recv().map_err(|_| has_ended())?
    }

    /// Has the list read as soon as may be, without waiting for it: for whoever must not block, such as
    /// the thread that takes signals. What comes of it is logged, by `error` where it fails.
    pub fn refresh_soon(&self) {
        if self.asks.send(Ask { answer: None }).is_err() {
            error!("the thread that watches the pool has ended");
        }
    }
}

impl Drop for MembershipWatcher {
    fn drop(&mut self) {
        // The thread is not waited for: it may be reading.
        *self.may_change.lock() = false;
    }
}

impl fmt::Debug for MembershipWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MembershipWatcher").finish_non_exhaustive()
    }
}

/// The thread's work.
fn keep(mut membership: Membership, asked: &Receiver<Ask>) {
    loop {
        match asked.recv_timeout(membership.until_due(SystemClock.now())) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                membership.poll(SystemClock.now());
            }
            Ok(Ask { answer: Some(answer) }) => {
                // Whoever asked may have gone.
                let _ = answer.send(membership.refresh(SystemClock.now()));
            }
            Ok(Ask { answer: None }) => match membership.refresh(SystemClock.now()) {
                Ok(change) if change.is_empty() => info!("the list of peers was read anew: {change}"),
                Ok(_) => {}
                Err(error) => error!("the peers stay as they are: {error}"),
            },
        }
    }
}
