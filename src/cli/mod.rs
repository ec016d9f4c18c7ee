//! The command `forwardcache`, an ordinary user of the library's public API.
//!
//! [`run`] parses the command line, starts the log and calls the module of the subcommand.
//!
//! | file | content |
//! |---|---|
//! | `arguments` | subcommands, flags and their help texts |
//! | `config` | options of `serve` from a file and from the environment; `config check` and `config show` |
//! | `failure` | one line on standard error, and the exit code |
//! | `serve` | `serve`: serves a peer until a signal |
//! | `peer_options` | the peer that `serve` serves: each flag becomes an option of the library |
//! | `reload` | what SIGHUP reads again |
//! | `server` | the server that `serve` starts |
//! | `open_files` | the limit of open files |
//! | `get` | `get`: fetches one URL through the pool, or directly without a pool |
//! | `progress` | the progress bar of a download |
//! | `why` | `why`: what would happen to a GET request |
//! | `purge` | `purge`: removes stored responses from every peer |
//! | `owner` | `owner`: which peer owns each URL |
//! | `ring` | `ring`: the share of the keys that each peer owns |
//! | `demo` | `demo`: a pool of three peers in one process |
//! | `pool` | the pool of the command line, and a client for it |
//! | `tokens` | tokens from a file or from the environment |
//! | `fields` | header fields of the flag `-H` |
//! | `optional` | builder options that are set only if the command line specifies them |

mod arguments;
mod config;
mod demo;
mod failure;
mod fields;
mod get;
mod open_files;
mod optional;
mod owner;
mod peer_options;
mod pool;
mod progress;
mod purge;
mod reload;
mod ring;
mod serve;
mod server;
mod tokens;
mod why;

use std::env;
use std::process::ExitCode;

use log::{Level, Log, Metadata, Record};

use arguments::{Command, ConfigAction};
use failure::Failure;

/// Runs the subcommand of the command line and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let (arguments, sources) = match config::parse(env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(usage) => return usage.report(),
    };
    // `get` and `why` report failures of the client themselves, and the demo stops a peer on purpose.
    let hides_client_warnings =
        matches!(arguments.command, Command::Get(_) | Command::Why(_) | Command::Demo);
    start_log(arguments.verbose, hides_client_warnings);
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments, sources),
        Command::Config(arguments) => match arguments.action {
            ConfigAction::Check => config::show::check(arguments.file.as_deref()),
            ConfigAction::Show => config::show::show(arguments.file.as_deref()),
        },
        Command::Get(arguments) => get::run(&arguments),
        Command::Owner(arguments) => owner::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Demo => demo::run(),
    };
    result.unwrap_or_else(Failure::report)
}

/// Starts the log. `RUST_LOG` selects what is logged. Default: warnings, and with `-v` the outcome of every request.
fn start_log(verbose: bool, hides_client_warnings: bool) {
    // tiny_http is off because it logs an error when its listener is closed, which is how its server shuts down.
    let default = match (verbose, hides_client_warnings) {
        (true, _) => "warn,tiny_http=off,forwardcache=debug",
        (false, false) => "warn,tiny_http=off",
        (false, true) => "warn,tiny_http=off,forwardcache::client=off",
    };
    let environment = env_logger::Env::default().default_filter_or(default);
    let logger = env_logger::Builder::from_env(environment).format_target(false).build();
    log::set_max_level(logger.filter());
    // This fails only if a logger is already set, and nothing else in this program sets one.
    let _ = log::set_boxed_logger(Box::new(CredentialSafeLogger(logger)));
}

/// Libraries whose debug messages contain whole requests with their credentials.
const LIBRARIES_THAT_LOG_CREDENTIALS: [&str; 2] = ["ureq", "rustls"];

/// A logger that lets those libraries log only warnings and errors, whatever `RUST_LOG` specifies.
struct CredentialSafeLogger(env_logger::Logger);

impl Log for CredentialSafeLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let may_log_credentials =
            LIBRARIES_THAT_LOG_CREDENTIALS.iter().any(|library| metadata.target().starts_with(library));
        !(may_log_credentials && metadata.level() > Level::Warn) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
