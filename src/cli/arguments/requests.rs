//! Flags of the subcommands that inspect a pool or send requests to it.

use std::time::Duration;

use clap::Args;

use super::pool::{PeerList, PoolAccess, RingOptions};
use super::values::seconds;

/// Header fields of a request, and the pool that receives the request.
#[derive(Debug, Args)]
pub(crate) struct RequestArguments {
    /// Add a header field to the request, as 'Name: value'; may be repeated; @FILE reads one field from each line of a
    /// file, @- from standard input
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub(crate) fields: Vec<String>,

    #[command(flatten)]
    pub(crate) access: PoolAccess,
}

#[derive(Debug, Args)]
#[command(mut_group("peer_list", |list| list.required(true)))]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) peer_list: PeerList,

    #[command(flatten)]
    pub(crate) ring: RingOptions,

    /// The URLs to look up
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ring {
    /// Base URL of a peer of the pool, optionally followed by ' weight=N'; may be repeated
    #[arg(long = "peer", value_name = "URL", required = true)]
    pub(crate) peers: Vec<String>,

    #[command(flatten)]
    pub(crate) ring: RingOptions,
}

#[derive(Debug, Args)]
#[command(mut_group("peer_list", |list| list.required(true)))]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) request: RequestArguments,

    /// The URLs to explain
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Args)]
#[group(id = "selection", required = true, multiple = false, args = ["urls", "prefix", "group", "all"])]
#[command(mut_group("peer_list", |list| list.required(true)))]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) access: PoolAccess,

    /// Remove all responses whose URL starts with this prefix, which must include at least the / after the host
    #[arg(long, value_name = "URL")]
    pub(crate) prefix: Option<String>,

    /// Remove the responses of this cache group (Cache-Groups)
    #[arg(long, value_name = "NAME", requires = "origin")]
    pub(crate) group: Option<String>,

    /// The origin of the group, as a URL without a path
    #[arg(long, value_name = "URL", requires = "group", conflicts_with_all = ["urls", "prefix", "all"])]
    pub(crate) origin: Option<String>,

    /// Remove all responses
    #[arg(long)]
    pub(crate) all: bool,

    /// Mark responses as stale instead of removing them: the next request validates them, and they are served if the
    /// origin fails
    #[arg(long)]
    pub(crate) soft: bool,

    /// Time limit for each purge at all peers together
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) max_time: Duration,

    /// The URLs to remove, each with all its variants
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
}
