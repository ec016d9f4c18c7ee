//! The words that may be typed.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use forwardcache::{ByteSize, OriginRules};

/// A distributed, private, forward HTTP cache.
///
/// A pool of peers shares one cache: each URL has one owner, which fetches it once from its origin, keeps
/// it for as long as HTTP says, and answers everybody else. HTTPS is cached too, because the owner fetches
/// on the client's behalf.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log what happened to every request (RUST_LOG overrides it)
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve as a peer of a pool, until SIGINT or SIGTERM
    Serve(Box<Serve>),
    /// Fetch a URL through the pool
    ///
    /// Exit codes: 0 for any answer below 400; 4 for a 4xx answer; 5 for a 5xx answer;
    /// 1 when there was no answer, or none that was whole; 2 for a bad command line.
    #[command(verbatim_doc_comment)]
    Get(Get),
    /// Say which peer owns which URL: one line a URL, the owner, a tab, the URL
    Owner(Owner),
    /// Say what would happen to a GET of a URL, and why: a dry run at the peer that owns it
    ///
    /// Nothing is fetched, and nothing that is stored changes. It shows the owner, what would happen, the
    /// rule that decides it with its place in the RFC, what would change it, and all that is stored.
    Why(Why),
    /// Show a pool of three peers at work, on this machine alone
    Demo,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,

    /// Base URL under which the other peers know this one [default: http:// or https://, and the address]
    #[arg(long, value_name = "URL")]
    pub(crate) self_url: Option<String>,

    /// Base URL of a peer of the pool, this one among them; may be repeated [default: this one alone]
    #[arg(long = "peer", value_name = "URL")]
    pub(crate) peers: Vec<String>,

    /// How much memory the cache may take [default: 256MiB, or a quarter of what there is]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,

    /// Whose cache it is: of one party, or of several that do not trust each other
    #[arg(long, value_enum, default_value_t = Mode::Private)]
    pub(crate) mode: Mode,

    /// In shared mode, store responses that set a cookie too, where they are otherwise cacheable
    #[arg(long)]
    pub(crate) store_set_cookie: bool,

    /// What becomes of fields of a GET that no standard knows: they are forwarded to the origin, also select the
    /// answer as if Vary named them, or are dropped. Where users of one cache do not trust each other, select or
    /// drop keeps one from poisoning what the others get
    #[arg(long, value_enum, default_value_t = UnknownFields::Forward)]
    pub(crate) unknown_fields: UnknownFields,

    /// A field that counts as known; may be repeated
    #[arg(long = "known-field", value_name = "NAME", value_parser = field_name)]
    pub(crate) known_fields: Vec<http::HeaderName>,

    #[command(flatten)]
    pub(crate) pool: PoolOptions,

    /// Which origins may be fetched: public (addresses of the internet alone), any, or a list of rules, of
    /// which the first that matches counts [default: any]
    ///
    /// Rules are allow:PATTERN or deny:PATTERN, with commas between and public, any or listed before them (listed:
    /// what a rule allows and nothing else). A pattern is [SCHEME://]PLACE[:PORTS], where PLACE is a host
    /// (*.example.com), a network (10.1.0.0/16, [fd00::/8]), a class of addresses (loopback, private,
    /// shared-space, link-local, cloud-metadata, ...), or a host at one of these (wiki.example@private). A name
    /// alone is allowed to lead to public addresses only, unless it is any; link-local and cloud-metadata have
    /// to be named in any case.
    #[arg(long, value_name = "public|any|RULE,...")]
    pub(crate) origins: Option<OriginRules>,

    /// How many requests a second the pool sends to one origin, such as 10 or 0.5; all its peers must have the same
    /// limits [default: any number]
    #[arg(long, value_name = "N")]
    pub(crate) origin_rate: Option<f64>,

    /// How many fetches of the pool from one origin may be under way at a time [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) origin_concurrency: Option<u32>,

    /// Certificates in PEM to trust beside those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// On an address that others reach: answer anybody who does
    #[arg(long, conflicts_with_all = ["token_file", "tls_client_ca"])]
    pub(crate) allow_anyone: bool,

    /// Answer those alone who show a token of this file, which has one a line, two at most; other peers are
    /// shown the first [default: the token in FORWARDCACHE_TOKEN, or anybody]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Also answer those who run it, on an address of its own: GET /healthz, /metrics (Prometheus) and /status
    /// [default: not; without an address 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:3001")]
    pub(crate) admin: Option<String>,

    #[command(flatten)]
    pub(crate) front: FrontArguments,

    /// Serve with TLS, with this certificate in PEM, which those that lead to a root may follow; other peers
    /// that ask for one are shown it too
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serve those alone who show a certificate that one of these root certificates in PEM signed
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// How connections are served.
#[derive(Debug, Args)]
pub(crate) struct FrontArguments {
    /// What takes connections: the front of this program, or the one on tiny_http, for trusted clients alone
    #[arg(long, value_enum, default_value_t = Front::Event)]
    pub(crate) front: Front,

    /// How many requests are worked on at a time [default: twice the processors, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,

    /// How many threads read and write [default: as many as processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) io_threads: Option<u16>,

    /// How many requests may wait for a worker [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queue_length: Option<u32>,

    /// How many connections there may be [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// How many of them may come from one address [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_address: Option<u32>,

    /// How large the head of a request may be [default: 16KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_head: Option<ByteSize>,

    /// How many fields it may have, 256 at most [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) max_fields: Option<u16>,

    /// How long its target may be [default: 8KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_target: Option<ByteSize>,

    /// How large the body of a request may be [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_request_body: Option<ByteSize>,

    /// How long the head of a request may take [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) head_timeout: Option<u32>,

    /// How long a connection may be without a request [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle_timeout: Option<u32>,

    /// How long a client may send or take nothing while it is waited for [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stall_timeout: Option<u32>,

    /// How much a client has to send or take a second then [default: 256]
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_transfer_rate: Option<ByteSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownFields {
    Forward,
    Select,
    Drop,
}

fn field_name(name: &str) -> Result<http::HeaderName, String> {
    name.parse().map_err(|_| "it is no field name".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Front {
    /// Threads that never wait; limits and deadlines for everything
    Event,
    /// The crate tiny_http: a thread for each connection, no limits
    #[value(name = "tiny_http")]
    TinyHttp,
}

/// How a pool is asked.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// A field of the request, as `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub(crate) fields: Vec<String>,

    #[command(flatten)]
    pub(crate) pool: PoolOptions,

    /// Certificates in PEM to trust beside those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Show the first token of this file to the peers [default: the token in FORWARDCACHE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "peers")]
    pub(crate) token_file: Option<PathBuf>,

    /// Show this certificate in PEM to peers that ask for one; those that lead to a root may follow it
    #[arg(long, value_name = "FILE", requires_all = ["key_file", "peers"])]
    pub(crate) cert_file: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,
}

/// What all members of a pool have to agree on.
#[derive(Debug, Args)]
pub(crate) struct PoolOptions {
    /// Path under which the peers answer
    #[arg(long, value_name = "PATH", default_value = "/proxy")]
    pub(crate) path: String,

    /// Points of each peer on the ring
    #[arg(long, value_name = "N", default_value = "50")]
    pub(crate) replicas: NonZeroU32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// `private` responses are stored, and kept apart by credential
    Private,
    /// The shared-cache rules of RFC 9111
    Shared,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Base URL of a peer of the pool; may be repeated [default: fetch directly]
    #[arg(long = "peer", value_name = "URL")]
    pub(crate) peers: Vec<String>,

    /// Print the status and the fields before the body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Write the body to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) asking: Asking,

    /// The URL to fetch
    pub(crate) url: String,
}

#[derive(Debug, Args)]
pub(crate) struct Owner {
    /// Base URL of a peer of the pool; may be repeated
    #[arg(long = "peer", value_name = "URL", required = true)]
    pub(crate) peers: Vec<String>,

    /// Points of each peer on the ring
    #[arg(long, value_name = "N", default_value = "50")]
    pub(crate) replicas: NonZeroU32,

    /// The URLs to look up
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Base URL of a peer of the pool; may be repeated
    #[arg(long = "peer", value_name = "URL", required = true)]
    pub(crate) peers: Vec<String>,

    #[command(flatten)]
    pub(crate) asking: Asking,

    /// The URLs to explain
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
