//! What a near cache may take and what it is for.

use std::time::Duration;

use super::hot_keys::MOST_REQUESTS;
use crate::base::error::{Error, ErrorKind, Result};

/// A near cache: a small local copy of what a client or a peer asks others for often, so that a key that is hot is
/// not all asked of one owner.
///
/// What goes in is a GET without credentials, conditions, ranges and wishes of its own, for a URL that this process
/// asks for [so often](Self::hot) that it is worth it, and what comes of it is kept by the rules of a shared cache, if
/// it is not [too large](Self::max_body). A copy is fresh for as long as the owner said that its own is, and no
/// longer than [a limit](Self::longest) without the owner being asked. What is asked of it in another way, a reload
/// or a POST, goes to the owner, and takes the copy with it.
///
/// An answer from it has a member of its own in `Cache-Status`, behind the owner's: `forwardcache-near; hit`.
///
/// ```
/// use std::time::Duration;
/// use forwardcache::{Client, NearCache};
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

/// With less than that, it would be counters and little else.
const FEWEST_BYTES: u64 = 32 << 10;

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
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it takes: copies, and the counts by which it tells what is hot. Zero: there is none;
    /// otherwise 32 KiB at least. Default: of
    /// a peer, a sixteenth of its [memory](crate::PeerBuilder::memory), out of which it is taken in any case; of a
    /// client, zero.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// What is hot: so many requests in such a time, from this process alone. Requests fade: one counts for less the
    /// longer it is ago, by the factor *e* in each such time. So it is a burst of this many, or this rate for some
    /// while. Default: 8 requests in 10 seconds. From 1 to 2047 requests.
    pub fn hot(mut self, requests: u32, within: Duration) -> Self {
        self.requests = requests;
        self.window = within;
        self
    }

    /// The largest body that is kept, in bytes. Default: 256 KiB, or a 64th of the memory if that is less.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// For how long a copy answers before the owner is asked whether it still holds, however long it is fresh: until
    /// then nothing is known here of what others made the owner forget. While the owner cannot be asked, the copy
    /// answers until it is stale. Default: 10 seconds.
    pub fn longest(mut self, time: Duration) -> Self {
        self.longest = time;
        self
    }

    /// With this much memory where nothing was said, if that is enough for one.
    pub(crate) fn or_memory(self, bytes: u64) -> Self {
        let bytes = if bytes < FEWEST_BYTES { 0 } else { bytes };
        Self { memory: self.memory.or(Some(bytes)), ..self }
    }

    /// How many bytes it takes; zero where nobody said.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory.unwrap_or_default()
    }

    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] for what cannot be.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::new(ErrorKind::BadOption, text));
        if !(1..=MOST_REQUESTS).contains(&self.requests) {
            return bad(format!(
                "{} requests cannot make a key hot: 1 to {MOST_REQUESTS} can",
                self.requests
            ));
        }
        if (1..FEWEST_BYTES).contains(&self.bytes()) {
            return bad(format!(
                "{} bytes are too few for a near cache: {FEWEST_BYTES} are enough, and 0 is none",
                self.bytes()
            ));
        }
        if self.window.is_zero() {
            return bad("the time in which requests make a key hot is zero".to_owned());
        }
        Ok(())
    }
}
