//! Flags of a store in Redis.

use std::path::PathBuf;

use clap::Args;
use forwardcache::store::ByteSize;

/// The store that the peers of a pool share.
#[derive(Debug, Args)]
pub(crate) struct RedisArguments {
    /// Redis or Valkey as a store that all peers share, below memory and disk: redis://HOST:PORT, rediss://HOST:PORT for TLS, or
    /// redis+cluster://HOST:PORT,HOST:PORT for a cluster. USER:PASSWORD@ may precede the first host
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// Read the password of Redis from the first line of this file, again for each new connection [default: the password in the URL]
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) redis_password_file: Option<PathBuf>,

    /// Trust these root certificates (PEM) for Redis instead of those of the system
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) redis_ca_file: Option<PathBuf>,

    /// First part of all keys in Redis; peers with the same prefix share responses [default: forwardcache]
    #[arg(long, value_name = "TEXT", requires = "redis")]
    pub(crate) redis_prefix: Option<String>,

    /// Largest value in Redis: all variants of a URL [default: 1MiB]
    #[arg(long, value_name = "SIZE", requires = "redis")]
    pub(crate) redis_max_value: Option<ByteSize>,

    /// How long connecting to Redis, and each operation, may take, in milliseconds [default: 50]
    #[arg(long, value_name = "MILLISECONDS", requires = "redis", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) redis_timeout: Option<u32>,
}
