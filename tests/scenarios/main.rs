//! Scenarios: the crate from outside, against origins that check themselves.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code, also what is outside of a `#[test]` function"
)]

mod ancestor;
mod support;

mod support_itself;
