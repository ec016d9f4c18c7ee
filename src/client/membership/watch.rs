//! The thread that polls the list of members.

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

/// Keeps the pool equal to its list until this is dropped: see [`Membership::watch`].
///
/// After the drop the pool no longer changes, even if the list is being read at that moment, and the thread
/// ends.
#[must_use = "the pool follows its list until this is dropped"]
pub struct MembershipWatcher {
    /// Dropping the sender ends the thread.
    requests: Sender<RefreshRequest>,
    may_change: Arc<Mutex<bool>>,
}

impl Membership {
    /// Starts a thread that calls [`poll`](Self::poll) whenever it is due, until the returned guard is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if no thread can be started.
    pub fn watch(self) -> Result<MembershipWatcher> {
        let may_change = Arc::clone(&self.may_change);
        MembershipWatcher::start(self, may_change)
    }
}

/// A request to read the list now; `answer` receives the result if the caller waits for it.
struct RefreshRequest {
    answer: Option<SyncSender<Result<MembershipChange>>>,
}

impl MembershipWatcher {
    pub(super) fn start(membership: Membership, may_change: Arc<Mutex<bool>>) -> Result<Self> {
        let (requests, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("forwardcache-members".to_owned())
            .spawn(move || run(membership, &receiver))
            .map_err(|error| {
                Error::new(ErrorKind::Io, "cannot start the thread that watches the list of peers")
                    .with_source(error)
            })?;
        Ok(Self { requests, may_change })
    }

    /// Has the thread read the list now, and returns the result of [`Membership::refresh`].
    ///
    /// # Errors
    ///
    /// Like [`Membership::refresh`]; [`ErrorKind::Io`] if the thread has ended.
    pub fn refresh(&self) -> Result<MembershipChange> {
        let (answer, answered) = mpsc::sync_channel(1);
        let has_ended = || Error::new(ErrorKind::Io, "the thread that watches the pool has ended");
        self.requests.send(RefreshRequest { answer: Some(answer) }).map_err(|_| has_ended())?;
        answered.recv().map_err(|_| has_ended())?
    }

    /// Has the thread read the list soon, without waiting, for callers that must not block, such as a signal
    /// handler thread. A failure is logged as an error.
    pub fn refresh_soon(&self) {
        if self.requests.send(RefreshRequest { answer: None }).is_err() {
            error!("the thread that watches the pool has ended");
        }
    }
}

impl Drop for MembershipWatcher {
    fn drop(&mut self) {
        // Joining the thread could block: it may be reading.
        *self.may_change.lock() = false;
    }
}

impl fmt::Debug for MembershipWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MembershipWatcher").finish_non_exhaustive()
    }
}

/// The loop of the thread.
fn run(mut membership: Membership, requests: &Receiver<RefreshRequest>) {
    loop {
        match requests.recv_timeout(membership.until_due(SystemClock.now())) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                membership.poll(SystemClock.now());
            }
            Ok(RefreshRequest { answer: Some(answer) }) => {
                // The caller may no longer wait.
                let _ = answer.send(membership.refresh(SystemClock.now()));
            }
            Ok(RefreshRequest { answer: None }) => match membership.refresh(SystemClock.now()) {
                Ok(change) if change.is_empty() => info!("the list of peers was read again: {change}"),
                Ok(_) => {}
                Err(error) => error!("refresh failed, the pool stays as it is: {error:#}"),
            },
        }
    }
}
