//! Where a list of members comes from.

use std::fmt;
use std::time::Duration;

use crate::base::error::Result;
use crate::pool::member::Member;

/// Where the list of a pool's members comes from: a file, a name, a registry of your own.
///
/// A `Vec<Member>` is one that never changes, and [`FnDiscovery`] makes one of a closure.
///
/// # Contract
///
/// * `read` gives the whole list as it is now, in any order. `None` says that nothing is known which is newer
///   than what was told before; the pool stays as it is.
/// * It is called by one thread at a time: each [`interval`](Self::interval), sooner while a change
///   settles, and whenever somebody asks for it. It may block; nobody but the watch waits for it.
/// * An error changes nothing: the pool keeps the members that it has, and the error's text is logged, once for as
///   long as it lasts. So the text says which list it was and what is wrong with it, and shows no secret.
/// * It does not log what goes wrong itself, and does not try again by itself.
pub trait Discovery: fmt::Debug + Send {
    /// Reads the list anew.
    ///
    /// # Errors
    ///
    /// When there is no list, or not the whole of it.
    fn read(&mut self) -> Result<Option<Vec<Member>>>;

    /// How long after a reading the next one is due. Must be cheap. Default: 1 second.
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

/// A fixed list, which need be read only once.
impl Discovery for Vec<Member> {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        Ok(Some(self.clone()))
    }

    fn interval(&self) -> Duration {
        Duration::MAX
    }
}

/// A closure as [`Discovery`], asked once a second unless the [`Membership`](crate::Membership) says otherwise.
///
/// ```
/// use std::time::SystemTime;
/// use forwardcache::{Client, Member, Membership, FnDiscovery};
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
