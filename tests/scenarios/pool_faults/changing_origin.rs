//! The origin of the random run, which keeps a history of its versions, and the check of each response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::{Condvar, Mutex};

use super::versioned_origin::body;
use crate::support::origin::{Origin, Received, Reply};

/// The `max-age` of short-lived responses, and the tolerance for rounding and scheduling.
const MAX_AGE: Duration = Duration::from_secs(1);
const TOLERANCE: Duration = Duration::from_millis(1500);

/// How long after an outage a request may still fail, because it joined a fetch that began during the outage.
const MAX_JOIN_DELAY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    Slow,
    Down,
}

pub(super) struct ChangingOrigin {
    pub(super) server: Origin,
    history: Arc<History>,
}

struct History {
    state: Mutex<State>,
    /// Never notified: waiting on it delays a slow origin.
    delay: Condvar,
}

struct State {
    health: Health,
    /// When the origin was last down.
    last_outage: Option<Instant>,
    /// When each version began; index 0 is version 1.
    version_starts: Vec<Instant>,
    /// Versions that ended before this time have been purged from all peers.
    purged: Option<Instant>,
}

impl ChangingOrigin {
    pub(super) fn start() -> Self {
        let state = State {
            health: Health::Up,
            last_outage: None,
            version_starts: vec![Instant::now()],
            purged: None,
        };
        let history = Arc::new(History { state: Mutex::new(state), delay: Condvar::new() });
        let answering = Arc::clone(&history);
        Self { server: Origin::start(move |received| answering.answer(received)), history }
    }

    pub(super) fn set(&self, health: Health) {
        let mut state = self.history.state.lock();
        if state.health == Health::Down {
            state.last_outage = Some(Instant::now());
        }
        state.health = health;
    }

    pub(super) fn next_version(&self) {
        self.history.state.lock().version_starts.push(Instant::now());
    }

    /// Records a complete purge that was requested at this time.
    pub(super) fn note_purge(&self, requested_at: Instant) {
        self.history.state.lock().purged = Some(requested_at);
    }

    /// Returns the time of the last complete purge: a version that ended before it must no longer be served.
    pub(super) fn oldest_after_purge(&self) -> Option<Instant> {
        self.history.state.lock().purged
    }

    /// Returns whether the origin was up during the whole request that began at `requested_at`.
    pub(super) fn was_up_since(&self, requested_at: Instant) -> bool {
        let state = self.history.state.lock();
        state.health != Health::Down
            && state.last_outage.is_none_or(|last_outage| last_outage + MAX_JOIN_DELAY < requested_at)
    }

    /// Returns whether only one version of the target can have been served since `requested_at`.
    pub(super) fn was_one_version(&self, target: &str, requested_at: Instant) -> bool {
        let last_start = *self.history.state.lock().version_starts.last().unwrap();
        is_fixed(target) || last_start + MAX_AGE + TOLERANCE < requested_at
    }

    /// Checks the version of a response to a request that began at `requested_at`. `is_stale`: the response is marked
    /// as stale; `has_short_deadline`: the deadline was too short for a slow origin.
    pub(super) fn check_version(
        &self,
        target: &str,
        version: u64,
        requested_at: Instant,
        purged: Option<Instant>,
        is_stale: bool,
        has_short_deadline: bool,
    ) -> Result<(), String> {
        if is_stale
            && (target.starts_with("/strict/") || self.was_up_since(requested_at) && !has_short_deadline)
        {
            return Err("a stale response is not allowed here".to_owned());
        }
        if is_fixed(target) {
            return if version == 1 { Ok(()) } else { Err(format!("version {version} does not exist")) };
        }
        let state = self.history.state.lock();
        // A version is current until the next one begins.
        let index = usize::try_from(version).unwrap();
        if index == 0 || index > state.version_starts.len() {
            return Err(format!("version {version} does not exist"));
        }
        let Some(version_end) = state.version_starts.get(index) else { return Ok(()) };
        let oldest = if is_stale { None } else { requested_at.checked_sub(MAX_AGE + TOLERANCE) };
        if oldest.is_some_and(|oldest| *version_end < oldest) {
            return Err(format!(
                "version {version} ended {:?} before the request",
                requested_at - *version_end
            ));
        }
        if purged.is_some_and(|purged| *version_end < purged) {
            return Err(format!("version {version} had been purged from all peers"));
        }
        Ok(())
    }
}

pub(super) fn is_fixed(target: &str) -> bool {
    target.starts_with("/fixed/")
}

impl History {
    fn answer(&self, received: &Received) -> Reply {
        let mut state = self.state.lock();
        let version = if is_fixed(&received.target) { 1 } else { state.version_starts.len() as u64 };
        match state.health {
            Health::Down => return Reply::nothing_by_reset(),
            Health::Slow => {
                self.delay.wait_for(&mut state, Duration::from_millis(200));
            }
            Health::Up => {}
        }
        drop(state);
        if received.method == Method::POST {
            return Reply::ok(received.body.clone()).field("Cache-Control", "no-store");
        }
        let tag = format!("\"v{version}\"");
        let is_same = received.field("if-none-match").is_some_and(|known| known == tag);
        let reply = if is_same { Reply::status(304) } else { Reply::ok(body(&received.target, version)) };
        let cache_control = match received.target.split('/').nth(1) {
            Some("fixed") => "max-age=600",
            Some("strict") => "max-age=1, must-revalidate",
            _ => "max-age=1",
        };
        reply.field("ETag", tag).field("Cache-Control", cache_control)
    }
}
