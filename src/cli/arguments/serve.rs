//! Flags of `serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use forwardcache::origin::OriginRules;
use forwardcache::policy::LifetimeRule;
use forwardcache::store::ByteSize;

use super::forward::ForwardArguments;
use super::pool::{PeerList, PoolOptions};
use super::redis::RedisArguments;
use super::server::ServerArguments;
use super::values::{field_name, seconds};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("tiers").args(["store", "redis"]).multiple(true)))]
pub(crate) struct Serve {
    /// Read options from this file (TOML): each line is the name of a flag without its dashes, =, and a value. Variables
    /// such as FORWARDCACHE_MAX_BODY=1GiB replace the options of the file, and flags replace both
    /// [default: the file that FORWARDCACHE_CONFIG names]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Address to serve on: HOST:PORT, or unix:PATH for a Unix socket, whose file gets mode 600 or that of
    /// unix:PATH,mode=MODE; may be repeated. Port 0 takes a free port. Sockets that the service manager hands over
    /// (LISTEN_FDS) are served too [default: 127.0.0.1:3000, unless a socket is handed over]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,

    /// Base URL of this peer, as the other peers write it [default: http:// or https://, and the address]
    #[arg(long, value_name = "URL")]
    pub(crate) self_url: Option<String>,

    #[command(flatten)]
    pub(crate) peer_list: PeerList,

    /// Interval at which serve reads the list of peers again [default: 1 for a file, 30 for a DNS name]
    #[arg(long, value_name = "SECONDS", requires = "external_list", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) peers_interval: Option<u32>,

    /// Memory limit of the cache [default: 256MiB, or a quarter of the available memory if that is less]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,

    /// Directory of a store on disk, which keeps responses across restarts and stores bodies that do not fit into memory
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// File with a secret key, created if it does not exist: responses that depend on credentials are kept on disk and in Redis
    /// too
    #[arg(long, value_name = "FILE", requires = "tiers")]
    pub(crate) store_key_file: Option<PathBuf>,

    /// Size limit of the store on disk [default: what was set last for the directory, or 1GiB]
    #[arg(long, value_name = "SIZE", requires = "store")]
    pub(crate) disk: Option<ByteSize>,

    #[command(flatten)]
    pub(crate) redis: RedisArguments,

    /// Caching rules: private for users that trust each other (or a single one), shared for users that do not
    #[arg(long, value_enum, default_value_t = Mode::Private)]
    pub(crate) mode: Mode,

    /// In shared mode, also store cacheable responses that set cookies
    #[arg(long)]
    pub(crate) store_set_cookie: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArguments,

    /// How to handle nonstandard header fields of a GET request: forward them to the origin, select responses by
    /// them too (as if Vary listed them), or drop them. If the clients of the cache do not trust each other, use
    /// vary or drop, so that no client can poison the responses of the others
    #[arg(long, value_enum, default_value_t = UnknownFields::Forward)]
    pub(crate) unknown_fields: UnknownFields,

    /// Treat this header field as standard; may be repeated
    #[arg(long = "known-field", value_name = "NAME", value_parser = field_name)]
    pub(crate) known_fields: Vec<http::HeaderName>,

    #[command(flatten)]
    pub(crate) pool: PoolOptions,

    /// Origins that may be fetched: public (only public internet addresses), any, or a list of rules, of which the
    /// first match decides [default: any]
    ///
    /// A rule is allow:PATTERN or deny:PATTERN. Rules are separated by commas and may follow public, any or listed
    /// (listed: only what a rule allows). A pattern is [SCHEME://]PLACE[:PORTS]. PLACE is a host (*.example.com), a
    /// network (10.1.0.0/16, [fd00::/8]), a class of addresses (loopback, private, shared-space, link-local,
    /// cloud-metadata, ...), or a host at one of these (wiki.example@private). A rule that names only a host allows
    /// that host only at public addresses, unless the list starts with any. Addresses of the classes link-local and
    /// cloud-metadata must always be listed explicitly.
    #[arg(long, value_name = "public|any|RULE,...")]
    pub(crate) origins: Option<OriginRules>,

    /// Requests per second that the pool sends to one origin, such as 10 or 0.5. Each peer limits itself to its share
    /// by weight, so specify the same limit for all peers [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) origin_rate: Option<f64>,

    /// Concurrent fetches of the pool from one origin. Each peer limits itself to its share by weight, but to no less
    /// than one [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) origin_concurrency: Option<u32>,

    /// If an origin responds with 429, or with 503 and Retry-After: send it no request at all until that time is over;
    /// without this flag only requests with the same Authorization pause
    #[arg(long)]
    pub(crate) pause_origins: bool,

    /// Trust the CA certificates of this file (PEM) too, for origins and peers [default: only the public root certificates]
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Serve every client that reaches the address, even if the address is not a loopback address
    #[arg(long, conflicts_with_all = ["token_file", "tls_client_ca"])]
    pub(crate) allow_anyone: bool,

    /// Allow every client that may fetch to purge stored responses too [default: only clients on this machine, or
    /// with a token or certificate if one is required]
    #[arg(long, conflicts_with_all = ["token_file", "operator_token_file", "tls_client_ca"])]
    pub(crate) allow_anyone_to_purge: bool,

    /// Require a token of this file, which has one token on each line and at most two; this peer sends the first token
    /// to other peers [default: the token in FORWARDCACHE_TOKEN, otherwise none is required]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Pass Set-Cookie to programs that request /proxy?q= but are not a client of this program. Such a program sees all
    /// origins under the host of this peer, so it may send the cookies of one origin to all others. --go-peers implies
    /// this flag
    #[arg(long)]
    pub(crate) pass_cookies: bool,

    /// Require a token of this file for purging and for announcing that a peer leaves; the other tokens are then only
    /// for reading. All peers need the same file, because they send its first token to each other [default: every
    /// token grants all rights]
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_token_file: Option<PathBuf>,

    /// How long to keep serving after SIGINT or SIGTERM. The other peers are notified at once, and each response
    /// states that this peer leaves
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) drain_time: u32,

    /// Serve operators on a second address: GET /healthz, /readyz, /metrics (Prometheus) and /status
    /// [default: off; without an address 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:3001")]
    pub(crate) admin: Option<String>,

    /// Be a forward proxy on the addresses of --listen too: accept GET http://host/path and CONNECT host:443, as programs
    /// send them that honour http_proxy and https_proxy. Without a token or client certificates, only programs on this
    /// machine may use it. What passes through a tunnel (CONNECT) is not cached
    #[arg(long)]
    pub(crate) http_proxy: bool,

    /// Be a forward proxy on this address, for example 127.0.0.1:3128
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http_proxy_listen: Option<String>,

    #[command(flatten)]
    pub(crate) forward: ForwardArguments,

    #[command(flatten)]
    pub(crate) origin: OriginArguments,

    #[command(flatten)]
    pub(crate) server: ServerArguments,

    /// Serve with TLS and this certificate (PEM); intermediate certificates may follow it. This peer also presents it to
    /// peers that request a client certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Require a client certificate signed by one of these root certificates (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// Which responses are stored, and for how long.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    /// Override for how long responses are fresh; may be repeated, the first rule that matches counts
    ///
    /// A rule is a quoted list of words: host=PATTERN[:PORT], path=PATTERN (a pattern that ends with / also matches all
    /// paths below it), status=CODE,... [default: successes], one of exactly=TIME, at-least=TIME and at-most=TIME (such
    /// as 90s, 15m, 1h, 7d), and override=no-store,private for origins that send these directives by mistake.
    /// Example: --lifetime 'host=api.example.com path=/v1/ status=200 at-least=1h'
    #[arg(long = "lifetime", value_name = "RULE")]
    pub(crate) lifetimes: Vec<LifetimeRule>,

    /// How long a stale response may be served if the origin fails, unless the response itself specifies a time
    /// [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stale_if_error: Option<u32>,

    /// How long a stale response may be served while it is refreshed, unless the response itself specifies a time
    /// [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stale_while_revalidate: Option<u32>,

    /// How long a stale response may be served while another request for the same response waits for the origin
    /// [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u32>,

    /// Shorten lifetimes at random, by up to this percentage [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) jitter: Option<u8>,

    /// Refresh a response in the background if it is requested within this last part of its lifetime [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) early_refresh: Option<u8>,

    /// Longest heuristic lifetime, which is computed from Last-Modified; 0 disables heuristic lifetimes [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_heuristic_lifetime: Option<u32>,

    /// Largest body that is stored [default: what fits into --memory]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body: Option<ByteSize>,

    /// Store responses to POST requests with content of up to this size, under the URL and the content, if the response
    /// or --lifetime specifies how long they are fresh [default: 0, which stores none]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_post: Option<ByteSize>,

    /// Fetch the whole response in the background if nothing is stored and the origin responds to a conditional request
    /// with 304
    #[arg(long)]
    pub(crate) fill_on_conditional: bool,

    /// After a request for a range from byte 0 whose response has no strong ETag, do not fetch the whole response in the
    /// background
    #[arg(long)]
    pub(crate) no_fill_on_range: bool,

    /// Send no request to origins: serve stored responses, stale or not, unless their origin forbids it; otherwise respond
    /// with 504
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Limits of connections to origins.
#[derive(Debug, Args)]
pub(crate) struct OriginArguments {
    /// Time limit for connecting to an origin, including the TLS handshake [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_connect_timeout: Option<Duration>,

    /// Time limit for receiving the head of a response, including connecting [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_head_timeout: Option<Duration>,

    /// How long an origin may send no data within a body [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_read_timeout: Option<Duration>,

    /// How long an origin may send no data within an event stream (text/event-stream, multipart/x-mixed-replace)
    /// [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_stream_timeout: Option<Duration>,

    /// Time limit for a whole request to an origin, including the body [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) origin_max_time: Option<Duration>,

    /// Maximum size of the head of an origin's response [default: 64KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) origin_max_head: Option<ByteSize>,

    /// Maximum number of header fields of an origin's response, at most 4096 [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) origin_max_fields: Option<u16>,

    /// User-Agent of requests that have none; '' sends them without one [default: forwardcache/0.1]
    #[arg(long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownFields {
    Forward,
    Vary,
    Drop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Also store `private` responses, separately for each credential
    Private,
    /// The rules of RFC 9111 for shared caches
    Shared,
}
