//! The words that may be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use forwardcache::{ByteSize, LifetimeRule, OriginRules};

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
    ///
    /// The pool is the peers that are named, this one among them; without any it is a pool of one.
    Serve(Box<Serve>),
    /// Fetch a URL through the pool
    ///
    /// Where no peer is named, it is fetched directly.
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
    /// Say how evenly a ring places keys: one line a peer, its share, that by its fair share, and the peer
    ///
    /// It asks no peer.
    Ring(Ring),
    /// Remove what is stored from every peer of the pool: URLs, all that begin alike, a cache group, or everything
    ///
    /// Every peer has to be named. Prints a line for each peer, with what went. Exit codes: 0 when every peer did it; 1 when one could not be
    /// asked, or did not do it, which is named: what it holds may still be served; 2 for a bad command line.
    Purge(Purge),
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

    #[command(flatten)]
    pub(crate) listed: Listed,

    /// How often that list is read while serving [default: 1 for a file, 30 for a name]
    #[arg(long, value_name = "SECONDS", requires = "elsewhere", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) peers_interval: Option<u32>,

    /// How much memory the cache may take [default: 256MiB, or a quarter of what there is]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,

    /// A directory in which what is cached outlives the process, and larger bodies than memory holds
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// How much of the disk it may take [default: 1GiB]
    #[arg(long, value_name = "SIZE", requires = "store")]
    pub(crate) disk: Option<ByteSize>,

    /// Whose cache it is: of one party, or of several that do not trust each other
    #[arg(long, value_enum, default_value_t = Mode::Private)]
    pub(crate) mode: Mode,

    /// In shared mode, store responses that set a cookie too, where they are otherwise cacheable
    #[arg(long)]
    pub(crate) store_set_cookie: bool,

    #[command(flatten)]
    pub(crate) caching: CachingArguments,

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

    /// How many requests a second the pool sends to one origin, such as 10 or 0.5; each peer keeps to its share by
    /// weight, so all must have the same limits [default: any number]
    #[arg(long, value_name = "N")]
    pub(crate) origin_rate: Option<f64>,

    /// How many fetches of the pool from one origin may run at a time; each peer keeps to its share by weight, of at
    /// least one [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) origin_concurrency: Option<u32>,

    /// When an origin answers 429, or 503 with Retry-After: send it no request of anyone until that time is over, and
    /// not only none with the same Authorization
    #[arg(long)]
    pub(crate) pause_origins: bool,

    /// Certificates in PEM to trust beside those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// On an address that others reach: answer anybody who does
    #[arg(long, conflicts_with_all = ["token_file", "tls_client_ca"])]
    pub(crate) allow_anyone: bool,

    /// Let anybody who may ask remove what is stored too, by the method PURGE [default: on this machine alone,
    /// or who shows the token or a certificate]
    #[arg(long, conflicts_with_all = ["token_file", "operator_token_file", "tls_client_ca"])]
    pub(crate) allow_anyone_to_purge: bool,

    /// Answer those alone who show a token of this file, which has one a line, two at most; other peers are
    /// shown the first [default: the token in FORWARDCACHE_TOKEN, or anybody]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Pass Set-Cookie to programs that ask /proxy?q= without being a client of this program: they see all origins at the
    /// host of this peer, and may send the cookies of one to all others. --go-peers implies it
    #[arg(long)]
    pub(crate) pass_cookies: bool,

    /// Let only clients that show a token of this file purge, or say that a peer leaves; the other tokens are then for
    /// reading. All peers need the same file: they show its first token to each other [default: every token is for
    /// everything]
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_token_file: Option<PathBuf>,

    /// How long to go on serving after SIGINT or SIGTERM, with each answer saying that this peer is about to end; the
    /// other peers are told at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) drain: u32,

    /// Also answer those who run it, on an address of its own: GET /healthz, /readyz, /metrics (Prometheus) and /status
    /// [default: not; without an address 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:3001")]
    pub(crate) admin: Option<String>,

    #[command(flatten)]
    pub(crate) network: OriginArguments,

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

/// What is stored, and for how long.
#[derive(Debug, Args)]
pub(crate) struct CachingArguments {
    /// For how long responses are fresh, where that of their origin is not to count; may be repeated, the first that
    /// matches counts
    ///
    /// Words, in quotes: host=PATTERN[:PORT], path=PATTERN (one that ends with / also matches what is below it),
    /// status=CODE,... [default: successes], one of exactly=TIME, at-least=TIME and at-most=TIME (as in 90s, 15m, 1h, 7d),
    /// and override=no-store,private for origins that say so by mistake. Such as:
    /// --lifetime 'host=api.example.com path=/v1/ status=200 at-least=1h'
    #[arg(long = "lifetime", value_name = "RULE")]
    pub(crate) lifetimes: Vec<LifetimeRule>,

    /// How long past its freshness a response may be served if the origin fails, where it does not say [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stale_on_error: Option<u32>,

    /// How long past its freshness a response may be served while it is refreshed, where it does not say [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stale_while_revalidate: Option<u32>,

    /// How long past its freshness a response is served to those who ask while another request for it waits for the
    /// origin [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u32>,

    /// Make lifetimes shorter at random, by up to this many percent [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) jitter: Option<u8>,

    /// Refresh what is asked for within this last part of its lifetime, in percent [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) early_refresh: Option<u8>,

    /// The longest lifetime that is guessed from Last-Modified; 0 turns guessing off [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) heuristic_cap: Option<u32>,

    /// The largest body that is stored [default: what fits into --memory]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body: Option<ByteSize>,

    /// Store responses to POST requests with content of up to this size, under the URL and the content, where they say for
    /// how long they are fresh or --lifetime does [default: 0, none are]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_post: Option<ByteSize>,

    /// Fetch the whole in the background when a conditional request meets nothing stored and the origin answers 304
    #[arg(long)]
    pub(crate) fill_on_conditional: bool,

    /// Do not fetch the whole in the background when a range that begins at 0 is asked for and its part has no
    /// strong ETag
    #[arg(long)]
    pub(crate) no_fill_on_range: bool,

    /// Ask no origin: answer with what is stored, stale or not, unless its origin forbids that, and 504 otherwise
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Which peers the pool has.
#[derive(Clone, Debug, Args)]
#[group(id = "listed", multiple = false)]
pub(crate) struct Listed {
    /// Base URL of a peer of the pool, with ' weight=N' behind it if its share is N times that of the others; may be
    /// repeated
    #[arg(long = "peer", value_name = "URL")]
    pub(crate) peers: Vec<String>,

    /// In place of --peer: a file with one base URL a line, weight=N behind it if that is not 1, and comments
    /// behind #; serve reads it anew when it changes, and on SIGHUP
    ///
    /// Replace it by renaming a new one over it. A list that is empty, that lacks its last line end, or that has
    /// one bad line changes nothing, and the log says why. What has changed has to stay so for a second.
    #[arg(long, value_name = "FILE", group = "elsewhere")]
    pub(crate) peers_file: Option<PathBuf>,

    /// In place of --peer: a name, each of whose addresses is a peer; serve looks it up every 30 seconds, and on
    /// SIGHUP
    ///
    /// As in pool.example:3000 or https://pool.example:3000; without a scheme it is http, or what serve serves. No
    /// address, and no answer, change nothing.
    #[arg(long, value_name = "NAME:PORT", group = "elsewhere")]
    pub(crate) peers_dns: Option<String>,
}

/// How origins are reached.
#[derive(Debug, Args)]
pub(crate) struct OriginArguments {
    /// How long connecting to an origin may take, its TLS handshake included [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_connect_timeout: Option<Duration>,

    /// How long it may take to the end of a response's head, connecting included [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_head_timeout: Option<Duration>,

    /// How long an origin may be silent within a body [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_read_timeout: Option<Duration>,

    /// The same within a stream of events (text/event-stream, multipart/x-mixed-replace) [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_stream_timeout: Option<Duration>,

    /// How long a request to an origin may take in all, to the end of the body [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_max_time: Option<Duration>,

    /// How large the head of an origin's response may be [default: 64KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_origin_head: Option<ByteSize>,

    /// How many fields it may have, 4096 at most [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) max_origin_fields: Option<u16>,

    /// The User-Agent of requests that have none; '' sends them without [default: forwardcache/0.1]
    #[arg(long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
}

/// How connections are served.
#[derive(Debug, Args)]
pub(crate) struct FrontArguments {
    /// What takes connections: the front of this program, or the one on tiny_http, for trusted clients alone
    #[arg(long, value_enum, default_value_t = Front::Event)]
    pub(crate) front: Front,

    /// How many threads may wait for origins, if memory and files suffice [default: 1024, 64 on tiny_http]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) workers: Option<u16>,

    /// How many threads read and write [default: as many as processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) io_threads: Option<u16>,

    /// How many requests may wait for a worker [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) queue_length: Option<u32>,

    /// How long a request may wait for a worker [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_queue_wait: Option<u32>,

    /// How many connections there may be, fewer where the system allows too few open files [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// How many of them may come from one address, or IPv6 network of 64 bits [default: 4096]
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
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
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
    pub(crate) reaching: Reaching,
}

/// How its peers are reached.
#[derive(Debug, Args)]
pub(crate) struct Reaching {
    #[command(flatten)]
    pub(crate) listed: Listed,

    #[command(flatten)]
    pub(crate) pool: PoolOptions,

    /// Certificates in PEM to trust beside those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Show the first token of this file to the peers [default: the token in FORWARDCACHE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "listed")]
    pub(crate) token_file: Option<PathBuf>,

    /// Show this certificate in PEM to peers that ask for one; those that lead to a root may follow it
    #[arg(long, value_name = "FILE", requires_all = ["key_file", "listed"])]
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

    #[command(flatten)]
    pub(crate) ring: RingOptions,

    /// The pool has peers of the Go package: accept 5xx responses that do not say that a peer gave them
    #[arg(long)]
    pub(crate) go_peers: bool,
}

/// How URLs are placed on the peers.
#[derive(Debug, Args)]
pub(crate) struct RingOptions {
    /// How URLs are placed on peers
    #[arg(long, value_enum, default_value_t = RingName::Compatible)]
    pub(crate) ring: RingName,

    /// Points of each peer on the compatible ring, for each of its weight [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) replicas: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RingName {
    /// As the Go package does it: its peers may be in the pool, and the busiest of 20 owns 1.35 of the mean
    Compatible,
    /// Exactly by weight, and a change moves no more than it must: a look-up computes a score for each peer
    Rendezvous,
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
    #[command(flatten)]
    pub(crate) asking: Asking,

    /// How long it may take, to the end of the body
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_time: Option<Duration>,

    /// Fail when no peer is left, instead of asking the origin directly
    #[arg(long)]
    pub(crate) peers_only: bool,

    /// Print the status and the fields before the body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Write the body to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// The URL to fetch
    pub(crate) url: String,
}

#[derive(Debug, Args)]
#[command(mut_group("listed", |listed| listed.required(true)))]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) listed: Listed,

    #[command(flatten)]
    pub(crate) ring: RingOptions,

    /// The URLs to look up
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ring {
    /// Base URL of a peer of the pool, with ' weight=N' if it has one; may be repeated
    #[arg(long = "peer", value_name = "URL", required = true)]
    pub(crate) peers: Vec<String>,

    #[command(flatten)]
    pub(crate) ring: RingOptions,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // What is added to a time of day must stay one.
    time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(1_000_000_000))
        .ok_or_else(|| "it is a number of seconds above 0, such as 1.5, and at most 1000000000".to_owned())
}

#[derive(Debug, Args)]
#[command(mut_group("listed", |listed| listed.required(true)))]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) asking: Asking,

    /// The URLs to explain
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["urls", "prefix", "group", "all"])]
#[command(mut_group("listed", |listed| listed.required(true)))]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) reaching: Reaching,

    /// Remove all whose URL begins with this, which holds the / after the host at least
    #[arg(long, value_name = "URL")]
    pub(crate) prefix: Option<String>,

    /// Remove the responses that are in this group, by their Cache-Groups
    #[arg(long, value_name = "NAME", requires = "origin")]
    pub(crate) group: Option<String>,

    /// The origin of the group, as a URL without path
    #[arg(long, value_name = "URL", requires = "group", conflicts_with_all = ["urls", "prefix", "all"])]
    pub(crate) origin: Option<String>,

    /// Remove everything
    #[arg(long)]
    pub(crate) all: bool,

    /// Remove nothing, but mark it as stale: it is validated when it is asked for next, and served if the origin fails
    #[arg(long)]
    pub(crate) soft: bool,

    /// How long each of the removals may take at all peers together
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) max_time: Duration,

    /// The URLs to remove, each with all its variants
    #[arg(value_name = "URL")]
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
