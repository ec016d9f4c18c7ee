//! The origin of the random run, which keeps a history of its versions, and the check of each response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::{Condvar, Mutex};

use super::versioned_origin::body;
use crate::support::origin::{Origin, Received, Reply};

/// The `max-age` of short-lived responses, and the tolerance for rounding and scheduling.
const KEPT: Duration = Duration::from_secs(1);
const ROUNDED: Duration = Duration::from_millis(1500);

/// How long after an outage a request may still fail, because it joined a fetch that began during the outage.
const BEFORE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    Slow,
    Down,
}

pub(super) struct Changing {
    pub(super) origin: Origin,
    history: Arc<History>,
}

struct History {
    state: Mutex<State>,
    /// Never notified: waiting on it delays a slow origin.
    never: Condvar,
}

struct State {
    health: Health,
    /// When the origin was last down.
    down: Option<Instant>,
    /// When each version began; index 0 is version 1.
    began: Vec<Instant>,
    /// Versions that ended before this time have been purged from all peers.
    purged: Option<Instant>,
}

impl Changing {
    pub(super) fn start() -> Self {
        let state = State { health: Health::Up, down: None, began: vec![Instant::now()], purged: None };
        let history = Arc::new(History { state: Mutex::new(state), never: Condvar::new() });
        let answering = Arc::clone(&history);
        Self { origin: Origin::start(move |received| answering.answer(received)), history }
    }

    pub(super) fn set(&self, health: Health) {
        let mut state = self.history.state.lock();
        if state.health == Health::Down {
            state.down = Some(Instant::now());
        }
        state.health = health;
    }

    pub(super) fn next_version(&self) {
        self.history.state.lock().began.push(Instant::now());
    }

    /// Records a complete purge that was requested at this time.
    pub(super) fn is_purged(&self, asked: Instant) {
        self.history.state.lock().purged = Some(asked);
    }

    /// Returns the time of the last complete purge: a version that ended before it must no longer be served.
    pub(super) fn oldest_after_purge(&self) -> Option<Instant> {
        self.history.state.lock().purged
    }

    /// Returns whether the origin was up during the whole request that began at `asked`.
    pub(super) fn was_up_since(&self, asked: Instant) -> bool {
        let state = self.history.state.lock();
        state.health != Health::Down && state.down.is_none_or(|down| down + BEFORE < asked)
    }

    /// Returns whether only one version of the target can have been served since `asked`.
    pub(super) fn was_one_version(&self, target: &str, asked: Instant) -> bool {
        let began = *self.history.state.lock().began.last().unwrap();
        is_fixed(target) || began + KEPT + ROUNDED < asked
    }

    /// Checks the version of a response to a request that began at `asked`. `is_stale`: the response is marked as
    /// stale;
    /// `is_hasty`: the deadline was too short for a slow origin.
    pub(super) fn judge(
        &self,
        target: &str,
        version: u64,
        asked: Instant,
        purged: Option<Instant>,
        is_stale: bool,
        is_hasty: bool,
    ) -> Result<(), String> {
        if is_stale && (target.starts_with("/strict/") || self.was_up_since(asked) && !is_hasty) {
            return Err("a stale response is not allowed here".to_owned());
        }
        if is_fixed(target) {
            return if version == 1 { Ok(()) } else { Err(format!("version {version} does not exist")) };
        }
        let state = self.history.state.lock();
        // A version is current until the next one begins.
        let index = usize::try_from(version).unwrap();
        if index == 0 || index > state.began.len() {
            return Err(format!("version {version} does not exist"));
        }
        let Some(ended) = state.began.get(index) else { return Ok(()) };
        let oldest = if is_stale { None } else { asked.checked_sub(KEPT + ROUNDED) };
        if oldest.is_some_and(|oldest| *ended < oldest) {
            return Err(format!("version {version} ended {:?} before the request", asked - *ended));
        }
        if purged.is_some_and(|purged| *ended < purged) {
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
        let version = if is_fixed(&received.target) { 1 } else { state.began.len() as u64 };
        match state.health {
            Health::Down => return Reply::nothing_by_reset(),
            Health::Slow => {
                self.never.wait_for(&mut state, Duration::from_millis(200));
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
        let kept = match received.target.split('/').nth(1) {
            Some("fixed") => "max-age=600",
            Some("strict") => "max-age=1, must-revalidate",
            _ => "max-age=1",
        };
        reply.field("ETag", tag).field("Cache-Control", kept)
    }
}
