//! The command-line options after `--`.

use clap::{Parser, ValueEnum};

use crate::servers::Kind;

/// Measures forwardcache against nginx, Varnish and Squid on this machine.
#[derive(Debug, Parser)]
#[command(name = "versus", max_term_width = 100)]
pub(crate) struct Arguments {
    /// Number of rounds; in each round every server is measured once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Duration of each measurement in seconds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,

    /// Measure only this scenario; can be repeated
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    pub(crate) scenarios: Vec<Scenario>,

    /// Number of further entries whose memory is measured by disk-entries
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    pub(crate) entries: u64,

    /// Measure only these servers, separated by commas
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<Kind>,

    /// Write the results even if only a part was measured
    #[arg(long)]
    pub(crate) write: bool,

    /// Always passed by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Arguments {
    pub(crate) fn has(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }

    /// Returns the servers in `from` that are selected.
    pub(crate) fn chosen(&self, from: &[Kind]) -> Vec<Kind> {
        let asked_for = |kind: &Kind| self.only.is_empty() || self.only.contains(kind);
        from.iter().copied().filter(asked_for).collect()
    }

    pub(crate) fn writes(&self) -> bool {
        self.write || (self.scenarios.is_empty() && self.only.is_empty())
    }
}

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Hits of 1 KiB
    #[value(name = "hits-1-kib", alias = "hits 1 KiB")]
    SmallHits,
    /// Hits of 64 KiB
    #[value(name = "hits-64-kib", alias = "hits 64 KiB")]
    MediumHits,
    /// Hits of 1 MiB
    #[value(name = "hits-1-mib", alias = "hits 1 MiB")]
    LargeHits,
    /// Hits of 1 KiB of many URLs, most of which are on the disk alone
    #[value(name = "disk-hits-1-kib")]
    SmallDiskHits,
    /// The same of 64 KiB
    #[value(name = "disk-hits-64-kib")]
    MediumDiskHits,
    /// The same of 1 MiB
    #[value(name = "disk-hits-1-mib")]
    LargeDiskHits,
    /// The same of 100 MiB
    #[value(name = "disk-hits-100-mib")]
    HugeDiskHits,
    /// Hits of 1 KiB that memory holds, of a server with a store on disk
    HitsAboveDisk,
    /// Misses of 1 KiB that are stored on the disk
    DiskInserts,
    /// The start over 100,000 entries on disk, and the memory of each further entry
    DiskEntries,
    /// Hits of 1 KiB over TLS
    #[value(name = "tls-hits-1-kib")]
    SmallTlsHits,
    /// Hits of 64 KiB over TLS
    #[value(name = "tls-hits-64-kib")]
    MediumTlsHits,
    /// Hits of 1 MiB over TLS
    #[value(name = "tls-hits-1-mib")]
    LargeTlsHits,
    /// Full TLS handshakes, each with a hit of 1 KiB
    FullHandshakes,
    /// Resumed TLS handshakes, each with a hit of 1 KiB
    ResumedHandshakes,
    /// Hits of 1 KiB while three clients read 60 MiB as fast as they can
    Readers,
    /// Hits of 1 KiB over TLS with 500 handshakes per second
    BesideHandshakes,
    /// Misses of 1 KiB
    Misses,
    /// Misses of 1 KiB, with an origin latency of 200 ms
    SlowMisses,
    /// Misses of 1 KiB, with an origin latency of 200 ms over TLS
    SlowTlsMisses,
    /// Hits of 1 KiB while 10 % of the requests are misses that take 50 ms
    MixedHits,
    /// Hits of 1 KiB while event streams are open
    Streams,
    /// Hits of 1 KiB while thousands of connections are idle
    Idle,
    /// Hits of 1 KiB in prefix and absolute form, and through a gateway
    Forms,
    /// Tunnels of CONNECT requests: opened per second, and 1 GiB through one
    Tunnels,
    /// Memory per stored object of 1 KiB
    Objects,
    /// Size of the binary, memory and start time
    Start,
}
