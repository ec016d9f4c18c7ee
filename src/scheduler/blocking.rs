//! Limits how many threads of a blocking server wait for the same origin or client.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::client::ClientAddress;
use super::fair_share::{Claim, FairShare, Grant, Purpose};
use crate::message::url::CanonicalUrl;

/// The shares of a server that gives each request its own thread. All clones are the same shares.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    share: Arc<Mutex<FairShare>>,
}

/// A permit for one thread to wait for an origin. Dropping it gives the thread back.
pub(crate) struct Share {
    of: Shares,
    grant: Grant,
}

impl Shares {
    pub(crate) fn of(threads: usize) -> Self {
        Self { share: Arc::new(Mutex::new(FairShare::new(threads))) }
    }

    /// Returns a permit to wait for the origin, or `None` if too many threads wait for this origin or client. Never
    /// blocks.
    pub(crate) fn try_enter(&self, origin: CanonicalUrl, client: Option<ClientAddress>) -> Option<Share> {
        let claim = Claim { purpose: Purpose::Fetch { origin, cap: None }, client };
        let grant = self.share.lock().start(&claim, Instant::now())?;
        Some(Share { of: self.clone(), grant })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.share.lock().finish(&self.grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_cannot_occupy_all_threads() {
        let shares = Shares::of(4);
        let origin = |name: &str| CanonicalUrl::parse(&format!("http://{name}/")).unwrap();
        let held: Vec<Share> = std::iter::from_fn(|| shares.try_enter(origin("a"), None)).collect();
        assert_eq!(held.len(), 2);
        assert!(shares.try_enter(origin("b"), None).is_some());
        drop(held);
        assert!(shares.try_enter(origin("a"), None).is_some());
    }
}
