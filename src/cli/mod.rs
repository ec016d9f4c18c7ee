//! The command's subcommands.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments` | the words that may be typed |
//! | `failure` | one line on standard error, and the exit code |
//! | `serve` | a peer of the pool, until it is told to end |
//! | `server` | the front that the command line asks for |
//! | `open_files` | how many files may be open |
//! | `get` | one URL through the pool, or cached in this process |
//! | `why` | what would happen to a GET, as the owner of its URL says |
//! | `purge` | what is stored, removed from every peer |
//! | `fields` | fields as they are typed |
//! | `owner` | which peer owns which URL |
//! | `demo` | a pool of three in one process, and a table of what it does |
//! | `ring` | how evenly a ring places keys, and a model of a large pool |
//! | `pool` | the pool that the command line names, and a client of it |
//! | `tokens` | by what the pool knows who asks |
//! | `progress` | the bar of a long download |

mod arguments;
mod demo;
mod failure;
mod fields;
mod get;
mod open_files;
mod owner;
mod pool;
mod progress;
mod purge;
mod ring;
mod serve;
mod server;
mod tokens;
mod why;

use std::process::ExitCode;

use clap::Parser;
use log::{Level, Log, Metadata, Record};

use arguments::{Arguments, Command};
use failure::Failure;

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    // Those who ask once say in the end themselves what became of it, and what the demo loses is no news.
    let asks = matches!(arguments.command, Command::Get(_) | Command::Why(_) | Command::Demo);
    start_log(arguments.verbose, asks);
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Owner(arguments) => owner::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Demo => demo::run(),
    };
    done.unwrap_or_else(Failure::report)
}

/// `RUST_LOG` says what is logged; without it, warnings, and with `-v` what happened to every request.
fn start_log(verbose: bool, asks: bool) {
    // tiny_http calls it an error that its listener is closed, which is how a front is shut down.
    let default = match (verbose, asks) {
        (true, _) => "warn,tiny_http=off,forwardcache=debug",
        (false, false) => "warn,tiny_http=off",
        (false, true) => "warn,tiny_http=off,forwardcache::client=off",
    };
    let environment = env_logger::Env::default().default_filter_or(default);
    let logger = env_logger::Builder::from_env(environment).format_target(false).build();
    log::set_max_level(logger.filter());
    // Another one is set by nobody.
    let _ = log::set_boxed_logger(Box::new(Discreet(logger)));
}

/// Libraries that show whole requests, credentials and all, to whoever asks for debugging.
const TALKATIVE: [&str; 2] = ["ureq", "rustls"];

/// A log in which they only warn, whatever `RUST_LOG` says.
struct Discreet(env_logger::Logger);

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_talkative = TALKATIVE.iter().any(|library| metadata.target().starts_with(library));
        !(is_talkative && metadata.level() > Level::Warn) && self.0.enabled(metadata)
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
