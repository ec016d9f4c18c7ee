//! `forwardcache serve`: serves a peer until a signal.
//!
//! SIGHUP reloads certificates, tokens and the list of peers. SIGINT and SIGTERM shut the peer down after the drain time;
//! a second one exits at once. SIGUSR2 starts a successor, which takes the sockets over.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use forwardcache::client::Membership;
use forwardcache::pool::Tokens;
use forwardcache::server::{Listener, ServerConfig, ServerHandle, ServerTls, ShutdownHandle};
use forwardcache::store::DiskStore;
use forwardcache::{Error, ErrorKind, Peer};

use super::arguments::{Mode, PeerList, Serve, ServerKind};
use super::config::Sources;
use super::failure::{Failure, print};
use super::listen::{self, Inherited, Place};
use super::reload::Reload;
use super::serve_flags_to_options::Stores;
use super::signals::{self, Running};
#[cfg(unix)]
use super::successor::{self, Sockets};
use super::{announce, notify, open_files, redis, serve_flags_to_options, server, tokens};

/// The limit of open connections at the admin address.
const ADMIN_CONNECTIONS: usize = 256;

/// How long the shutdown waits for pending writes to the disk, to Redis and to the access log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(arguments: &Serve, sources: Sources) -> Result<ExitCode, Failure> {
    for variable in sources.unknown_variables() {
        log::warn!("{variable} is ignored: it is not an option of serve");
    }
    let mut inherited = Inherited::take()?;
    let mut open = |flag, value: &Option<String>| {
        value.as_deref().map(|value| inherited.open_for(flag, value)).transpose()
    };
    let admin = open("--admin", &arguments.admin)?;
    let proxy = open("--http-proxy-listen", &arguments.http_proxy_listen)?;
    let listeners = inherited.open_all(&arguments.listen, listen::SERVE_DEFAULT)?;
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(Listener::local_addr).collect();
    let address = own_address(arguments, &addresses)?;
    check_mode(arguments)?;
    let tls = tls(arguments)?;
    let tokens = tokens::load(arguments.token_file.as_deref())?;
    let operator_tokens = arguments.operator_token_file.as_ref().map(Tokens::from_file).transpose()?;
    let (server_kind, workers) = (arguments.server.kind, arguments.server.workers);
    let access_log = server::access_log(&arguments.server)?;
    let config = server::config(&arguments.server, tls.clone(), access_log.clone())?;
    check_access_is_explicit(arguments, tokens.is_some(), &addresses)?;
    open_files::raise_limit();
    let admin_address = admin.as_ref().and_then(Listener::local_addr);
    if let Some(address) = admin_address.filter(|address| !address.ip().is_loopback() && tokens.is_none()) {
        let text =
            format!("--admin {address} is not a loopback address: require a token with --token-file FILE");
        return Err(Failure::Usage(text));
    }
    let scheme = serve_flags_to_options::scheme(arguments);
    let (peer_list, interval) = (arguments.peer_list.clone(), arguments.peers_interval);
    let drain = Duration::from_secs(arguments.drain_time.into());
    let has_certificates = arguments.cacert.is_some() || arguments.tls_cert.is_some();
    let disk = disk(arguments);
    let redis = redis::open(&arguments.redis, arguments.store_key_file.as_deref())?;
    let stores = Stores { disk: disk.as_ref(), redis: redis.as_ref() };
    let peer =
        serve_flags_to_options::build(arguments, stores, tokens.clone(), operator_tokens.clone(), address)?;
    let membership = membership(&peer, &peer_list, interval, scheme)?;
    check_own_pool(&peer, &peer_list)?;
    let signals = signals::install()?;
    let announcement = announce::text(arguments, &peer, tokens.is_some(), &listeners, admin.as_ref());
    #[cfg(unix)]
    let sockets = (server_kind == ServerKind::Event)
        .then(|| {
            Sockets::of(&listeners, &[("--admin", admin.as_ref()), ("--http-proxy-listen", proxy.as_ref())])
        })
        .transpose()
        .map_err(|error| Failure::io("cannot duplicate the listening sockets", &error))?;
    let proxy = match proxy {
        Some(listener) => Some(peer.serve_on(listener, config.clone().http_proxy(true))?),
        None => None,
    };
    let config = config.http_proxy(arguments.http_proxy);
    let server = server::serve(&peer, listeners, server_kind, workers, config)?;
    let admin = match admin {
        Some(listener) => {
            let config = ServerConfig::new().workers(1).io_threads(1).max_connections(ADMIN_CONNECTIONS);
            // A connection on a loopback address never leaves this machine, so it needs no TLS.
            let config = match &tls {
                Some(tls) if admin_address.is_some_and(|address| !address.ip().is_loopback()) => {
                    config.tls(tls.clone())
                }
                _ => config,
            };
            Some(peer.serve_admin_on(listener, config)?)
        }
        None => None,
    };
    print(announcement)?;
    let watcher = membership.map(Membership::watch).transpose()?;
    let shutdown = server.shutdown_handle();
    let (admin_shutdown, admin) = admin.map(|admin| (admin.shutdown_handle(), admin)).unzip();
    let proxy_shutdown = proxy.as_ref().map(ServerHandle::shutdown_handle);
    let proxy_thread = proxy.map(|proxy| shut_down_together(proxy, shutdown.clone()));
    let admin_thread = admin.map(|admin| shut_down_together(admin, shutdown.clone()));
    let reload =
        Reload { peer: peer.clone(), has_certificates, tls, tokens, operator_tokens, watcher, sources };
    let servers = [Some(shutdown.clone()), admin_shutdown.clone(), proxy_shutdown.clone()];
    let servers = servers.into_iter().flatten().collect();
    let running = Running {
        peer,
        reload,
        access_log: access_log.clone(),
        drain,
        servers,
        #[cfg(unix)]
        sockets,
    };
    running.handle(signals);
    #[cfg(unix)]
    if let Err(error) = successor::report_ready() {
        log::warn!("cannot report to the previous process: {error}");
    }
    notify::send("READY=1");
    server.join();
    if disk.is_some_and(|disk| !disk.flush(FLUSH_TIMEOUT)) {
        log::warn!("some responses that were stored in the last second are not on disk");
    }
    if redis.is_some_and(|redis| !redis.flush(FLUSH_TIMEOUT)) {
        log::warn!("some of the responses that were stored last are not in Redis");
    }
    if access_log.is_some_and(|log| !log.flush(FLUSH_TIMEOUT)) {
        log::warn!("some lines of the access log are not written");
    }
    let admin_has_failed = admin_shutdown.is_some_and(|admin| {
        let has_failed = admin.has_failed();
        admin.shutdown();
        has_failed
    });
    let proxy_has_failed = proxy_shutdown.is_some_and(|proxy| {
        let has_failed = proxy.has_failed();
        proxy.shutdown();
        has_failed
    });
    [admin_thread, proxy_thread].into_iter().flatten().for_each(|thread| drop(JoinHandle::join(thread)));
    if shutdown.has_failed() || admin_has_failed || proxy_has_failed {
        return Err(Failure::failed("the server stopped because one of its threads failed: see the log"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the options as [`run`] does, but opens no socket and no store.
///
/// # Errors
///
/// The failure with which [`run`] would end.
pub(crate) fn check(arguments: &Serve) -> Result<(), Failure> {
    let places = listen::places_or_default(&arguments.listen, listen::SERVE_DEFAULT)?;
    let mut addresses: Vec<SocketAddr> = places.iter().filter_map(Place::address).collect();
    // Any number stands for the free port that `run` takes.
    addresses.iter_mut().filter(|address| address.port() == 0).for_each(|address| address.set_port(1));
    let address = own_address(arguments, &addresses)?;
    for (flag, value) in
        [("--admin", &arguments.admin), ("--http-proxy-listen", &arguments.http_proxy_listen)]
    {
        value.as_deref().map(|value| Place::parse(flag, value)).transpose()?;
    }
    check_mode(arguments)?;
    let tls = tls(arguments)?;
    let tokens = tokens::load(arguments.token_file.as_deref())?;
    let operator_tokens = arguments.operator_token_file.as_ref().map(Tokens::from_file).transpose()?;
    server::config(&arguments.server, tls, server::access_log(&arguments.server)?)?;
    check_access_is_explicit(arguments, tokens.is_some(), &addresses)?;
    let scheme = serve_flags_to_options::scheme(arguments);
    let redis = redis::open(&arguments.redis, None)?;
    let stores = Stores { disk: None, redis: redis.as_ref() };
    let peer = serve_flags_to_options::build(arguments, stores, tokens, operator_tokens, address)?;
    membership(&peer, &arguments.peer_list, arguments.peers_interval, scheme)?;
    Ok(check_own_pool(&peer, &arguments.peer_list)?)
}

/// Checks the options that depend on `--mode`.
fn check_mode(arguments: &Serve) -> Result<(), Failure> {
    if arguments.store_set_cookie && !matches!(arguments.mode, Mode::Shared) {
        let text = "--store-set-cookie requires --mode shared: private mode always stores responses that set cookies";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}

/// Opens the store on disk. If it cannot be opened, the peer serves without it, so this only logs an error.
fn disk(arguments: &Serve) -> Option<DiskStore> {
    let opened = DiskStore::open(arguments.store.as_ref()?);
    let disk = opened.inspect_err(|error| log::error!("{error:#}; serving without it")).ok()?;
    if let Some(file) = &arguments.store_key_file
        && let Err(error) = disk.clone().key_file(file)
    {
        log::error!("{error:#}; responses that depend on credentials stay in memory");
    }
    Some(match arguments.disk {
        Some(size) => disk.capacity(size.bytes()),
        None => disk,
    })
}

/// Starts a thread that shuts down the other server when this one stops.
fn shut_down_together(server: ServerHandle, other: ShutdownHandle) -> JoinHandle<()> {
    thread::spawn(move || {
        server.join();
        other.shutdown();
    })
}

/// Returns the address of the default of `--self-url`, which is required if there is none.
fn own_address(arguments: &Serve, addresses: &[SocketAddr]) -> Result<Option<SocketAddr>, Failure> {
    let unspecified = addresses.iter().find(|address| address.ip().is_unspecified());
    if arguments.self_url.is_none() && (unspecified.is_some() || addresses.is_empty()) {
        let place = unspecified.map_or("unix:PATH".to_owned(), SocketAddr::to_string);
        let text = format!(
            "--listen {place} requires --self-url: the base URL under which other peers reach this peer"
        );
        return Err(Failure::Usage(text));
    }
    Ok(addresses.first().copied())
}

/// Checks that the flags specify which clients and which origins are allowed.
///
/// A cache that fetches any URL for any client opens the network in which it runs. On an address that other machines
/// can reach, neither setting therefore has a default.
fn check_access_is_explicit(
    arguments: &Serve,
    has_tokens: bool,
    addresses: &[SocketAddr],
) -> Result<(), Failure> {
    let is_reachable = |address: &&SocketAddr| !address.ip().is_loopback();
    let reason = match (addresses.iter().find(is_reachable), arguments.server.proxy_protocol_from.first()) {
        (Some(address), _) => format!("--listen {address} is not a loopback address"),
        (None, Some(_)) => "--proxy-protocol-from admits clients of other machines".to_owned(),
        (None, None) => return Ok(()),
    };
    let clients = "which clients are allowed (--token-file FILE, --tls-client-ca FILE with --tls-cert, or --allow-anyone)";
    let origins = "which origins may be fetched (--origins public, any, or RULE,...)";
    let mut missing = Vec::new();
    if !has_tokens && arguments.tls_client_ca.is_none() && !arguments.allow_anyone {
        missing.push(clients);
    }
    if arguments.origins.is_none() {
        missing.push(origins);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("{reason}: specify {}", missing.join(" and "));
    Err(Failure::Usage(text))
}

/// Loads an external list of peers into the peer. Returns `None` if the list is not external.
pub(super) fn membership(
    peer: &Peer,
    peer_list: &PeerList,
    interval: Option<u32>,
    scheme: &str,
) -> Result<Option<Membership>, Error> {
    let Some(discovery) = peer_list.discovery(scheme)? else { return Ok(None) };
    let mut membership = Membership::new(peer.client(), discovery);
    membership.refresh(SystemTime::now())?;
    if let Some(seconds) = interval {
        membership = membership.interval(Duration::from_secs(seconds.into()));
    }
    // With its own URL set, the membership only warns if a list lacks this peer. For the first list that is an error,
    // which `check_own_pool` returns, so the URL is set after the first refresh.
    Ok(Some(membership.self_url(peer.self_url().clone())))
}

/// Checks that the pool includes the peer itself.
fn check_own_pool(peer: &Peer, peer_list: &PeerList) -> Result<(), Error> {
    let own = peer.self_url();
    if peer.client().pool().contains(own) {
        return Ok(());
    }
    let text = if peer_list.is_external() {
        format!(
            "this peer ({own}) is not in the list of peers: add it, or set --self-url to its URL in the list"
        )
    } else {
        format!("this peer ({own}) is not in its own pool: add it with --peer, as on the other peers")
    };
    Err(Error::new(ErrorKind::BadPeer, text))
}

/// Loads the certificate of the server. Returns `None` if TLS is off.
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
