//! Flags that several subcommands share: the list of peers, the ring, and access to the pool.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The peers of the pool.
#[derive(Clone, Debug, Args)]
#[group(id = "peer_list", multiple = false)]
pub(crate) struct PeerList {
    /// Base URL of a peer of the pool, optionally followed by ' weight=N', which makes its share N times as large
    /// as that of a peer without a weight; may be repeated
    #[arg(long = "peer", value_name = "URL")]
    pub(crate) peers: Vec<String>,

    /// Read the list of peers from a file, in place of --peer: one base URL on each line, optionally followed by
    /// weight=N; # starts a comment; serve reads the file again when it changes, and on SIGHUP
    ///
    /// To replace the list, rename a new file over the old one. A list that is empty, lacks its last line end, or
    /// has an invalid line changes nothing, and the log states the reason. A change takes effect once it has been
    /// stable for a second.
    #[arg(long, value_name = "FILE", group = "external_list")]
    pub(crate) peers_file: Option<PathBuf>,

    /// Look up the peers by a DNS name, in place of --peer: each address of the name is a peer; serve looks the
    /// name up every 30 seconds, and on SIGHUP
    ///
    /// For example pool.example:3000 or https://pool.example:3000. Without a scheme, serve uses the scheme that it
    /// serves itself, and the other commands use http. A lookup that fails or returns no address changes nothing.
    #[arg(long, value_name = "NAME:PORT", group = "external_list")]
    pub(crate) peers_dns: Option<String>,
}

/// The peers of the pool, and how a client reaches them.
#[derive(Debug, Args)]
pub(crate) struct PoolAccess {
    #[command(flatten)]
    pub(crate) peer_list: PeerList,

    #[command(flatten)]
    pub(crate) pool: PoolOptions,

    /// Trust the CA certificates of this file (PEM) too [default: only the public root certificates]
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Send the first token of this file to the peers [default: the token in FORWARDCACHE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "peer_list")]
    pub(crate) token_file: Option<PathBuf>,

    /// Present this certificate (PEM) to peers that request one; intermediate certificates may follow it
    #[arg(long, value_name = "FILE", requires_all = ["key", "peer_list"])]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

/// Settings that must be the same for all members of a pool.
#[derive(Debug, Args)]
pub(crate) struct PoolOptions {
    /// Path under which the peers serve
    #[arg(long, value_name = "PATH", default_value = "/proxy")]
    pub(crate) path: String,

    #[command(flatten)]
    pub(crate) ring: RingOptions,

    /// The pool contains peers of the Go package: accept 5xx responses that are not marked as the response of a peer
    #[arg(long)]
    pub(crate) go_peers: bool,
}

/// How the ring assigns URLs to peers.
#[derive(Debug, Args)]
pub(crate) struct RingOptions {
    /// How URLs are assigned to peers
    #[arg(long, value_enum, default_value_t = RingName::Compatible)]
    pub(crate) ring: RingName,

    /// Points of a peer on the compatible ring, for each unit of weight [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) replicas: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RingName {
    /// The ring of the Go package, whose peers may join the pool; the busiest of 20 peers owns 1.35 times the mean
    Compatible,
    /// Shares are exactly by weight, and a change of the pool moves as few URLs as possible; a lookup computes a score for each peer
    Rendezvous,
}
