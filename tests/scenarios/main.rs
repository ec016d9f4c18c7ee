//! Scenarios: the crate from outside, against origins that check themselves.

mod local;
mod support;

mod command;
mod faults;
mod https;
mod nginx;
mod pool;
mod processes;
mod support_itself;
