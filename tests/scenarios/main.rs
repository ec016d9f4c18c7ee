//! Scenarios: integration tests against scripted origins that verify the requests they receive.

#![allow(clippy::unwrap_used, reason = "this crate is test code, including the functions without `#[test]`")]

mod local;
mod support;

mod access_log;
mod admin_load;
mod cancellation;
mod clients;
mod collapsing;
mod command;
mod configuration;
mod deadlines;
mod disk;
mod errors;
mod failover;
mod gateway;
mod get;
mod go_package;
mod https;
mod integrity;
mod interoperability;
mod large;
mod leaving;
mod membership;
mod memory;
mod metrics;
mod near_cache;
mod nginx;
mod observer;
mod origins;
mod peer_health;
mod poisoning;
mod pool;
mod pool_faults;
mod privacy;
mod processes;
mod prometheus;
mod purge;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_faults;
#[cfg(feature = "redis")]
mod redis_slow;
#[cfg(feature = "redis")]
mod redis_tls;
mod ring_mismatch;
mod runs;
mod safety;
mod server;
mod sockets;
mod status_page;
mod streams;
mod support_tests;
mod throttle;
mod tls;
mod tokens;
mod tunnels;
mod user_isolation;
mod waiting;
mod warm;
