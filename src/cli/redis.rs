//! The store in Redis, if the command was built with the feature.

#[cfg(feature = "redis")]
pub(super) use available::{RedisStore, add, flush, open};
#[cfg(not(feature = "redis"))]
pub(super) use unavailable::{RedisStore, add, flush, open};

#[cfg(feature = "redis")]
mod available {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use forwardcache::peer::PeerBuilder;
    pub(in super::super) use forwardcache::store::RedisStore;
    use forwardcache::store::RedisStoreBuilder;

    use super::super::arguments::RedisArguments;
    use super::super::failure::Failure;
    use super::super::optional::with;

    /// Returns the store that the arguments specify. Connects to nothing yet.
    pub(in super::super) fn open(
        arguments: &RedisArguments,
        key_file: Option<&Path>,
    ) -> Result<Option<RedisStore>, Failure> {
        let Some(address) = &arguments.redis else { return Ok(None) };
        let read = |option: &str, path: &Path| {
            fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("cannot read {option} {}: {error}", path.display())))
        };
        let password = arguments.redis_password_file.as_deref();
        let password = password.map(|path| read("--redis-password-file", path)).transpose()?;
        let root = arguments.redis_ca_file.as_deref();
        let root = root.map(|path| read("--redis-ca-file", path)).transpose()?;
        let builder = RedisStore::builder(address);
        let first_line = password.as_deref().map(|text| text.lines().next().unwrap_or_default());
        let builder = with(builder, first_line, RedisStoreBuilder::password);
        let builder = with(builder, root, RedisStoreBuilder::root_certificates);
        let builder = with(builder, key_file, RedisStoreBuilder::key_file);
        let builder = with(builder, arguments.redis_prefix.as_ref(), RedisStoreBuilder::prefix);
        let builder =
            with(builder, arguments.redis_max_value, |builder, size| builder.max_value(size.bytes()));
        let builder = with(builder, arguments.redis_timeout, |builder, timeout| {
            builder.timeout(Duration::from_millis(timeout.into()))
        });
        builder.build().map(Some).map_err(|error| Failure::Usage(format!("--redis: {error:#}")))
    }

    pub(in super::super) fn add(builder: PeerBuilder, store: &RedisStore) -> PeerBuilder {
        builder.redis(store)
    }

    pub(in super::super) fn flush(store: &RedisStore, within: Duration) -> bool {
        store.flush(within)
    }
}

#[cfg(not(feature = "redis"))]
mod unavailable {
    use std::path::Path;
    use std::time::Duration;

    use forwardcache::peer::PeerBuilder;

    use super::super::arguments::RedisArguments;
    use super::super::failure::Failure;

    /// A store that does not exist.
    #[derive(Debug)]
    pub(in super::super) enum RedisStore {}

    /// Fails if the arguments specify a store.
    pub(in super::super) fn open(
        arguments: &RedisArguments,
        _: Option<&Path>,
    ) -> Result<Option<RedisStore>, Failure> {
        let RedisArguments {
            redis,
            redis_password_file: _,
            redis_ca_file: _,
            redis_prefix: _,
            redis_max_value: _,
            redis_timeout: _,
        } = arguments;
        match redis {
            None => Ok(None),
            Some(_) => {
                let text =
                    "--redis needs a command that was built with --features redis, and this one was not";
                Err(Failure::Usage(text.to_owned()))
            }
        }
    }

    pub(in super::super) fn add(_: PeerBuilder, store: &RedisStore) -> PeerBuilder {
        match *store {}
    }

    pub(in super::super) fn flush(store: &RedisStore, _: Duration) -> bool {
        match *store {}
    }
}
