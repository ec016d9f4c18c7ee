//! Flags of `config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,

    /// Configuration file [default: the file that FORWARDCACHE_CONFIG names]
    #[arg(long = "config", value_name = "FILE", global = true)]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Check the configuration file, the environment, and the files that they name
    Check,
    /// Print the options that the configuration file and the environment set, and where
    Show,
}
