//! The members before the last change, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::pool::Members;
use crate::peer_url::PeerUrl;
use crate::target::Target;

/// Who owned what before the pool was changed.
#[derive(Debug, Default)]
pub(crate) struct Former {
    is_any: AtomicBool,
    state: Mutex<Option<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    members: Arc<Members>,
    /// Without end, where it is beyond what a clock can tell.
    until: Option<Instant>,
    /// Those who did not answer when they were asked.
    gone: Vec<PeerUrl>,
}

impl Former {
    pub(super) fn remember(&self, members: Arc<Members>, until: Option<Instant>) {
        let before = self.state.lock().replace(Remembered { members, until, gone: Vec::new() });
        self.is_any.store(true, Ordering::Relaxed);
        drop(before);
    }

    /// Nobody is asked for what they have.
    pub(crate) fn forget(&self) {
        let before = self.state.lock().take();
        self.is_any.store(false, Ordering::Relaxed);
        drop(before);
    }

    /// Whether it is worth asking for one.
    pub(crate) fn are_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    pub(super) fn owner(&self, target: &Target, now: Instant) -> Option<PeerUrl> {
        let mut state = self.state.lock();
        let overdue = state.take_if(|remembered| remembered.until.is_some_and(|until| until <= now));
        if state.is_none() {
            self.is_any.store(false, Ordering::Relaxed);
        }
        let owner = state.as_ref().and_then(|remembered| {
            let owner = remembered.members.owner(target)?;
            (!remembered.gone.contains(owner)).then(|| owner.clone())
        });
        drop(state);
        drop(overdue);
        owner
    }

    /// It did not answer.
    pub(crate) fn is_gone(&self, peer: &PeerUrl) {
        if let Some(remembered) = &mut *self.state.lock()
            && !remembered.gone.contains(peer)
        {
            remembered.gone.push(peer.clone());
        }
    }
}
