//! `forwardcache gateway`: a local helper that sends the requests of any program to the pool.

use std::process::ExitCode;
#[cfg(unix)]
use std::sync::Arc;
use std::thread;

use forwardcache::client::{ClientBuilder, Membership, NearCache};
use forwardcache::peer::PeerBuilder;
use forwardcache::pool::Tokens;
use forwardcache::server::{Listener, ServerConfig};
use forwardcache::store::ByteSize;
use forwardcache::{Client, Peer};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::arguments::{ForwardArguments, Gateway};
use super::failure::{Failure, print};
use super::listen::{self, Inherited};
use super::optional::with;
#[cfg(unix)]
use super::successor::{self, Sockets};
use super::{announce, notify, open_files, pool, signals, tokens};

/// The URL of a gateway that has only Unix sockets: no name ends like this (RFC 6761), so no request is for it.
const NO_URL: &str = "http://gateway.invalid";

/// The number of threads that may wait for peers.
const WORKERS: usize = 1024;

pub(crate) fn run(arguments: &Gateway) -> Result<ExitCode, Failure> {
    let listeners = Inherited::take()?.open_all(&arguments.listen, listen::GATEWAY_DEFAULT)?;
    let addresses = || listeners.iter().filter_map(Listener::local_addr);
    let access = &arguments.access;
    let pool_tokens = tokens::load(access.token_file.as_deref())?;
    let client_tokens = arguments.client_token_file.as_ref().map(Tokens::from_file).transpose()?;
    let reachable = addresses().find(|address| !address.ip().is_loopback());
    if let Some(address) = reachable.filter(|_| client_tokens.is_none()) {
        let text = format!(
            "--listen {address} is not a loopback address: require a token with --client-token-file FILE"
        );
        return Err(Failure::Usage(text));
    }
    open_files::raise_limit();
    let own_url = addresses().next().map_or(NO_URL.to_owned(), |address| format!("http://{address}"));
    let builder = Peer::builder(own_url);
    // Sets also the tokens of the client, which the next lines replace.
    let builder = with(builder, client_tokens.clone(), PeerBuilder::tokens);
    let client = pool::with_ring(&access.pool.ring, Client::builder()).accept_unmarked(access.pool.go_peers);
    let identity = access.cert.as_ref().zip(access.key.as_ref());
    let client = with(client, identity, |client, (certificates, key)| {
        client.client_certificate_files(certificates, key)
    });
    let client = with(client, pool_tokens.clone(), ClientBuilder::tokens);
    let memory = arguments.memory.bytes();
    let near_memory = arguments.forward.near_memory.map_or(memory / 2, ByteSize::bytes);
    let builder = builder
        .client(client)
        .path(&access.pool.path)
        .members(pool::members(&access.peer_list.peers)?)
        .memory(memory)
        .near_cache(NearCache::new().memory(near_memory))
        .origins(arguments.origins.clone().unwrap_or_default())
        .gateway(true);
    let builder = with_forms(builder, &arguments.forward);
    let peer = with(builder, access.cacert.as_ref(), PeerBuilder::root_certificates_file).build()?;
    peer.cache().set_offline(arguments.peers_only);
    let membership = super::serve::membership(&peer, &access.peer_list, None, "http")?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR2])
        .map_err(|error| Failure::io("cannot install signal handlers", &error))?;
    let config = ServerConfig::new().workers(WORKERS).http_proxy(true);
    let announcement = announce::of_gateway(&peer, &listeners, arguments.client_token_file.as_deref());
    #[cfg(unix)]
    let sockets = Sockets::of(&listeners, &[])
        .map_err(|error| Failure::io("cannot duplicate the listening sockets", &error))?;
    let server = peer.serve_on(listeners, config)?;
    print(format_args!("{announcement}"))?;
    let watcher = membership.map(Membership::watch).transpose()?;
    let shutdown = server.shutdown_handle();
    thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    if let Some(watcher) = &watcher {
                        watcher.refresh_soon();
                    }
                    let tokens = [&pool_tokens, &client_tokens].into_iter().flatten();
                    let reloaded = tokens.map(Tokens::reload).chain([peer.reload_certificates()]);
                    for error in reloaded.filter_map(Result::err) {
                        log::error!("cannot reload: {error:#}; the previous ones stay in use");
                    }
                }
                #[cfg(unix)]
                SIGUSR2 => signals::hand_over(Arc::clone(&sockets), vec![shutdown.clone()]),
                _ => {
                    notify::send("STOPPING=1");
                    shutdown.shutdown();
                }
            }
        }
    });
    #[cfg(unix)]
    if let Err(error) = successor::report_ready() {
        log::warn!("cannot report to the previous process: {error}");
    }
    notify::send("READY=1");
    server.join();
    Ok(ExitCode::SUCCESS)
}

/// Sets the options of the forms in which any program can request a URL.
pub(super) fn with_forms(builder: PeerBuilder, arguments: &ForwardArguments) -> PeerBuilder {
    let builder = builder.allow_pages(arguments.allow_pages);
    let ports = (!arguments.connect_ports.is_empty()).then(|| arguments.connect_ports.clone());
    let builder = with(builder, ports, PeerBuilder::connect_ports);
    arguments.mirrors.iter().cloned().fold(builder, PeerBuilder::mirror)
}
