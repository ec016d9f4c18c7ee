//! Reads a list, decides, and puts it in place of the one before.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::{info, warn};
use parking_lot::Mutex;

use super::failures::Failures;
use super::settling::{Decision, Settling};
use crate::base::error::{Error, ErrorKind, Result};
use crate::client::{Client, distinct};
use crate::pool::discovery::Discovery;
use crate::pool::discovery::MembershipChange;
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// Keeps the pool of a client as a list says that is kept elsewhere: reads it from time to time, and puts a list
/// that has changed in place of the one before, as a whole. Requests under way keep the pool they began with.
///
/// * A list that cannot be read, that names a peer with two weights, or that is empty, changes nothing. The log says
///   why by `warn`, once for as long as it lasts.
/// * A change counts when it has been seen twice, some time apart: see [`settle`](Self::settle).
/// * Who joined and who left is logged by `info`, in one line.
/// * The list is what counts: what is set by [`Client::set_members`] or [`Client::set_pool`] meanwhile stays until the
///   next reading.
///
/// [`watch`](Self::watch) has a thread do it in time. A program that wants none calls [`poll`](Self::poll) when it
/// likes.
///
/// ```no_run
/// use std::time::SystemTime;
/// use forwardcache::{Client, Membership, FileDiscovery};
///
/// let client = Client::builder().build()?;
/// let mut membership = Membership::new(&client, FileDiscovery::new("/etc/forwardcache/peers"));
/// membership.refresh(SystemTime::now())?; // There is a list from the beginning, or an error.
/// let watch = membership.watch()?; // Until this is dropped.
/// let response = client.get("https://example.com/")?;
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
    /// Whether the pool may still be changed; held while it is, so that nothing changes it afterwards.
    pub(super) may_change: Arc<Mutex<bool>>,
}

/// The shortest time between two readings: whoever says less would have a thread that does nothing else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// What came of a [`Membership::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Polled {
    /// It was not time yet; nothing was read.
    NotDue,
    /// The list is that of the pool.
    Same,
    /// The list differs, and has not stayed so for long enough.
    Settling,
    /// The list has been put in place.
    Changed(MembershipChange),
    /// There is no list that could be put in place; the pool stays as it is.
    Failed(Error),
}

impl Membership {
    /// Keeps the pool of this client, and of its clones, as this list says.
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

    /// How long a list has to stay as it is before it is put in place. A change is read again after that time, or
    /// sooner. Default: 1 second; with none at all it counts at once.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// How long after a reading the next one is due; 10 milliseconds at least. Default: what the list itself says
    /// in [`Discovery::interval`].
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Whether an empty list is one, which leaves a pool of nobody. Default: no, it is an error, since an
    /// empty list is most often an accident, and with it every request would fail at once.
    #[must_use]
    pub fn allow_empty(mut self, may_be_empty: bool) -> Self {
        self.may_be_empty = may_be_empty;
        self
    }

    /// The pool is that of this peer: the log says by `warn` when a list does not have it, which leaves it
    /// serving and owning nothing.
    #[must_use]
    pub fn self_url(mut self, peer: PeerUrl) -> Self {
        self.self_url = Some(peer);
        self
    }

    /// Reads the list, if it is time to. Blocks for as long as [`Discovery::read`] does.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use forwardcache::{Client, Member, Membership, Polled};
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
                if self.failures.is_news(&error.to_string()) {
                    warn!("the pool stays as it is: {error}");
                }
                Polled::Failed(error)
            }
        }
    }

    /// How long it is until a [`poll`](Self::poll) does something.
    #[must_use]
    pub fn until_due(&self, now: SystemTime) -> Duration {
        let Some(last) = self.last_reading else { return Duration::ZERO };
        let interval = self.interval.unwrap_or_else(|| self.source.interval());
        let interval = if self.settling.is_waiting() { interval.min(self.settle) } else { interval };
        // A clock that went back says nothing of how long ago it was: it is time then.
        now.duration_since(last)
            .map_or(Duration::ZERO, |age| interval.max(SHORTEST_INTERVAL).saturating_sub(age))
    }

    /// Reads the list now, and puts it in place at once if it differs, without time to settle: somebody
    /// says that it is as it is to be. Returns what changed, which may be nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Discovery::read`]; [`ErrorKind::BadPeer`] for a list that is empty, unless it
    /// [may](Self::allow_empty), or that names a peer with two weights. The pool stays as it is then.
    pub fn refresh(&mut self, now: SystemTime) -> Result<MembershipChange> {
        match self.read(now, Duration::ZERO) {
            Ok(Polled::Changed(change)) => Ok(change),
            Ok(_) => Ok(MembershipChange::default()),
            Err(error) => {
                // Who is told of it here need not be told once more.
                self.failures.is_news(&error.to_string());
                Err(error)
            }
        }
    }

    fn read(&mut self, now: SystemTime, settle: Duration) -> Result<Polled> {
        self.last_reading = Some(now);
        let read = match self.listed() {
            Ok(read) => read,
            Err(error) => {
                self.settling.start_over();
                return Err(error);
            }
        };
        let pool = self.client.members();
        let polled = match self.settling.seen(read, &pool, settle, now) {
            Decision::Same => Polled::Same,
            // What settles may fail yet.
            Decision::Wait => return Ok(Polled::Settling),
            Decision::Swap(list) => self.swap(&pool, list)?.map_or(Polled::Same, Polled::Changed),
        };
        if self.failures.end() {
            info!("the list of peers can be read again");
        }
        Ok(polled)
    }

    /// The list as it is now, sorted, each member once.
    fn listed(&mut self) -> Result<Option<Vec<Member>>> {
        let source = AssertUnwindSafe(&mut self.source);
        // Whoever wrote it, the pool is watched on.
        let read = catch_unwind(move || { source }.read())
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "reading the list of peers panicked")))?;
        let Some(list) = read else { return Ok(None) };
        let list = distinct(list)?;
        if list.is_empty() && !self.may_be_empty {
            return Err(Error::new(ErrorKind::BadPeer, "the list of peers names nobody"));
        }
        Ok(Some(list))
    }

    /// Puts this list in place, if nobody has forbidden it since.
    fn swap(&self, pool: &[Member], list: Vec<Member>) -> Result<Option<MembershipChange>> {
        let change = MembershipChange::between(pool, &list);
        let count = list.len();
        let is_without_us =
            self.self_url.as_ref().filter(|own| !list.iter().any(|member| member.url() == *own));
        {
            // All that is foreign below is the hash of the ring, a pure function.
            let may_change = self.may_change.lock();
            if !*may_change {
                return Ok(None);
            }
            self.client.set_members(list)?;
        }
        info!("the pool has {count} members now; {change}");
        if let Some(own) = is_without_us {
            warn!("this peer ({own}) is not in the new list of peers: it serves on, and owns nothing");
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
            Self::Failed(error) => write!(f, "failed: {error}"),
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
