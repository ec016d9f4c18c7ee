//! What a peer knows of its pool when it answers and when it asks an origin.

use http::{Method, Request, StatusCode};

use crate::body::Body;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::PoolView;
use crate::peer_url::PeerUrl;
use crate::polite::Keepers;
use crate::protocol::PoolDigest;
use crate::purge::{PeerPurged, Purge};
use crate::target::Target;

/// The pool of a client, seen by this peer.
#[derive(Clone, Debug)]
pub(super) struct InPool {
    pub(super) client: Client,
    pub(super) self_url: PeerUrl,
}

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 4 << 10;

impl PoolView for InPool {
    fn is_peer(&self, target: &Target) -> bool {
        self.client.is_peer(target)
    }

    fn digest(&self) -> PoolDigest {
        self.client.pool_digest()
    }

    fn own_url(&self) -> &PeerUrl {
        &self.self_url
    }

    fn is_left_by(&self, peer: &PeerUrl) -> bool {
        self.client.is_left_by(peer)
    }

    fn forget_former(&self) {
        self.client.forget_all_former();
    }

    fn forget_near(&self, purge: &Purge) {
        self.client.forget_own_copies(purge);
    }

    fn is_alone(&self) -> bool {
        self.client.pool().iter().all(|peer| *peer == self.self_url)
    }

    fn purge_others(&self, purge: &Purge) -> Vec<PeerPurged> {
        self.client.purge_others(purge, &self.self_url)
    }
}

impl Keepers for InPool {
    fn keeper(&self, origin: &Target) -> Option<PeerUrl> {
        self.client.owner_of(origin).filter(|owner| *owner != self.self_url)
    }

    fn peers(&self) -> u32 {
        u32::try_from(self.client.pool_size()).unwrap_or(u32::MAX).max(1)
    }

    fn is_peer(&self, url: &str) -> bool {
        self.client.has_peer(url)
    }

    fn own_url(&self) -> &str {
        self.self_url.as_str()
    }

    fn ask(&self, keeper: &PeerUrl, origin: &Target, text: String) -> Result<String> {
        let mut request = Request::new(Body::from(text));
        *request.method_mut() = Method::POST;
        let response = self.client.ask_for_lease(keeper, origin, request)?;
        if response.status() != StatusCode::OK {
            let text = format!("the peer keeps no budgets: it answers {}", response.status().as_u16());
            return Err(Error::new(ErrorKind::BadResponse, text).with_peer(keeper));
        }
        let text = response.into_body().into_bytes_limited(LONGEST)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
