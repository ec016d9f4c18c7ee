//! An agent with a cache in a directory.

use std::path::Path;
use std::time::Duration;

use super::connector::agent;
use crate::base::error::Result;
use crate::cache::HttpCache;

/// The size limit of the directory, in bytes.
const CAPACITY: u64 = 1 << 30;

/// How long dropping the agent may take to finish refreshes of stale responses.
const REFRESH: Duration = Duration::from_secs(10);

/// Returns a [`ureq::Agent`] with an [`HttpCache`] that keeps its responses in this directory, up to 1 GiB. A program that
/// starts again, such as a cron job, finds what earlier runs have stored.
///
/// The directory is created if it does not exist, and several processes can use it at the same time. If it cannot be used,
/// a warning is logged, and the cache is in memory only. Dropping the agent writes what is not yet on the disk, and waits up
/// to 10 seconds for refreshes of stale responses (`stale-while-revalidate`).
///
/// For other options, build the cache with [`HttpCache::builder`] and pass it to [`agent`]. Requires the feature `disk`.
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// # let directory = directory.path().join("cache");
/// let agent = forwardcache::cached_agent(directory)?;
/// # let url = "http://127.0.0.1:9/";
/// match agent.get(url).call() {
///     Ok(mut response) => println!("{}", response.body_mut().read_to_string()?),
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error`](crate::Error) if the cache cannot be built. A directory that cannot be used is not an error.
pub fn cached_agent(directory: impl AsRef<Path>) -> Result<ureq::Agent> {
    let cache = HttpCache::builder().disk(directory, CAPACITY).drain_on_drop(REFRESH);
    Ok(agent(cache.build()?))
}
