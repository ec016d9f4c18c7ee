//! Scenarios: integration tests against scripted origins that verify the requests they receive.

#![allow(
    clippy::unwrap_used,
    reason = "this crate is test code, including the functions without `#[test]`"
)]

mod local;
mod support;

mod agreement;
mod ancestor;
mod cancelling;
mod collapsing;
mod command;
mod deadlines;
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
mod streams;
mod support_itself;
mod tls;
mod tokens;
mod users;
mod waiting;
