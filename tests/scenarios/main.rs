//! Scenarios: the crate from outside, against origins that check themselves.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a `#[test]` function"
)]

mod local;
mod support;

mod ancestor;
mod command;
mod faults;
mod front;
mod https;
mod integrity;
mod nginx;
mod origins;
mod poisoning;
mod politeness;
mod pool;
mod privacy;
mod processes;
mod streams;
mod support_itself;
mod tls;
mod tokens;
mod users;
