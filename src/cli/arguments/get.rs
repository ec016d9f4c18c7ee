//! Flags of `get`, named as those of curl.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use http::Method;

use super::requests::RequestArguments;
use super::store::LocalStore;
use super::values::seconds;

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) request: RequestArguments,

    #[command(flatten)]
    pub(crate) message: Message,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) effort: Effort,

    /// Fail if no peer is available, instead of fetching directly from the origin
    #[arg(long)]
    pub(crate) peers_only: bool,

    #[command(flatten)]
    pub(crate) local: LocalStore,

    /// The URLs to fetch
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

/// The request besides its header fields.
#[derive(Debug, Args)]
pub(crate) struct Message {
    /// Request method [default: GET; POST with content; HEAD with -I]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = method, conflicts_with = "head")]
    pub(crate) method: Option<Method>,

    /// Request only the header fields (HEAD), and print them
    #[arg(short = 'I', long)]
    pub(crate) head: bool,

    /// Send this content, as a form (application/x-www-form-urlencoded) unless -H specifies the type
    ///
    /// @FILE sends the content of a file without its line breaks, @- that of standard input. Several parts are joined by &.
    #[arg(short, long, value_name = "DATA|@FILE", allow_hyphen_values = true, conflicts_with_all = ["head", "data_binary"])]
    pub(crate) data: Vec<String>,

    /// Like -d, but send the content of a file unchanged
    #[arg(long, value_name = "DATA|@FILE", allow_hyphen_values = true, conflicts_with = "head")]
    pub(crate) data_binary: Vec<String>,

    /// Send this User-Agent
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,

    /// Send this user name and password (Authorization: Basic)
    ///
    /// Other users of the machine can see the command line: prefer -H @FILE with the field Authorization.
    #[arg(short, long, value_name = "USER:PASSWORD")]
    pub(crate) user: Option<Secret>,

    /// Have stored responses validated by the origin (Cache-Control: no-cache)
    #[arg(long, conflicts_with_all = ["only_if_cached", "offline"])]
    pub(crate) reload: bool,

    /// Accept only a fresh stored response, otherwise 504 (Cache-Control: only-if-cached)
    #[arg(long)]
    pub(crate) only_if_cached: bool,

    /// Follow up to 20 redirects: each is requested from its own owner, and credentials do not go to another origin
    #[arg(short = 'L', long)]
    pub(crate) location: bool,
}

/// Where responses go.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Write the body to this file instead of standard output (-); once for each URL, in the same order
    ///
    /// The body is written to FILE.part, which is renamed once it is complete. An error status (4xx, 5xx) replaces nothing.
    #[arg(short, long, value_name = "FILE", conflicts_with = "remote_name")]
    pub(crate) output: Vec<PathBuf>,

    /// Write each body to a file in the working directory, named by the last part of the URL's path
    #[arg(short = 'O', long)]
    pub(crate) remote_name: bool,

    /// Continue FILE.part of an earlier run if the response is still the same; the only value is -
    #[arg(
        short = 'C',
        long,
        value_name = "-",
        value_parser = ["-"],
        hide_possible_values = true,
        allow_hyphen_values = true,
        conflicts_with_all = ["include", "head", "method", "data", "data_binary", "frozen"]
    )]
    pub(crate) continue_at: Option<String>,

    /// Print the status and the header fields before the body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Print no body of a response with an error status
    #[arg(short, long)]
    pub(crate) fail: bool,

    /// Write the body of a response with an error status to the file too
    #[arg(long, conflicts_with = "fail")]
    pub(crate) include_errors: bool,

    /// Print one JSON object for each URL: status, outcome, age, bytes, duration, peer, error; without a file, no body
    #[arg(long)]
    pub(crate) json: bool,

    /// Print neither progress nor errors
    #[arg(short, long)]
    pub(crate) silent: bool,

    /// With -s, print errors
    #[arg(short = 'S', long)]
    pub(crate) show_error: bool,
}

/// How long and how often to try.
#[derive(Debug, Args)]
pub(crate) struct Effort {
    /// Time limit for each URL, including the body and all attempts
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_time: Option<Duration>,

    /// Repeat a request that failed for a temporary reason, or with 408, 429, 502, 503 or 504, up to N times
    ///
    /// Only a method that is idempotent is repeated after the request was sent. A file is continued if possible.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retry: u32,

    /// Wait this long before each repetition [default: 1, then twice as long each time, at most 60; or Retry-After, at
    /// most 300]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) retry_delay: Option<Duration>,

    /// Fetch up to N URLs at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
}

/// A value that is never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

fn method(name: &str) -> Result<Method, String> {
    match name.parse() {
        Ok(Method::CONNECT) => Err("CONNECT opens a tunnel, which get cannot use".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err("not a valid method".to_owned()),
    }
}
