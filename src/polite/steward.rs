//! The thread that asks the keepers.
//!
//! One thread asks for all who wait, so that there is one question for many of them, and what is lent is prolonged for
//! as long as a body is on its way that nobody may be reading at the moment. It lives while there is something to ask,
//! and a little longer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use log::{debug, warn};
use parking_lot::MutexGuard;

use super::asking::Shared;
use super::budgets::{Budgets, Errand};
use super::lease::Grant;
use crate::error::{Error, ErrorKind};

/// How long it waits for something to do before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// How long it waits at most before it looks again: its clock may have been moved.
const LOOK: Duration = Duration::from_millis(500);

/// Sees to it that somebody asks the keepers.
pub(super) fn stir(shared: &Arc<Shared>, budgets: &mut MutexGuard<'_, Budgets>) {
    if budgets.has_steward {
        shared.to_ask.notify_one();
        return;
    }
    budgets.has_steward = true;
    let weak = Arc::downgrade(shared);
    let thread = thread::Builder::new().name("origin-budgets".to_owned());
    if let Err(error) = thread.spawn(move || work(&weak)) {
        // Then this peer keeps to its share.
        budgets.has_steward = false;
        warn!("no thread that asks for the budgets of origins can be started: {error}");
    }
}

fn work(shared: &Weak<Shared>) {
    let mut idle = Duration::ZERO;
    loop {
        // Nobody needs the budgets of a peer that is gone.
        let Some(shared) = shared.upgrade() else { return };
        let mut budgets = shared.budgets.lock();
        let errand = budgets.errand(shared.clock.now());
        let wait = match errand {
            Errand::Ask(origin, keeper, ask) => {
                drop(budgets);
                idle = Duration::ZERO;
                let text = ask.text(shared.keepers.own_url());
                // What carries it is not ours: its panic is no grant.
                let asking = AssertUnwindSafe(|| shared.keepers.ask(&keeper, &origin, text));
                let answer = catch_unwind(asking)
                    .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "asking the peer panicked")));
                let grant = answer.and_then(|text| {
                    Grant::parse(&text).ok_or_else(|| Error::new(ErrorKind::BadResponse, "it cannot be read"))
                });
                if let Err(why) = &grant {
                    debug!("{keeper} lends nothing of {origin}: {why}");
                }
                let now = shared.clock.now();
                let mut budgets = shared.budgets.lock();
                match grant {
                    Ok(grant) => {
                        budgets.is_there(&keeper, now);
                        if let Some(budget) = budgets.find(&origin) {
                            budget.granted(&keeper, &grant, shared.options.longest_pause, now);
                        }
                    }
                    Err(_) => budgets.keeper_failed(&keeper, now),
                }
                drop(budgets);
                shared.changed.notify_all();
                continue;
            }
            Errand::Wait(wait) => {
                idle = Duration::ZERO;
                wait.clamp(Duration::from_millis(1), LOOK)
            }
            Errand::None if idle >= IDLE => {
                budgets.has_steward = false;
                return;
            }
            Errand::None => LOOK,
        };
        if shared.to_ask.wait_for(&mut budgets, wait).timed_out() && wait == LOOK {
            idle += LOOK;
        }
    }
}
