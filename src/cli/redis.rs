//! The store in Redis.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forwardcache::store::{RedisStore, RedisStoreBuilder};

use super::arguments::RedisArguments;
use super::failure::Failure;
use super::optional::with;

/// Returns the store that the arguments specify. Connects to nothing yet.
pub(super) fn open(
    arguments: &RedisArguments,
    key_file: Option<&Path>,
) -> Result<Option<RedisStore>, Failure> {
    let Some(address) = &arguments.redis else { return Ok(None) };
    let read = |option: &str, path: &Path| {
        fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {option} {}: {error}", path.display())))
    };
    let root = arguments.redis_ca_file.as_deref();
    let root = root.map(|path| read("--redis-ca-file", path)).transpose()?;
    let builder = RedisStore::builder(address);
    let builder = with(builder, arguments.redis_password_file.as_ref(), RedisStoreBuilder::password_file);
    let builder = with(builder, root, RedisStoreBuilder::root_certificates);
    let builder = with(builder, key_file, RedisStoreBuilder::key_file);
    let builder = with(builder, arguments.redis_prefix.as_ref(), RedisStoreBuilder::prefix);
    let builder = with(builder, arguments.redis_max_value, |builder, size| builder.max_value(size.bytes()));
    let builder = with(builder, arguments.redis_timeout, |builder, timeout| {
        builder.timeout(Duration::from_millis(timeout.into()))
    });
    builder.build().map(Some).map_err(|error| Failure::Usage(format!("--redis: {error:#}")))
}
