//! Flags for programs that do not know the pool: forward proxy, mirrors, `gateway`.

use std::path::PathBuf;

use clap::Args;
use forwardcache::origin::OriginRules;
use forwardcache::peer::Mirror;
use forwardcache::store::ByteSize;

use super::pool::PoolAccess;

/// Flags of `serve` and `gateway` for the forms in which any program can request a URL.
#[derive(Debug, Args)]
pub(crate) struct ForwardArguments {
    /// Serve an origin below /mirror/NAME/, for programs that take a base URL; may be repeated
    ///
    /// The options after the URL are credentials=FILE (USER:PASSWORD or Bearer TOKEN for the origin),
    /// ignore-client-cache-control (serve a fresh response even if the client demands validation), and rewrite=HOST,...
    /// (in HTML and JSON, let the URLs of these hosts lead to this peer).
    /// Example: --mirror 'pypi=https://pypi.org/ rewrite=files.pythonhosted.org'
    #[arg(long = "mirror", value_name = "NAME=URL")]
    pub(crate) mirrors: Vec<Mirror>,

    /// Ports to which tunnels (CONNECT) may lead [default: 443]
    #[arg(long, value_name = "PORT,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connect_ports: Vec<u16>,

    /// Let browsers run pages that they receive below /fetch/ or /mirror/. The page of one site can then read what the
    /// user receives of the others [default: such responses carry Content-Security-Policy:
    /// sandbox allow-downloads, so that only links that the user clicks work]
    #[arg(long)]
    pub(crate) allow_pages: bool,

    /// Memory for copies of responses that are often requested here and that other peers own, as a part of --memory; 0
    /// keeps none [default: a sixteenth of --memory, half of it for gateway; serve without other peers: 0]
    #[arg(long, value_name = "SIZE")]
    pub(crate) near_memory: Option<ByteSize>,
}

/// Flags of `gateway`.
#[derive(Debug, Args)]
#[command(mut_group("peer_list", |list| list.required(true)))]
pub(crate) struct Gateway {
    /// Address to serve on, HOST:PORT or unix:PATH; may be repeated. Port 0 takes a free port. Only this user may connect to
    /// a Unix socket, unless ,mode=MODE follows its path, such as unix:/run/gateway.sock,mode=660. SIGUSR2 starts a
    /// successor, which takes the sockets over [default: 127.0.0.1:3128, or the sockets of the service manager]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) access: PoolAccess,

    #[command(flatten)]
    pub(crate) forward: ForwardArguments,

    /// Require a token of this file from programs, so that those of other machines may use the gateway too [default:
    /// only programs on this machine may use it]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_token_file: Option<PathBuf>,

    /// Memory limit of the gateway
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub(crate) memory: ByteSize,

    /// Fail if no peer is available, instead of fetching directly from the origin
    #[arg(long)]
    pub(crate) peers_only: bool,

    /// Origins that may be requested, as for serve [default: any]
    #[arg(long, value_name = "public|any|RULE,...")]
    pub(crate) origins: Option<OriginRules>,
}
