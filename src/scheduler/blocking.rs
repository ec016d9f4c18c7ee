//! Shares of a server whose threads belong to somebody else.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::client::Client;
use super::fair_share::{Claim, FairShare, Granted, Purpose};
use crate::message::url::CanonicalUrl;

/// Who may occupy how many threads of a server where each request has one.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    share: Arc<Mutex<FairShare>>,
}

/// A thread that waits for an origin, until it is dropped.
pub(crate) struct Share {
    of: Shares,
    granted: Granted,
}

impl Shares {
    pub(crate) fn of(threads: usize) -> Self {
        Self { share: Arc::new(Mutex::new(FairShare::new(threads))) }
    }

    /// Lets this thread wait for the origin, unless too many others wait for it, or for this client. Never waits.
    pub(crate) fn try_enter(&self, origin: CanonicalUrl, client: Option<Client>) -> Option<Share> {
        let claim = Claim { purpose: Purpose::Fetch { origin, cap: None }, client };
        let granted = self.share.lock().start(&claim, Instant::now())?;
        Some(Share { of: self.clone(), granted })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.share.lock().finish(&self.granted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_does_not_have_all_threads() {
        let shares = Shares::of(4);
        let origin = |name: &str| CanonicalUrl::parse(&format!("http://{name}/")).unwrap();
        let held: Vec<Share> = std::iter::from_fn(|| shares.try_enter(origin("a"), None)).collect();
        assert_eq!(held.len(), 2);
        assert!(shares.try_enter(origin("b"), None).is_some());
        drop(held);
        assert!(shares.try_enter(origin("a"), None).is_some());
    }
}
