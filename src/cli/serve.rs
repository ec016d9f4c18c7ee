//! A peer of the pool, until it is told to end.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use forwardcache::{
    Client, DiskStore, Error, ErrorKind, Member, Membership, NearCache, Origin, OriginBuilder, OriginLimits,
    Peer, PeerBuilder, Rules, ServerConfig, ServerHandle, ServerTls, ShutdownHandle, Tokens,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::{Front, Listed, Mode, OriginArguments, RingName, Serve, UnknownFields};
use super::failure::{Failure, print};
use super::server::with;
use super::{open_files, pool, server, tokens};

/// How many connections there may be at the address for operators.
const ADMIN_CONNECTIONS: usize = 256;

/// How long the end waits for what is to be written to the disk.
const FLUSHING: Duration = Duration::from_secs(5);

pub(crate) fn run(arguments: Serve) -> Result<ExitCode, Failure> {
    let (listener, address) = listen("--listen", &arguments.listen)?;
    if address.ip().is_unspecified() && arguments.self_url.is_none() {
        let text = format!("--listen {address} needs --self-url: the URL under which others reach this peer");
        return Err(Failure::Usage(text));
    }
    if arguments.store_set_cookie && !matches!(arguments.mode, Mode::Shared) {
        let text = "--store-set-cookie is about --mode shared: private mode stores them in any case";
        return Err(Failure::Usage(text.to_owned()));
    }
    let tls = tls(&arguments)?;
    let tokens = tokens::of(arguments.token_file.as_deref())?;
    let operator_tokens = arguments.operator_token_file.as_ref().map(Tokens::from_file).transpose()?;
    let (front, workers) = (arguments.front.front, arguments.front.workers);
    let options = server::options(&arguments.front, tls.clone())?;
    if !address.ip().is_loopback() {
        check_opening(&arguments, tokens.is_some(), address)?;
    }
    open_files::raise();
    let admin = arguments.admin.as_deref().map(|typed| listen("--admin", typed)).transpose()?;
    if let Some((_, address)) =
        admin.as_ref().filter(|(_, address)| !address.ip().is_loopback() && tokens.is_none())
    {
        let text =
            format!("--admin {address} is not this machine alone: say who may ask with --token-file FILE");
        return Err(Failure::Usage(text));
    }
    let (scheme, ring) = (scheme(&arguments), arguments.pool.ring.ring);
    let (listed, interval) = (arguments.listed.clone(), arguments.peers_interval);
    let drain = Duration::from_secs(arguments.drain.into());
    let has_certificates = arguments.ca_file.is_some() || arguments.tls_cert.is_some();
    let disk = disk(&arguments);
    let peer = peer(arguments, disk.as_ref(), tokens.clone(), operator_tokens.clone(), address)?;
    let membership = membership(&peer, &listed, interval, scheme)?;
    check_own_pool(&peer, &listed)?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| Failure::io("cannot listen for signals", &error))?;
    let serving = server::serve(&peer, listener, front, workers, options)?;
    let admin = match admin {
        Some((listener, address)) => {
            let options = ServerConfig::new().workers(1).io_threads(1).max_connections(ADMIN_CONNECTIONS);
            // On this machine nobody is between.
            let options = match &tls {
                Some(tls) if !address.ip().is_loopback() => options.tls(tls.clone()),
                _ => options,
            };
            Some((peer.serve_admin_on(listener, options)?, address))
        }
        None => None,
    };
    announce(&peer, &listed, scheme, ring, address, admin.as_ref().map(|(_, address)| *address))?;
    let watch = membership.map(Membership::watch).transpose()?;
    let shutdown = serving.shutdown_handle();
    let (administering, admin) = admin.map(|(admin, _)| (admin.shutdown_handle(), admin)).unzip();
    let administered = admin.map(|admin| end_together(admin, shutdown.clone()));
    let (ending, leaving) = (shutdown.clone(), peer.clone());
    thread::spawn(move || {
        let mut is_ending = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    let certificates = has_certificates.then_some(&peer);
                    reload(tls.as_ref(), certificates, [tokens.as_ref(), operator_tokens.as_ref()]);
                    if let Some(watch) = &watch {
                        watch.refresh_soon();
                    }
                }
                // Whoever asks a second time does not want to wait.
                _ if is_ending => std::process::exit(1),
                _ => {
                    is_ending = true;
                    let (peer, shutdown) = (leaving.clone(), ending.clone());
                    // Whoever asks a second time is heard meanwhile.
                    thread::spawn(move || {
                        peer.leave();
                        thread::sleep(drain);
                        shutdown.shutdown();
                    });
                }
            }
        }
    });
    serving.join();
    if disk.is_some_and(|disk| !disk.flush(FLUSHING)) {
        log::warn!("not all that was cached in the last second is on the disk");
    }
    let admin_has_failed = administering.is_some_and(|administering| {
        let has_failed = administering.has_failed();
        administering.shutdown();
        has_failed
    });
    drop(administered.map(JoinHandle::join));
    if shutdown.has_failed() || admin_has_failed {
        return Err(Failure::failed("the server has ended because one of its threads did: see the log"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The store on disk, if there is to be one. One that cannot be used is no reason not to serve.
fn disk(arguments: &Serve) -> Option<DiskStore> {
    let opened = DiskStore::open(arguments.store.as_ref()?);
    let opened = opened.inspect_err(|error| log::error!("{error}; serving without it"));
    let disk = opened.ok()?;
    Some(match arguments.disk {
        Some(size) => disk.capacity(size.bytes()),
        None => disk,
    })
}

/// Shuts the other server down too when this one ends.
fn end_together(admin: ServerHandle, other: ShutdownHandle) -> JoinHandle<()> {
    thread::spawn(move || {
        admin.join();
        other.shutdown();
    })
}

/// A socket that listens where an option says, and its address.
fn listen(option: &str, typed: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let resolved: Vec<SocketAddr> = typed
        .to_socket_addrs()
        .map_err(|error| {
            let form = "write HOST:PORT, such as 127.0.0.1:3000";
            Failure::Usage(format!("{option} {typed:?}: {error}: {form}"))
        })?
        .collect();
    let listener = TcpListener::bind(&resolved[..]).map_err(|error| {
        Error::new(ErrorKind::Listen, format!("cannot listen on {typed}")).with_source(error)
    })?;
    let address = listener.local_addr().map_err(|error| Failure::io("cannot listen", &error))?;
    Ok((listener, address))
}

/// A cache that fetches what it is asked for is a way into the network that it stands in: for others than
/// this machine it is opened by those alone who have said for whom, and to what.
fn check_opening(arguments: &Serve, has_tokens: bool, address: SocketAddr) -> Result<(), Failure> {
    let who = "who may ask: --token-file FILE, --tls-client-ca FILE (with --tls-cert), or --allow-anyone";
    let what = "what may be fetched: --origins public, any, or RULE,...";
    let mut missing = Vec::new();
    if !has_tokens && arguments.tls_client_ca.is_none() && !arguments.allow_anyone {
        missing.push(who);
    }
    if arguments.origins.is_none() {
        missing.push(what);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("--listen {address} is not this machine alone: say {}", missing.join("; and "));
    Err(Failure::Usage(text))
}

/// Reads certificates and tokens again. What cannot be read stays as it was.
fn reload(tls: Option<&ServerTls>, peer: Option<&Peer>, [tokens, operator_tokens]: [Option<&Tokens>; 2]) {
    let read = [
        tls.map(|tls| ("certificates", tls.reload())),
        peer.map(|peer| ("certificates for other peers and origins", peer.reload_certificates())),
        tokens.map(|tokens| ("tokens", tokens.reload())),
        operator_tokens.map(|tokens| ("operator tokens", tokens.reload())),
    ];
    for (what, result) in read.into_iter().flatten() {
        match result {
            Ok(()) => log::info!("the {what} were read anew"),
            Err(error) => log::error!("the {what} stay as they are: {error}"),
        }
    }
}

/// Its pool as the list says that is kept elsewhere, if one is.
fn membership(
    peer: &Peer,
    listed: &Listed,
    interval: Option<u32>,
    scheme: &str,
) -> Result<Option<Membership>, Error> {
    let Some(members) = listed.members(scheme)? else { return Ok(None) };
    let mut membership = Membership::new(peer.client(), members);
    membership.refresh(SystemTime::now())?;
    if let Some(seconds) = interval {
        membership = membership.interval(Duration::from_secs(seconds.into()));
    }
    // From the next list on it is a warning that this peer is not in it; now it is an error.
    Ok(Some(membership.self_url(peer.self_url().clone())))
}

fn check_own_pool(peer: &Peer, listed: &Listed) -> Result<(), Error> {
    let own = peer.self_url();
    if peer.client().pool().contains(own) {
        return Ok(());
    }
    let text = if listed.is_elsewhere() {
        format!(
            "this peer ({own}) is not in the list of peers: name it there, or by --self-url as it stands there"
        )
    } else {
        format!("this peer ({own}) is not in its own pool: name it with --peer, as the others do")
    };
    Err(Error::new(ErrorKind::BadPeer, text))
}

/// What it serves TLS with, if it is to.
fn tls(arguments: &Serve) -> Result<Option<ServerTls>, Error> {
    let (Some(certificates), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else {
        return Ok(None);
    };
    let tls = ServerTls::from_files(certificates, key)?;
    match &arguments.tls_client_ca {
        Some(roots) => tls.client_certificates_from(roots).map(Some),
        None => Ok(Some(tls)),
    }
}

fn peer(
    arguments: Serve,
    disk: Option<&DiskStore>,
    tokens: Option<Tokens>,
    operator_tokens: Option<Tokens>,
    address: SocketAddr,
) -> Result<Peer, Error> {
    let scheme = scheme(&arguments);
    let self_url = arguments.self_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let builder = Peer::builder(self_url)
        .client(
            pool::placing(&arguments.pool.ring, Client::builder()).accept_unmarked(arguments.pool.go_peers),
        )
        .rules(rules(&arguments))
        .origin_limits(origin_limits(&arguments))
        .network(network(&arguments.network))
        .origins(arguments.origins.unwrap_or_default())
        .pass_cookies(arguments.pass_cookies || arguments.pool.go_peers)
        .purge_by_anyone(arguments.allow_anyone_to_purge || arguments.tls_client_ca.is_some())
        .path(arguments.pool.path)
        // It answers, and asks no other peer: all of the memory is for its share.
        .near_cache(NearCache::new().memory(0));
    let caching = arguments.caching;
    let builder = with(builder, caching.max_body, |builder, size| {
        builder.caching(|cache| cache.max_body(size.bytes()))
    });
    let builder = with(builder, caching.cache_post, |builder, size| {
        builder.caching(|cache| cache.cache_post(size.bytes()))
    });
    let members = pool::members(&arguments.listed.peers)?;
    let builder = with(builder, (!members.is_empty()).then_some(members), PeerBuilder::members);
    let builder = with(builder, arguments.memory, |builder, memory| builder.memory(memory.bytes()));
    let builder = with(builder, disk, PeerBuilder::disk);
    let builder = with(builder, tokens, PeerBuilder::tokens);
    let builder = with(builder, operator_tokens, PeerBuilder::operator_tokens);
    let builder = with(builder, arguments.ca_file, PeerBuilder::root_certificates_file);
    let identity = arguments.tls_cert.zip(arguments.tls_key);
    let builder = with(builder, identity, |builder, (certificates, key)| {
        builder.client_certificate_files(certificates, key)
    });
    let peer = builder.build()?;
    peer.caching().set_offline(caching.offline);
    Ok(peer)
}

/// The limits towards origins that were said.
fn network(typed: &OriginArguments) -> OriginBuilder {
    let set = Origin::builder();
    let set = with(set, typed.origin_connect_timeout, OriginBuilder::connect_timeout);
    let set = with(set, typed.origin_head_timeout, OriginBuilder::response_timeout);
    let set = with(set, typed.origin_read_timeout, OriginBuilder::read_timeout);
    let set = with(set, typed.origin_stream_timeout, OriginBuilder::stream_timeout);
    let set = with(set, typed.origin_max_time, OriginBuilder::whole_timeout);
    let set = with(set, typed.max_origin_head, |set, size| set.max_head(server::length(size)));
    let set = with(set, typed.max_origin_fields, |set, count| set.max_fields(count.into()));
    with(set, typed.user_agent.as_deref(), OriginBuilder::user_agent)
}

fn scheme(arguments: &Serve) -> &'static str {
    if arguments.tls_cert.is_some() { "https" } else { "http" }
}

fn origin_limits(arguments: &Serve) -> OriginLimits {
    let origin_limits = OriginLimits::new().pause_origins(arguments.pause_origins);
    let origin_limits = with(origin_limits, arguments.origin_rate, OriginLimits::rate);
    let origin_limits = with(origin_limits, arguments.origin_concurrency, OriginLimits::concurrent);
    // The front on tiny_http does not say how many answer.
    match (arguments.front.front, arguments.front.workers) {
        (Front::TinyHttp, Some(workers)) => origin_limits.max_waiting(usize::from(workers) / 2),
        _ => origin_limits,
    }
}

fn rules(arguments: &Serve) -> Rules {
    let mut rules = Rules::new(match arguments.mode {
        Mode::Private => forwardcache::Mode::Private,
        Mode::Shared => forwardcache::Mode::Shared,
    });
    rules.store_set_cookie = arguments.store_set_cookie;
    rules.unknown_fields = match arguments.unknown_fields {
        UnknownFields::Forward => forwardcache::UnknownFields::Forward,
        UnknownFields::Select => forwardcache::UnknownFields::Select,
        UnknownFields::Drop => forwardcache::UnknownFields::Drop,
    };
    rules.known_fields.clone_from(&arguments.known_fields);
    let typed = &arguments.caching;
    rules.lifetimes.clone_from(&typed.lifetimes);
    let seconds =
        |typed: Option<u32>, default| typed.map_or(default, |typed| Duration::from_secs(typed.into()));
    rules.stale_on_error = seconds(typed.stale_on_error, rules.stale_on_error);
    rules.stale_while_revalidate = seconds(typed.stale_while_revalidate, rules.stale_while_revalidate);
    rules.grace = seconds(typed.grace, rules.grace);
    rules.heuristic_cap = seconds(typed.heuristic_cap, rules.heuristic_cap);
    rules.jitter = typed.jitter.unwrap_or(rules.jitter);
    rules.early_refresh = typed.early_refresh.unwrap_or(rules.early_refresh);
    rules.fill_on_conditional = typed.fill_on_conditional;
    rules.fill_on_range = !typed.no_fill_on_range;
    rules
}

/// Says where it serves, and how to try it.
fn announce(
    peer: &Peer,
    listed: &Listed,
    scheme: &str,
    ring: RingName,
    address: SocketAddr,
    admin: Option<SocketAddr>,
) -> Result<(), Failure> {
    let count = peer.client().pool().len();
    let pool = if count == 1 { "a pool of one".to_owned() } else { format!("one of a pool of {count}") };
    // With several peers, finding the owner is the work of a client.
    let try_it = if count == 1 {
        let peer_path = format!("{}{}", peer.self_url(), peer.path());
        format!("curl -i --get --data-urlencode 'q=https://example.com/' {peer_path}")
    } else {
        let ring = if ring == RingName::Rendezvous { " --ring rendezvous" } else { "" };
        let by_url = || peer.members().iter().map(|member| format!(" --peer {}", quoted(member))).collect();
        let peers: String = listed.typed(scheme).unwrap_or_else(by_url);
        format!("forwardcache get -i{ring}{peers} https://example.com/")
    };
    let admin = admin.map(|address| format!("metrics on http://{address}/metrics\n")).unwrap_or_default();
    print(format_args!("serving on {scheme}://{address} as {pool}\n{admin}try it: {try_it}\n"))
}

/// As a shell takes it for one word.
fn quoted(member: &Member) -> String {
    let text = member.to_string();
    if text.contains(' ') { format!("'{text}'") } else { text }
}
