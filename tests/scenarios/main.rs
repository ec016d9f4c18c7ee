//! Scenarios: the crate from outside, against origins that check themselves.

mod support;

mod support_itself;
