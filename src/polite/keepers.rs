//! Who keeps the budget of an origin for the pool, and how it is asked.

use crate::error::{Error, ErrorKind, Result};
use crate::peer_url::PeerUrl;
use crate::target::Target;

/// What is known of the pool.
///
/// All but [`ask`](Self::ask) is called before every request to an origin for which there is a limit: it must be
/// cheap, and must not block.
pub(crate) trait Keepers: Send + Sync {
    /// The peer that keeps the budget of this origin; `None` where this one does.
    fn keeper(&self, origin: &Target) -> Option<PeerUrl>;

    /// How many peers there are, this one among them.
    fn peers(&self) -> u32;

    /// Whether this is the base URL of a peer of the pool.
    fn is_peer(&self, url: &str) -> bool;

    /// The base URL under which the others know this one.
    fn own_url(&self) -> &str;

    /// Sends a peer this text about an origin, and returns its answer. It blocks; no longer than `SLOW` is best.
    ///
    /// # Errors
    ///
    /// When there is no answer, or none of one who keeps budgets.
    fn ask(&self, keeper: &PeerUrl, origin: &Target, text: String) -> Result<String>;
}

/// No pool: each budget is this one's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone;

impl Keepers for Alone {
    fn keeper(&self, _: &Target) -> Option<PeerUrl> {
        None
    }

    fn peers(&self) -> u32 {
        1
    }

    fn is_peer(&self, _: &str) -> bool {
        false
    }

    fn own_url(&self) -> &str {
        ""
    }

    fn ask(&self, keeper: &PeerUrl, _: &Target, _: String) -> Result<String> {
        Err(Error::new(ErrorKind::NoPeerLeft, "there is no pool").with_peer(keeper))
    }
}
