//! The command line: subcommands, flags and their help texts.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`Arguments`] and the list of subcommands |
//! | `serve` | flags of `serve` |
//! | `config` | flags of `config` |
//! | `redis` | flags of `serve` for a store in Redis |
//! | `server` | flags of `serve` for its connections and threads |
//! | `forward` | flags for programs that do not know the pool: forward proxy, mirrors, `gateway` |
//! | `get` | flags of `get` |
//! | `requests` | flags of `owner`, `ring`, `why` and `purge` |
//! | `store` | flags of `store`, and of `get` for what it keeps between runs |
//! | `pool` | flags that several subcommands share: the list of peers, the ring, access to the pool |
//! | `status` | flags of `status` |
//! | `warm` | flags of `warm` |
//! | `packaging` | flags of `completions` and `man` |
//! | `top` | flags of `top` |
//! | `values` | parsers of flag values |

mod config;
mod forward;
mod get;
mod packaging;
mod pool;
mod redis;
mod requests;
mod serve;
mod server;
mod status;
mod store;
mod top;
mod values;
mod warm;

use clap::{Parser, Subcommand};

pub(crate) use config::{Config, ConfigAction};
pub(crate) use forward::{ForwardArguments, Gateway};
pub(crate) use get::{Get, Message};
pub(crate) use packaging::{Completions, Man};
pub(crate) use pool::{PeerList, PoolAccess, RingName, RingOptions};
pub(crate) use redis::RedisArguments;
pub(crate) use requests::{Owner, Purge, Ring, Why};
pub(crate) use serve::{Mode, OriginArguments, Serve, UnknownFields};
pub(crate) use server::{LogFormat, ServerArguments, ServerKind};
pub(crate) use status::Status;
pub(crate) use store::{LocalStore, Store, StoreAction, StoreDirectory};
pub(crate) use top::{Amount, Subject, Top};
pub(crate) use warm::Warm;

/// A distributed, private, forward HTTP cache.
///
/// A pool of peers shares one cache. Each URL has one owner: the peer that fetches the URL from its origin,
/// stores the response for as long as HTTP allows, and serves it to all clients and peers. HTTPS responses are
/// cached too, because the owner fetches them on behalf of the client.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log the outcome of every request (RUST_LOG overrides this flag)
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve as a peer of a pool until SIGINT or SIGTERM
    ///
    /// The pool consists of the listed peers and must include this peer. Without a list, this peer is a pool of one.
    Serve(Box<Serve>),
    /// Send the requests of any program on this machine to the pool, until SIGINT or SIGTERM
    ///
    /// A gateway is an HTTP proxy (http_proxy=http://127.0.0.1:3128), and serves /fetch/URL and mirrors. It asks the owner
    /// of each URL, or the next owner if that one fails, and keeps copies of popular responses for some seconds.
    Gateway(Box<Gateway>),
    /// Check or print the options of serve that come from a file and from the environment
    Config(Config),
    /// Fetch URLs through the pool
    ///
    /// Without a list of peers, each URL is fetched directly from its origin, and the response is kept
    /// in a directory for later runs.
    ///
    /// Exit codes: 0 if the status is below 400; 4 for a 4xx status; 5 for a 5xx status; 1 if there is
    /// no response, or it is incomplete, missing (--offline), not the listed one (--frozen) or cannot
    /// be written; 2 for an invalid command line. With several URLs: the first of 2, 1, 5 and 4 that
    /// applies to one of them.
    #[command(verbatim_doc_comment)]
    Get(Box<Get>),
    /// Request each URL of a list, so that the pool stores the responses
    ///
    /// The list is a file, standard input or a URL: one URL on each line, or a sitemap or an index of sitemaps (XML). Either
    /// may be compressed with gzip. Without a list of peers, the responses are kept in the directory of get.
    ///
    /// Exit codes: 0 if every URL was answered with a status below 400; 1 if a URL failed, a line is invalid or the
    /// list cannot be read; 130 or 143 after SIGINT or SIGTERM; 2 for an invalid command line.
    #[command(verbatim_doc_comment)]
    Warm(Box<Warm>),
    /// Print the owner of each URL: one line for each URL with the owner, a tab, and the URL
    Owner(Owner),
    /// Explain what would happen to a GET request: a dry run on the owner of the URL
    ///
    /// Nothing is fetched, and stored responses do not change. The output names the owner, the verdict, the rule
    /// that decides it with its section of the RFC, what would change the verdict, and all stored variants.
    Why(Why),
    /// Print how evenly a ring distributes keys: one line for each peer with its share, the ratio to its fair share, and the peer
    ///
    /// This command sends no request.
    Ring(Ring),
    /// Remove stored responses from every peer of the pool: by URL, by prefix, by cache group, or all of them
    ///
    /// Specify every peer of the pool. The command prints one line for each peer with the number and size of removed responses.
    /// Exit codes: 0 if every peer purged; 1 if a peer failed, which is named and may still serve
    /// the responses; 2 for an invalid command line.
    Purge(Purge),
    /// Print the state of peers as a table: each peer that is asked, and the other peers of its pool
    ///
    /// The command asks the admin addresses of the peers. It exits with 1 if one of them does not answer.
    Status(Status),
    /// Print the URLs, origins and clients with the most requests, bytes or misses, of 30 minutes to an hour
    ///
    /// The command asks the admin addresses of the peers and adds up their lists. It exits with 1 if one of them does not answer.
    Top(Top),
    /// List, verify, remove or export the responses that get keeps between runs
    ///
    /// Exit codes: 0 if it succeeded; 1 if there is no store or a response is damaged or missing; 2 for an invalid
    /// command line.
    #[command(verbatim_doc_comment)]
    Store(Store),
    /// Demonstrate a pool of three peers on this machine
    Demo,
    /// Print the completions of this command for a shell
    ///
    /// For example in ~/.bashrc: source <(forwardcache completions bash)
    Completions(Completions),
    /// Write the man pages of this command to a directory
    Man(Man),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
