//! The trait for sources of a list of members.

use std::fmt;
use std::time::Duration;

use crate::base::error::Result;
use crate::pool::member::Member;

/// A source for the list of a pool's members: a file, a DNS name, a registry of your own.
///
/// A `Vec<Member>` is a source that never changes. [`FnDiscovery`] makes a source from a closure.
///
/// # Contract
///
/// * `read` returns the whole present list, in any order. `None` means that there is no newer list; the pool stays as it
///   is.
/// * One thread at a time calls `read`: at each [`interval`](Self::interval), more often while a change settles, and
///   on request. `read` may block; only the membership watcher waits for it.
/// * After an error, the pool keeps its members. The text of the error is logged once for as long as the error lasts. So
///   it should name the list and the problem, and contain no secret.
/// * `read` itself neither logs errors nor retries.
pub trait Discovery: fmt::Debug + Send {
    /// Reads the present list.
    ///
    /// # Errors
    ///
    /// Returns an error if the list is missing or incomplete.
    fn read(&mut self) -> Result<Option<Vec<Member>>>;

    /// Returns the time between two reads. Must be cheap. Default: 1 second.
    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Discovery for Box<dyn Discovery> {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        (**self).read()
    }

    fn interval(&self) -> Duration {
        (**self).interval()
    }
}

/// A fixed list, which is read only once.
impl Discovery for Vec<Member> {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        Ok(Some(self.clone()))
    }

    fn interval(&self) -> Duration {
        Duration::MAX
    }
}

/// A closure as a [`Discovery`], called once a second unless the [`Membership`](crate::client::Membership) sets another
/// interval.
///
/// ```
/// use std::time::SystemTime;
/// use forwardcache::client::Membership;
/// use forwardcache::pool::{FnDiscovery, Member};
/// use forwardcache::Client;
///
/// let client = Client::builder().build()?;
/// // A registry of your own.
/// let registry = || Ok(vec![Member::parse("http://10.0.0.1:3000")?, Member::parse("http://10.0.0.2:3000")?]);
/// Membership::new(&client, FnDiscovery(registry)).refresh(SystemTime::now())?;
/// assert_eq!(client.pool().len(), 2);
/// # Ok::<(), forwardcache::Error>(())
/// ```
pub struct FnDiscovery<F>(pub F);

impl<F: FnMut() -> Result<Vec<Member>> + Send> Discovery for FnDiscovery<F> {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        (self.0)().map(Some)
    }
}

impl<F> fmt::Debug for FnDiscovery<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FnDiscovery").finish_non_exhaustive()
    }
}
