//! Flags of `status`, and of other commands that ask admin addresses.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::seconds;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print JSON instead of a table: one object on each line
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the table again at this interval, until SIGINT
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds, require_equals = true)]
    pub(crate) watch: Option<Duration>,

    /// Send the first token of this file [default: the token in FORWARDCACHE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Trust these root certificates (PEM) in addition to those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Admin addresses of the peers, as --admin of serve prints them
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:3001")]
    pub(crate) urls: Vec<String>,
}
