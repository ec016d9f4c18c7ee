//! Flags of `top`.

use clap::{Args, ValueEnum};

use super::status::Status;

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print only this list [default: all three]
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) of: Option<Subject>,

    /// Order the lists by this amount
    #[arg(long, value_name = "AMOUNT", default_value = "requests")]
    pub(crate) by: Amount,

    /// Print at most this many lines of each list, from 1 to 20
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) lines: u8,

    #[command(flatten)]
    pub(crate) peers: Status,
}

/// The subject of a list.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Subject {
    /// URLs without their query
    Urls,
    /// Origins, and mirrors
    Origins,
    /// Addresses of clients
    Clients,
}

impl Subject {
    /// Returns the name in `/status.json`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Urls => "urls",
            Self::Origins => "origins",
            Self::Clients => "clients",
        }
    }

    /// Returns the title of the column.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Urls => "URL",
            Self::Origins => "ORIGIN",
            Self::Clients => "CLIENT",
        }
    }
}

/// The amount that orders a list.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Amount {
    /// Requests
    Requests,
    /// Bytes of content sent to clients
    Bytes,
    /// Requests that the store could not answer
    Misses,
}

impl Amount {
    pub(crate) const ALL: [Self; 3] = [Self::Requests, Self::Bytes, Self::Misses];

    /// Returns the name in `/status.json`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Misses => "misses",
        }
    }
}
