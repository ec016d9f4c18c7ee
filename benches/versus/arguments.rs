//! What may be typed after `--`.

use clap::{Parser, ValueEnum};

use crate::servers::Kind;

/// Measures forwardcache against nginx, Varnish and Squid on this machine.
#[derive(Debug, Parser)]
#[command(name = "versus", max_term_width = 100)]
pub(crate) struct Arguments {
    /// How many rounds; in each, every server has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How long each turn lasts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,

    /// Measure this alone; may be repeated
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    pub(crate) scenarios: Vec<Scenario>,

    /// Measure these servers alone, separated by commas
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<Kind>,

    /// Write the results also when not all was measured
    #[arg(long)]
    pub(crate) write: bool,

    /// What `cargo bench` always says
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Arguments {
    pub(crate) fn has(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }

    /// Those of these servers that are asked for.
    pub(crate) fn chosen(&self, from: &[Kind]) -> Vec<Kind> {
        let asked_for = |kind: &Kind| self.only.is_empty() || self.only.contains(kind);
        from.iter().copied().filter(asked_for).collect()
    }

    pub(crate) fn writes(&self) -> bool {
        self.write || (self.scenarios.is_empty() && self.only.is_empty())
    }
}

/// What can be measured.
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
    /// Hits of 1 KiB over TLS
    #[value(name = "tls-hits-1-kib")]
    SmallTlsHits,
    /// Hits of 64 KiB over TLS
    #[value(name = "tls-hits-64-kib")]
    MediumTlsHits,
    /// Hits of 1 MiB over TLS
    #[value(name = "tls-hits-1-mib")]
    LargeTlsHits,
    /// Full TLS handshakes, each with one hit of 1 KiB
    FullHandshakes,
    /// TLS handshakes that resume a session, each with one hit of 1 KiB
    ResumedHandshakes,
    /// The times of hits of 1 KiB beside three clients that read 60 MiB as fast as they can
    Readers,
    /// The times of hits of 1 KiB over TLS beside 500 handshakes a second
    BesideHandshakes,
    /// URLs of 1 KiB that nobody asked for before
    Misses,
    /// As misses, with an origin that takes 200 ms for each
    SlowMisses,
    /// As slow misses, with an origin that speaks TLS
    SlowTlsMisses,
    /// Hits of 1 KiB of a load in which each tenth request is a miss that takes 50 ms
    MixedHits,
    /// Hits while event streams are open
    Streams,
    /// Hits while thousands of connections stay idle
    Idle,
    /// The memory that a stored object takes
    Objects,
    /// The size of the binary, its memory, and its start
    Start,
}
