//! Flags of `store`, and the flags of `get` and `warm` for the store that the command keeps between runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use forwardcache::store::ByteSize;

/// The directory in which responses are kept between runs, if there is no pool.
#[derive(Debug, Args)]
pub(crate) struct StoreDirectory {
    /// Directory in which responses are kept between runs, if there is no pool
    /// [default: forwardcache in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", conflicts_with = "peer_list")]
    pub(crate) store: Option<PathBuf>,

    /// File with a secret key, created if it does not exist: responses that depend on credentials are kept too
    #[arg(long, value_name = "FILE", conflicts_with = "peer_list")]
    pub(crate) store_key_file: Option<PathBuf>,

    /// Size limit of that directory [default: the limit that was set last, or 1GiB]
    #[arg(long, value_name = "SIZE", conflicts_with = "peer_list")]
    pub(crate) disk: Option<ByteSize>,
}

/// What `get` keeps between runs when it fetches without a pool.
#[derive(Debug, Args)]
pub(crate) struct LocalStore {
    #[command(flatten)]
    pub(crate) directory: StoreDirectory,

    /// Keep nothing between runs
    #[arg(long, conflicts_with_all = ["store", "store_key_file", "disk"])]
    pub(crate) no_store: bool,

    /// Send no request: take the response from the store, stale or not, or fail if it is missing
    #[arg(long, conflicts_with_all = ["peer_list", "no_store"])]
    pub(crate) offline: bool,

    /// Fail, and write no byte of the body, if the response differs from this list, which 'store manifest' prints
    #[arg(long, value_name = "FILE")]
    pub(crate) frozen: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) action: StoreAction,

    /// Directory of the store [default: that of get]
    #[arg(long = "store", value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// List the stored responses: status, size, age, freshness and URL
    Ls {
        /// Print one JSON object for each response
        #[arg(long)]
        json: bool,

        /// List only responses whose URL starts with this prefix
        #[arg(value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// Print how much is stored
    Stat {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Compare every body with its checksums and its SHA-256
    ///
    /// A damaged response is named and removed. Exit codes: 0 if everything is correct; 1 if a response is damaged.
    #[command(verbatim_doc_comment)]
    Verify,
    /// Remove stored responses, by URL or by prefix
    #[command(group = clap::ArgGroup::new("removed").required(true).args(["urls", "prefix", "all"]))]
    Rm {
        /// Remove all responses whose URL starts with this prefix, which must include at least the / after the host
        #[arg(long, value_name = "URL")]
        prefix: Option<String>,

        /// Remove all responses
        #[arg(long)]
        all: bool,

        /// The URLs to remove, each with all its variants
        #[arg(value_name = "URL")]
        urls: Vec<String>,
    },
    /// Write the body of a stored response, fresh or stale, after comparing it with its SHA-256
    Export {
        /// Write the body to this file instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,

        /// Select a variant by the first digits of its SHA-256
        #[arg(long, value_name = "HEX")]
        digest: Option<String>,

        /// The URL of the response
        url: String,
    },
    /// Print URL, status and SHA-256 of each response, sorted: a list for 'get --frozen'
    Manifest,
}
