//! Scenarios: the crate from outside, against origins that check themselves.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a `#[test]` function"
)]

mod local;
mod support;

mod ancestor;
mod command;
mod failover;
mod faults;
mod front;
mod https;
mod nginx;
mod origins;
mod pool;
mod processes;
mod streams;
mod support_itself;
mod tls;
mod tokens;
