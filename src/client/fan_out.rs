//! Sends to several peers concurrently.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use log::debug;
use parking_lot::Mutex;

use crate::pool::peer_url::PeerUrl;

/// Maximum number of peers asked concurrently.
pub(super) const MAX_CONCURRENT: usize = 16;

/// Calls `ask` for each peer, up to [`MAX_CONCURRENT`] at a time; returns the results in any order.
pub(super) fn fan_out<T: Send>(peers: &[PeerUrl], ask: impl Fn(&PeerUrl) -> T + Sync) -> Vec<(PeerUrl, T)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(peers.len()));
    let work = || {
        while let Some(peer) = peers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = ask(peer);
            done.lock().push((peer.clone(), result));
        }
    };
    thread::scope(|scope| {
        // The calling thread works too, so that the calls complete even if no thread can be started.
        for _ in 1..peers.len().min(MAX_CONCURRENT) {
            let thread = thread::Builder::new().name("ask-peers".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, work) {
                debug!("cannot start a thread to ask peers, using fewer threads: {error}");
            }
        }
        work();
    });
    done.into_inner()
}
