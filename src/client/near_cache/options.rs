//! The options of a near cache.

use std::time::Duration;

use super::hot_keys::MAX_REQUESTS;
use crate::base::error::{Error, ErrorKind, Result};

/// Options of a near cache: local copies of responses that a client or a peer often requests from other peers,
/// so that one owner does not receive all requests for a popular URL.
///
/// The near cache serves GET requests without credentials, conditions, ranges or cache directives, for URLs
/// that this process requests [often](Self::hot). It stores responses by the rules of a shared cache, unless
/// they are [too large](Self::max_body). A copy is fresh as long as the owner's response; after [a
/// limit](Self::longest), the owner is asked whether it still holds. Any other request for the URL, such as a
/// reload or a POST, goes to the owner and drops the copy.
///
/// A response from the near cache has an additional member in `Cache-Status`, after the owner's:
/// `forwardcache-near; hit`.
///
/// ```
/// use std::time::Duration;
/// use forwardcache::client::NearCache;
/// use forwardcache::Client;
///
/// let near = NearCache::new().memory(16 << 20).hot(5, Duration::from_secs(1));
/// let client = Client::builder().pool(["http://10.0.0.1:3000"]).near_cache(near).build()?;
/// assert_eq!(client.near_stats().unwrap().counts().of(forwardcache::Outcome::Hit), 0);
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct NearCache {
    pub(super) memory: Option<u64>,
    pub(super) requests: u32,
    pub(super) window: Duration,
    pub(super) max_body: Option<u64>,
    pub(super) longest: Duration,
}

/// Minimum memory: with less, the counters would leave no room for copies.
const MIN_BYTES: u64 = 32 << 10;

impl Default for NearCache {
    fn default() -> Self {
        Self {
            memory: None,
            requests: 8,
            window: Duration::from_secs(10),
            max_body: None,
            longest: Duration::from_secs(10),
        }
    }
}

impl NearCache {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the memory in bytes for copies and for the counters that find popular URLs. Zero turns the near
    /// cache off; otherwise the minimum is 32 KiB. Default: for a client, zero; for a peer, a sixteenth of its
    /// [memory](crate::peer::PeerBuilder::memory). A peer's near cache is always part of that memory.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets how often this process must request a URL to keep a copy of it: `requests`, from 1 to 2047, within
    /// `within`. The weight of a past request decays by the factor *e* in each such time, so that a burst of
    /// this size or a steady rate of this size suffices. Default: 8 requests in 10 seconds.
    pub fn hot(mut self, requests: u32, within: Duration) -> Self {
        self.requests = requests;
        self.window = within;
        self
    }

    /// Sets the maximum size of a stored body in bytes. Default: 256 KiB, or a 64th of the memory if that is
    /// less.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Sets how long a fresh copy is used before the owner is asked whether it still holds. Until then, this
    /// process does not notice invalidations at the owner. While the owner cannot be reached, the copy is used
    /// until it is stale. Default: 10 seconds.
    pub fn longest(mut self, time: Duration) -> Self {
        self.longest = time;
        self
    }

    /// Sets the memory unless it was set before; zero if this is too little for a near cache.
    pub(crate) fn or_memory(self, bytes: u64) -> Self {
        let bytes = if bytes < MIN_BYTES { 0 } else { bytes };
        Self { memory: self.memory.or(Some(bytes)), ..self }
    }

    /// Returns the memory in bytes; zero if it was not set.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory.unwrap_or_default()
    }

    /// Validates the options.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] for invalid options.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::new(ErrorKind::BadOption, text));
        if !(1..=MAX_REQUESTS).contains(&self.requests) {
            return bad(format!(
                "invalid number of requests {} that make a URL hot: it must be from 1 to {MAX_REQUESTS}",
                self.requests
            ));
        }
        if (1..MIN_BYTES).contains(&self.bytes()) {
            return bad(format!(
                "{} bytes are too few for a near cache: use at least {MIN_BYTES}, or 0 to turn it off",
                self.bytes()
            ));
        }
        if self.window.is_zero() {
            return bad("invalid time in which requests make a URL hot: it must not be zero".to_owned());
        }
        Ok(())
    }
}
