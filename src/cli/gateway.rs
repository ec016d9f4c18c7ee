//! `forwardcache gateway`: a local helper that sends the requests of any program to the pool.

use std::process::ExitCode;
use std::thread;

use forwardcache::client::{ClientBuilder, Membership, NearCache};
use forwardcache::peer::PeerBuilder;
use forwardcache::pool::Tokens;
use forwardcache::server::ServerConfig;
use forwardcache::store::ByteSize;
use forwardcache::{Client, Peer};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::{ForwardArguments, Gateway};
use super::failure::{Failure, print};
use super::optional::with;
use super::{announce, listen, open_files, pool, tokens};

/// The number of threads that may wait for peers.
const WORKERS: usize = 1024;

pub(crate) fn run(arguments: &Gateway) -> Result<ExitCode, Failure> {
    let listener = listen::bind("--listen", &arguments.listen)?;
    let address = listener
        .local_addr()
        .ok_or_else(|| Failure::Usage("--listen of a gateway must be HOST:PORT".to_owned()))?;
    let access = &arguments.access;
    let pool_tokens = tokens::load(access.token_file.as_deref())?;
    let client_tokens = arguments.client_token_file.as_ref().map(Tokens::from_file).transpose()?;
    if !address.ip().is_loopback() && client_tokens.is_none() {
        let text = format!(
            "--listen {address} is not a loopback address: require a token with --client-token-file FILE"
        );
        return Err(Failure::Usage(text));
    }
    open_files::raise_limit();
    let builder = Peer::builder(format!("http://{address}"));
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
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| Failure::io("cannot install signal handlers", &error))?;
    let config = ServerConfig::new().workers(WORKERS).http_proxy(true);
    let server = peer.serve_on(listener, config)?;
    let pool = match peer.client().pool().len() {
        1 => "a pool of one".to_owned(),
        count => format!("a pool of {count}"),
    };
    let user = arguments.client_token_file.as_ref().map_or_else(String::new, |path| {
        format!(" --proxy-user \"token:$(head -n 1 {})\"", announce::file(path))
    });
    print(format_args!(
        "gateway to {pool} on http://{address}\ntry it: curl -i -x http://{address}{user} http://example.com/\n"
    ))?;
    let watcher = membership.map(Membership::watch).transpose()?;
    let shutdown = server.shutdown_handle();
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal != SIGHUP {
                shutdown.shutdown();
                break;
            }
            if let Some(watcher) = &watcher {
                watcher.refresh_soon();
            }
            let tokens = [&pool_tokens, &client_tokens].into_iter().flatten();
            let reloaded = tokens.map(Tokens::reload).chain([peer.reload_certificates()]);
            for error in reloaded.filter_map(Result::err) {
                log::error!("cannot reload: {error:#}; the previous ones stay in use");
            }
        }
    });
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
