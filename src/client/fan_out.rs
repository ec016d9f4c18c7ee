//! Several peers that are asked at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use log::debug;
use parking_lot::Mutex;

use crate::pool::peer_url::PeerUrl;

/// How many peers are asked at a time.
pub(super) const AT_A_TIME: usize = 16;

/// What comes of asking each of them, in any order.
pub(super) fn side_by_side<T: Send>(
    peers: &[PeerUrl],
    ask: impl Fn(&PeerUrl) -> T + Sync,
) -> Vec<(PeerUrl, T)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(peers.len()));
    let work = || {
        while let Some(peer) = peers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = ask(peer);
            done.lock().push((peer.clone(), result));
        }
    };
    thread::scope(|scope| {
        // This thread works too, so that a thread which cannot be started costs time alone.
        for _ in 1..peers.len().min(AT_A_TIME) {
            let thread = thread::Builder::new().name("ask-peers".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, work) {
                debug!("no thread to ask peers can be started: {error}");
            }
        }
        work();
    });
    done.into_inner()
}
