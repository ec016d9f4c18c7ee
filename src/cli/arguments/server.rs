//! Flags of `serve` for its connections and threads.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use forwardcache::server::TrustedProxies;
use forwardcache::store::ByteSize;

/// Limits and threads of the server.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// The server that accepts connections: the built-in event loop, or tiny_http for trusted clients only
    #[arg(long = "server", value_name = "SERVER", value_enum, default_value_t = ServerKind::Event)]
    pub(crate) kind: ServerKind,

    /// Log each request to this file, one line each; - writes to standard output. SIGUSR1 reopens the file
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,

    /// Format of the access log: the combined format with outcome and duration, or JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, requires = "access_log")]
    pub(crate) access_log_format: LogFormat,

    /// Require the PROXY protocol (version 1 or 2) of connections from this address or network, or unix for Unix sockets;
    /// may be repeated. Limits and the log then apply to the client that the proxy names. List only your own proxies
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_protocol_from: Vec<TrustedProxies>,

    /// Number of open tunnels (CONNECT), at most half of them for one client; fewer if the system limits open files to less
    /// than four times as many [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) max_tunnels: Option<u32>,

    /// How long a tunnel may transfer nothing [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tunnel_idle_timeout: Option<u32>,

    /// Number of threads that may wait for origins, as far as memory and open files allow [default: 1024, 64 with tiny_http]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) workers: Option<u16>,

    /// Number of threads that read from and write to connections [default: number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) io_threads: Option<u16>,

    /// Number of requests that may wait for a worker [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) queue_length: Option<u32>,

    /// How long a request may wait for a worker [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_queue_wait: Option<u32>,

    /// Number of open connections; fewer if the system limits open files to less [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// Number of open connections from one IPv4 address, or one IPv6 network of 64 bits [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_address: Option<u32>,

    /// Maximum size of the head of a request [default: 16KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_head: Option<ByteSize>,

    /// Maximum number of header fields of a request, at most 256 [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) max_fields: Option<u16>,

    /// Maximum length of a request target [default: 8KiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_target: Option<ByteSize>,

    /// Maximum size of the content of a request [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_request_body: Option<ByteSize>,

    /// Time limit for receiving the head of a request [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) head_timeout: Option<u32>,

    /// How long a connection may stay open without a request [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle_timeout: Option<u32>,

    /// How long a client may neither send nor receive data during a request [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) stall_timeout: Option<u32>,

    /// Bytes per second that a client must send or receive during a request [default: 256]
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_transfer_rate: Option<ByteSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// The combined format of Apache and nginx, followed by the outcome and the duration in seconds
    Text,
    /// One JSON object in each line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServerKind {
    /// Non-blocking I/O threads, with limits and timeouts for everything
    Event,
    /// The crate tiny_http: one thread for each connection, no limits
    #[value(name = "tiny_http")]
    TinyHttp,
}
