//! The peer that `serve` serves: each flag becomes an option of the library here.

use std::net::SocketAddr;
use std::time::Duration;

use forwardcache::client::NearCache;
use forwardcache::origin::{OriginBuilder, OriginLimits};
use forwardcache::peer::PeerBuilder;
use forwardcache::policy::Rules;
use forwardcache::pool::Tokens;
use forwardcache::store::{DiskStore, RedisStore};
use forwardcache::{Client, Error, Origin, Peer};

use super::arguments::{Mode, OriginArguments, Serve, ServerKind, UnknownFields};
use super::logging;
use super::optional::with;
use super::{gateway, pool, server};

/// The stores below memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stores<'a> {
    pub(super) disk: Option<&'a DiskStore>,
    pub(super) redis: Option<&'a RedisStore>,
}

/// Builds the peer. The default of `--self-url` is the address, with the scheme that the peer serves; one of both is there.
pub(super) fn build(
    arguments: &Serve,
    stores: Stores<'_>,
    tokens: Option<Tokens>,
    operator_tokens: Option<Tokens>,
    address: Option<SocketAddr>,
) -> Result<Peer, Error> {
    let scheme = scheme(arguments);
    let self_url =
        arguments.self_url.clone().or_else(|| address.map(|address| format!("{scheme}://{address}")));
    let client = pool::with_ring(&arguments.pool.ring, Client::builder());
    let builder = Peer::builder(self_url.unwrap_or_default())
        .recent_warnings(&logging::WARNINGS)
        .client(client.accept_unmarked(arguments.pool.go_peers))
        .rules(rules(arguments))
        .origin_limits(origin_limits(arguments))
        .network(network(&arguments.origin))
        .origins(arguments.origins.clone().unwrap_or_default())
        .pass_cookies(arguments.pass_cookies || arguments.pool.go_peers)
        .purge_by_anyone(arguments.allow_anyone_to_purge || arguments.tls_client_ca.is_some())
        .path(&arguments.pool.path)
        .near_cache(near_cache(arguments));
    let builder = gateway::with_forms(builder, &arguments.forward);
    let cache = &arguments.cache;
    let builder =
        with(builder, cache.max_body, |builder, size| builder.cache(|cache| cache.max_body(size.bytes())));
    let builder = with(builder, cache.cache_post, |builder, size| {
        builder.cache(|cache| cache.cache_post(size.bytes()))
    });
    let members = pool::members(&arguments.peer_list.peers)?;
    let builder = with(builder, (!members.is_empty()).then_some(members), PeerBuilder::members);
    let builder = with(builder, arguments.memory, |builder, memory| builder.memory(memory.bytes()));
    let builder = with(builder, stores.disk, PeerBuilder::disk_store);
    let builder = with(builder, stores.redis, PeerBuilder::redis);
    let builder = with(builder, tokens, PeerBuilder::tokens);
    let builder = with(builder, operator_tokens, PeerBuilder::operator_tokens);
    let builder = with(builder, arguments.cacert.as_ref(), PeerBuilder::root_certificates_file);
    let identity = arguments.tls_cert.as_ref().zip(arguments.tls_key.as_ref());
    let builder = with(builder, identity, |builder, (certificates, key)| {
        builder.client_certificate_files(certificates, key)
    });
    let peer = builder.build()?;
    peer.cache().set_offline(cache.offline);
    Ok(peer)
}

/// Returns the near cache. Only programs that do not know the pool make this process request anything from other peers.
fn near_cache(arguments: &Serve) -> NearCache {
    let list = &arguments.peer_list;
    match arguments.forward.near_memory {
        Some(size) => NearCache::new().memory(size.bytes()),
        None if list.peers.len() > 1 || list.is_external() => NearCache::new(),
        None => NearCache::new().memory(0),
    }
}

/// Returns the scheme that the peer serves.
pub(super) fn scheme(arguments: &Serve) -> &'static str {
    if arguments.tls_cert.is_some() { "https" } else { "http" }
}

/// Returns the limits of connections to origins.
fn network(arguments: &OriginArguments) -> OriginBuilder {
    let origin = Origin::builder();
    let origin = with(origin, arguments.origin_connect_timeout, OriginBuilder::connect_timeout);
    let origin = with(origin, arguments.origin_head_timeout, OriginBuilder::response_timeout);
    let origin = with(origin, arguments.origin_read_timeout, OriginBuilder::read_timeout);
    let origin = with(origin, arguments.origin_stream_timeout, OriginBuilder::stream_timeout);
    let origin = with(origin, arguments.origin_max_time, OriginBuilder::whole_timeout);
    let origin =
        with(origin, arguments.origin_max_head, |origin, size| origin.max_head(server::length(size)));
    let origin = with(origin, arguments.origin_max_fields, |origin, count| origin.max_fields(count.into()));
    with(origin, arguments.user_agent.as_deref(), OriginBuilder::user_agent)
}

fn origin_limits(arguments: &Serve) -> OriginLimits {
    let limits = OriginLimits::new().pause_origins(arguments.pause_origins);
    let limits = with(limits, arguments.origin_rate, OriginLimits::rate);
    let limits = with(limits, arguments.origin_concurrency, OriginLimits::concurrent);
    // The built-in server reports its number of workers to the peer, but tiny_http does not.
    match (arguments.server.kind, arguments.server.workers) {
        (ServerKind::TinyHttp, Some(workers)) => limits.max_waiting(usize::from(workers) / 2),
        _ => limits,
    }
}

fn rules(arguments: &Serve) -> Rules {
    let mode = match arguments.mode {
        Mode::Private => forwardcache::policy::Mode::Private,
        Mode::Shared => forwardcache::policy::Mode::Shared,
    };
    let unknown_fields = match arguments.unknown_fields {
        UnknownFields::Forward => forwardcache::policy::UnknownFields::Forward,
        UnknownFields::Vary => forwardcache::policy::UnknownFields::Vary,
        UnknownFields::Drop => forwardcache::policy::UnknownFields::Drop,
    };
    let cache = &arguments.cache;
    let rules = Rules::new(mode)
        .store_set_cookie(arguments.store_set_cookie)
        .unknown_fields(unknown_fields)
        .known_fields(arguments.known_fields.iter().cloned())
        .lifetimes(cache.lifetimes.iter().cloned())
        .fill_on_conditional(cache.fill_on_conditional)
        .fill_on_range(!cache.no_fill_on_range);
    let seconds = |value: Option<u32>| value.map(|seconds| Duration::from_secs(seconds.into()));
    let rules = with(rules, seconds(cache.stale_if_error), Rules::stale_if_error);
    let rules = with(rules, seconds(cache.stale_while_revalidate), Rules::stale_while_revalidate);
    let rules = with(rules, seconds(cache.grace), Rules::grace);
    let rules = with(rules, seconds(cache.max_heuristic_lifetime), Rules::max_heuristic_lifetime);
    let rules = with(rules, cache.jitter, Rules::jitter);
    with(rules, cache.early_refresh, Rules::early_refresh)
}
