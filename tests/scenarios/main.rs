//! Scenarios: the crate from outside, against origins that check themselves.

mod local;
mod support;

mod nginx;
mod support_itself;
