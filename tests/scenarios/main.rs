//! Scenarios: the crate from outside, against origins that check themselves.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a `#[test]` function"
)]

mod local;
mod support;

mod agreement;
mod ancestor;
mod cancelling;
mod collapsing;
mod command;
mod deadlines;
mod disk;
mod failover;
mod faults;
mod front;
mod https;
mod integrity;
mod leaving;
mod membership;
mod memory;
mod metrics;
mod near;
mod nginx;
mod observations;
mod origins;
mod poisoning;
mod politeness;
mod pool;
mod pool_faults;
mod privacy;
mod processes;
mod purge;
mod safety;
mod strangers;
mod streams;
mod support_itself;
mod tls;
mod tokens;
mod users;
mod waiting;
