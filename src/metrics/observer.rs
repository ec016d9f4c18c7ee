//! [`Observer`]: a program's own code for events of a client, a cache and a store.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::base::error::Error;
use crate::message::purge::{Purge, Purged};
use crate::message::stats::Outcome;
use crate::pool::peer_state::PeerState;

/// Code of the program that runs on events, for metrics, traces and tests. Every method does nothing by default.
///
/// `ClientBuilder::observer`, `HttpCacheBuilder::observer` and `PeerBuilder::observer` set it. A peer reports the events of
/// its client, its cache and its store.
///
/// # Contract
///
/// * Methods run on the thread on which the event happens, which may be an I/O thread of the server that serves thousands of
///   connections. They must be cheap and must not block: count, or send to a bounded channel.
/// * Several threads may call them at the same time. No lock of this crate is held during a call.
/// * A panic is caught and logged.
/// * URLs are complete, and their queries may contain secrets.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
///
/// use forwardcache::metrics::{CacheAnswer, Observer};
/// use forwardcache::origin::Offline;
/// use forwardcache::{HttpCache, Outcome};
///
/// #[derive(Default)]
/// struct Misses(AtomicU64);
///
/// impl Observer for Misses {
///     fn cache_answered(&self, event: &CacheAnswer<'_>) {
///         if !event.outcome.is_from_store() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let misses = Arc::new(Misses::default());
/// let cache = HttpCache::builder().origin(Offline).observer(Arc::clone(&misses)).build()?;
/// assert!(cache.get("http://example.com/").send().is_err());
/// assert_eq!(misses.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), forwardcache::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// A client has received the head of a response to a request of its program, or has failed.
    fn request_finished(&self, event: &RequestFinished<'_>) {
        let _ = event;
    }

    /// A client has asked one peer, which has responded or failed.
    fn attempt_finished(&self, event: &AttemptFinished<'_>) {
        let _ = event;
    }

    /// A peer has failed at a request, and the client goes on to the next owner or the fallback.
    fn failed_over(&self, event: &FailedOver<'_>) {
        let _ = event;
    }

    /// The health of a peer has changed, as this client sees it.
    fn peer_state_changed(&self, event: &PeerStateChanged<'_>) {
        let _ = event;
    }

    /// A cache has answered a request, or has failed to.
    fn cache_answered(&self, event: &CacheAnswer<'_>) {
        let _ = event;
    }

    /// A cache has asked an origin, which has responded or failed.
    fn origin_answered(&self, event: &OriginAnswer<'_>) {
        let _ = event;
    }

    /// A purge has removed responses from a cache.
    fn purged(&self, event: &PurgeFinished<'_>) {
        let _ = event;
    }

    /// A store has evicted responses to make room. A [`Store`](crate::store::Store) of your own has to report this itself.
    fn evicted(&self, event: &Eviction) {
        let _ = event;
    }
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn request_finished(&self, event: &RequestFinished<'_>) {
        (**self).request_finished(event);
    }

    fn attempt_finished(&self, event: &AttemptFinished<'_>) {
        (**self).attempt_finished(event);
    }

    fn failed_over(&self, event: &FailedOver<'_>) {
        (**self).failed_over(event);
    }

    fn peer_state_changed(&self, event: &PeerStateChanged<'_>) {
        (**self).peer_state_changed(event);
    }

    fn cache_answered(&self, event: &CacheAnswer<'_>) {
        (**self).cache_answered(event);
    }

    fn origin_answered(&self, event: &OriginAnswer<'_>) {
        (**self).origin_answered(event);
    }

    fn purged(&self, event: &PurgeFinished<'_>) {
        (**self).purged(event);
    }

    fn evicted(&self, event: &Eviction) {
        (**self).evicted(event);
    }
}

/// See [`Observer::request_finished`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestFinished<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The URL of the request.
    pub url: &'a str,
    /// The status of the response, or the error.
    pub result: Result<StatusCode, &'a Error>,
    /// How the cache that answered handled the request; `None` if the response comes from no cache.
    pub outcome: Option<Outcome>,
    /// The peer that answered; `None` if the response comes from this process or directly from the origin.
    pub peer: Option<&'a str>,
    /// The number of peers that were asked for the response; 0 after an error.
    pub attempts: u32,
    /// Whether the client bypassed the pool because no peer was left.
    pub is_direct: bool,
    /// The time from the request to the response head or the error.
    pub elapsed: Duration,
}

/// See [`Observer::attempt_finished`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttemptFinished<'a> {
    /// The URL of the request.
    pub url: &'a str,
    /// The base URL of the peer.
    pub peer: &'a str,
    /// The status of the response, or the error.
    pub result: Result<StatusCode, &'a Error>,
    /// The time from the request to the response head, or to the whole body if it is short, or to the error.
    pub elapsed: Duration,
}

/// See [`Observer::failed_over`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FailedOver<'a> {
    /// The URL of the request.
    pub url: &'a str,
    /// The base URL of the peer that failed.
    pub peer: &'a str,
    /// Why it failed.
    pub error: &'a Error,
}

/// See [`Observer::peer_state_changed`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PeerStateChanged<'a> {
    /// The base URL of the peer.
    pub peer: &'a str,
    /// The state before.
    pub from: PeerState,
    /// The state now.
    pub to: PeerState,
}

/// See [`Observer::cache_answered`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CacheAnswer<'a> {
    /// The URL of the request.
    pub url: &'a str,
    /// How the cache handled the request.
    pub outcome: Outcome,
    /// Whether this is a background refresh instead of a request.
    pub is_refresh: bool,
    /// Whether this is a near cache: the small cache of responses of other peers.
    pub is_near: bool,
}

/// See [`Observer::origin_answered`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OriginAnswer<'a> {
    /// The URL of the request.
    pub url: &'a str,
    /// The status of the response, or the error.
    pub result: Result<StatusCode, &'a Error>,
    /// The time from the request to the response head or the error.
    pub elapsed: Duration,
}

/// See [`Observer::purged`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PurgeFinished<'a> {
    /// The selection of responses.
    pub purge: &'a Purge,
    /// The removed responses, as far as they are counted.
    pub purged: Purged,
}

/// See [`Observer::evicted`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Eviction {
    /// The tier, as in the metrics: `memory` for the store of the cache, `near` for that of a near cache, or `disk`.
    pub tier: &'static str,
    /// The number of evicted keys, each with all of its responses.
    pub keys: u64,
}

/// Marks the events of a near cache. Its requests to owners are attempts of the client, and not reported twice.
#[cfg(feature = "peer")]
struct Near(Arc<dyn Observer>);

#[cfg(feature = "peer")]
impl Observer for Near {
    fn cache_answered(&self, event: &CacheAnswer<'_>) {
        self.0.cache_answered(&CacheAnswer { is_near: true, ..*event });
    }

    fn evicted(&self, event: &Eviction) {
        self.0.evicted(&Eviction { tier: "near", ..*event });
    }
}

/// The observer of a program, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Option<Arc<dyn Observer>>);

impl Watcher {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Returns the observer of a near cache: it reports what that cache answers and evicts.
    #[cfg(feature = "peer")]
    pub(crate) fn of_near_cache(&self) -> Self {
        Self(self.0.clone().map(|observer| Arc::new(Near(observer)) as _))
    }

    #[cfg(feature = "peer")]
    pub(crate) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.0.clone()
    }

    /// Returns whether there is an observer, for callers that would measure time in vain.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Calls the observer, if there is one. Must not be called under a lock.
    pub(crate) fn tell(&self, event: impl FnOnce(&dyn Observer)) {
        let Some(observer) = &self.0 else { return };
        if catch_unwind(AssertUnwindSafe(|| event(&**observer))).is_err() {
            log::error!("the program's observer panicked; the event is lost");
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watcher({})", self.is_set())
    }
}
