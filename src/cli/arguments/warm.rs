//! Flags of `warm`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::requests::RequestArguments;
use super::store::StoreDirectory;
use super::values::{interval, seconds};

#[derive(Debug, Args)]
pub(crate) struct Warm {
    #[command(flatten)]
    pub(crate) request: RequestArguments,

    #[command(flatten)]
    pub(crate) directory: StoreDirectory,

    /// Number of requests at the same time
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,

    /// Number of requests at the same time for URLs of one origin
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) origin_concurrency: u16,

    /// Limit the rate of all requests, as N/s, N/m or N/h: 5/s starts one every 200 ms [default: no limit]
    #[arg(long, value_name = "N/s", value_parser = interval)]
    pub(crate) rate: Option<Duration>,

    /// Limit the rate of requests for URLs of one origin [default: no limit]
    #[arg(long, value_name = "N/s", value_parser = interval)]
    pub(crate) origin_rate: Option<Duration>,

    /// Time limit for each URL, including the body
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) max_time: Duration,

    /// Also request what HTML pages link to on the same origin, up to this many links away from the list
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=16))]
    pub(crate) depth: u8,

    /// Stop adding URLs after this number of different ones
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) max_urls: u32,

    /// Accept URLs of other origins in a list that was fetched; all of them get the fields of -H
    #[arg(long)]
    pub(crate) cross_origin: bool,

    /// Follow up to 20 redirects: each is requested from its own owner, and credentials do not go to another origin
    #[arg(short = 'L', long)]
    pub(crate) location: bool,

    /// Record in this file what is done, and skip what it lists: an interrupted run continues. A run that completes
    /// removes it
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Print a JSON object for each URL and one for the summary, each on its own line
    #[arg(long)]
    pub(crate) json: bool,

    /// Print neither progress nor a summary, only errors
    #[arg(short, long)]
    pub(crate) silent: bool,

    /// The list: a file, the URL of a list or sitemap, or - for standard input
    #[arg(value_name = "LIST")]
    pub(crate) list: String,
}
