//! Reads a list of members and replaces the pool of a client.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::{info, warn};
use parking_lot::Mutex;

use super::discovery_failures::Failures;
use super::settling::{Decision, Settling};
use crate::base::error::{Error, ErrorKind, Result};
use crate::client::{Client, distinct};
use crate::pool::discovery::Discovery;
use crate::pool::discovery::MembershipChange;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// Keeps the pool of a client equal to a list that is maintained elsewhere: reads the list from time to time,
/// and replaces the pool as a whole when the list has changed. Requests in progress keep the pool that they
/// started with.
///
/// * A list that cannot be read, is empty, or lists a peer with two weights changes nothing. The reason is
///   logged once as a warning.
/// * A change takes effect once two readings, some time apart, have seen it: see [`settle`](Self::settle).
/// * One `info` line lists the members that joined and left.
/// * The list takes precedence: members set by [`Client::set_members`] or [`Client::set_pool`] last until the
///   next reading.
///
/// [`watch`](Self::watch) starts a thread that polls the list. A program without that thread calls
/// [`poll`](Self::poll) itself.
///
/// ```no_run
/// use std::time::SystemTime;
/// use forwardcache::client::Membership;
/// use forwardcache::pool::FileDiscovery;
/// use forwardcache::Client;
///
/// let client = Client::builder().build()?;
/// let mut membership = Membership::new(&client, FileDiscovery::new("/etc/forwardcache/peers"));
/// membership.refresh(SystemTime::now())?; // Read the list once, or fail.
/// let watch = membership.watch()?; // Polls until this is dropped.
/// let response = client.get("https://example.com/").send()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
pub struct Membership {
    client: Client,
    source: Box<dyn Discovery>,
    settle: Duration,
    interval: Option<Duration>,
    may_be_empty: bool,
    self_url: Option<PeerUrl>,
    last_reading: Option<SystemTime>,
    settling: Settling,
    failures: Failures,
    /// Whether the pool may still be changed. Locked during a change, so that no change happens after it is
    /// set to `false`.
    pub(super) may_change: Arc<Mutex<bool>>,
}

/// Minimum time between two readings, so that the thread does not use a whole core.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The result of [`Membership::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Polled {
    /// The next reading is not due; nothing was read.
    NotDue,
    /// The list equals the pool.
    Same,
    /// The list differs from the pool, but has not been stable for long enough.
    Settling,
    /// The list has replaced the pool.
    Changed(MembershipChange),
    /// Reading failed, or the list is not valid; the pool stays as it is.
    Failed(Error),
}

impl Membership {
    /// Keeps the pool of this client and its clones equal to the list that `source` provides.
    #[must_use]
    pub fn new(client: &Client, source: impl Discovery + 'static) -> Self {
        Self {
            client: client.clone(),
            source: Box::new(source),
            settle: Duration::from_secs(1),
            interval: None,
            may_be_empty: false,
            self_url: None,
            last_reading: None,
            settling: Settling::default(),
            failures: Failures::default(),
            may_change: Arc::new(Mutex::new(true)),
        }
    }

    /// Sets how long a changed list must be stable before it replaces the pool. After a change is seen, the
    /// list is read again after this time at the latest. Default: 1 second. Zero makes a change take effect at
    /// once.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// Sets the time between two readings, at least 10 milliseconds. Default: [`Discovery::interval`] of the
    /// list.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Accepts an empty list, which leaves the pool without peers. Default: `false`, an empty list is an
    /// error: it is usually a mistake, and every request would fail at once.
    #[must_use]
    pub fn allow_empty(mut self, may_be_empty: bool) -> Self {
        self.may_be_empty = may_be_empty;
        self
    }

    /// Sets the URL of the peer that this process runs. A warning is logged when a new list does not contain
    /// that peer, which then keeps serving but owns no URLs.
    #[must_use]
    pub fn self_url(mut self, peer: PeerUrl) -> Self {
        self.self_url = Some(peer);
        self
    }

    /// Reads the list if a reading is due. Blocks as long as [`Discovery::read`] does.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use forwardcache::client::{Membership, Polled};
    /// use forwardcache::pool::Member;
    /// use forwardcache::Client;
    ///
    /// let client = Client::builder().build()?;
    /// let list = vec![Member::parse("http://10.0.0.1:3000")?];
    /// let mut membership = Membership::new(&client, list).interval(Duration::from_secs(5));
    /// let now = SystemTime::now();
    /// assert!(matches!(membership.poll(now), Polled::Settling));
    /// let again = now + membership.until_due(now);
    /// assert!(matches!(membership.poll(again), Polled::Changed(_)));
    /// assert_eq!(client.pool().len(), 1);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn poll(&mut self, now: SystemTime) -> Polled {
        if !self.until_due(now).is_zero() {
            return Polled::NotDue;
        }
        match self.read(now, self.settle) {
            Ok(polled) => polled,
            Err(error) => {
                if self.failures.record(&error.to_string()) {
                    warn!("the pool stays as it is: {error:#}");
                }
                Polled::Failed(error)
            }
        }
    }

    /// Returns the time until [`poll`](Self::poll) reads the list again; zero if it is due.
    #[must_use]
    pub fn until_due(&self, now: SystemTime) -> Duration {
        let Some(last) = self.last_reading else { return Duration::ZERO };
        let interval = self.interval.unwrap_or_else(|| self.source.interval());
        let interval = if self.settling.is_waiting() { interval.min(self.settle) } else { interval };
        // If the clock was set back, the age is unknown: read now.
        now.duration_since(last).map_or(Duration::ZERO, |age| interval.max(MIN_INTERVAL).saturating_sub(age))
    }

    /// Reads the list now and applies it at once, without time to settle, because a caller vouches for it.
    /// Returns the change, which may be empty.
    ///
    /// # Errors
    ///
    /// Errors of [`Discovery::read`]; [`ErrorKind::BadPeer`] if the list is empty, unless
    /// [allowed](Self::allow_empty), or lists a peer with two weights. The pool then stays as it is.
    pub fn refresh(&mut self, now: SystemTime) -> Result<MembershipChange> {
        match self.read(now, Duration::ZERO) {
            Ok(Polled::Changed(change)) => Ok(change),
            Ok(_) => Ok(MembershipChange::default()),
            Err(error) => {
                // The caller gets this error, so that `poll` need not log it again.
                self.failures.record(&error.to_string());
                Err(error)
            }
        }
    }

    fn read(&mut self, now: SystemTime, settle: Duration) -> Result<Polled> {
        self.last_reading = Some(now);
        let read = match self.read_list() {
            Ok(read) => read,
            Err(error) => {
                self.settling.reset();
                return Err(error);
            }
        };
        let pool = self.client.members();
        let polled = match self.settling.observe(read, &pool, settle, now) {
            Decision::Same => Polled::Same,
            // A later reading may still fail, so that earlier failures are not over yet.
            Decision::Wait => return Ok(Polled::Settling),
            Decision::Replace(list) => self.replace_pool(&pool, list)?.map_or(Polled::Same, Polled::Changed),
        };
        if self.failures.clear() {
            info!("the list of peers can be read again");
        }
        Ok(polled)
    }

    /// Reads the list and returns it sorted, without duplicates; `None` if it is unchanged since the last
    /// reading.
    fn read_list(&mut self) -> Result<Option<Vec<Member>>> {
        let source = AssertUnwindSafe(&mut self.source);
        // A panic in a custom `Discovery` must not end the thread.
        let read = catch_unwind(move || { source }.read())
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "reading the list of peers panicked")))?;
        let Some(list) = read else { return Ok(None) };
        let list = distinct(list)?;
        if list.is_empty() && !self.may_be_empty {
            return Err(Error::new(ErrorKind::BadPeer, "the list of peers is empty"));
        }
        Ok(Some(list))
    }

    /// Replaces the pool, unless changes have been forbidden.
    fn replace_pool(&self, pool: &[Member], list: Vec<Member>) -> Result<Option<MembershipChange>> {
        let change = MembershipChange::between(pool, &list);
        let count = list.len();
        let unlisted_self =
            self.self_url.as_ref().filter(|own| !list.iter().any(|member| member.url() == *own));
        {
            // The only custom code called under the lock is the hash function of the ring, which is pure.
            let may_change = self.may_change.lock();
            if !*may_change {
                return Ok(None);
            }
            self.client.set_members(list)?;
        }
        info!("the pool has {count} members now; {change}");
        if let Some(own) = unlisted_self {
            warn!("this peer ({own}) is not in the new list of peers: it keeps serving but owns no URLs");
        }
        Ok(Some(change))
    }
}

impl fmt::Display for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDue => f.write_str("not due"),
            Self::Same => f.write_str("the same"),
            Self::Settling => f.write_str("settling"),
            Self::Changed(change) => write!(f, "changed: {change}"),
            Self::Failed(error) => write!(f, "failed: {error:#}"),
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("source", &self.source)
            .field("pool", &self.client.members())
            .field("settle", &self.settle)
            .field("interval", &self.interval)
            .field("may_be_empty", &self.may_be_empty)
            .field("self_url", &self.self_url)
            .finish_non_exhaustive()
    }
}
