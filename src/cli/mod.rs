//! The command's subcommands.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments` | the words that may be typed |
//! | `failure` | one line on standard error, and the exit code |
//! | `serve` | a peer of the pool, until it is told to end |
//! | `front` | the front that the command line asks for |
//! | `get` | one URL through the pool, or cached in this process |
//! | `why` | what would happen to a GET, as the owner of its URL says |
//! | `fields` | fields as they are typed |
//! | `owner` | which peer owns which URL |
//! | `demo` | a pool of three in one process, and a table of what it does |
//! | `pool` | a client of the pool that the command line names |
//! | `tokens` | by what the pool knows who asks |
//! | `progress` | the bar of a long download |

mod arguments;
mod demo;
mod failure;
mod fields;
mod front;
mod get;
mod owner;
mod pool;
mod progress;
mod serve;
mod tokens;
mod why;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    start_log(arguments.verbose);
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Owner(arguments) => owner::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Demo => demo::run(),
    };
    done.unwrap_or_else(Failure::report)
}

/// `RUST_LOG` says what is logged; without it, warnings, and with `-v` what happened to every request.
fn start_log(verbose: bool) {
    // tiny_http calls it an error that its listener is closed, which is how a front is shut down.
    let default = if verbose { "warn,tiny_http=off,forwardcache=debug" } else { "warn,tiny_http=off" };
    let environment = env_logger::Env::default().default_filter_or(default);
    env_logger::Builder::from_env(environment).format_target(false).init();
}
