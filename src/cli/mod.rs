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
//! | `serve_flags_to_options` | the peer that `serve` serves: each flag becomes an option of the library |
//! | `announce` | what `serve` prints at start
//! | `redis` | the store in Redis |
//! | `reload` | what SIGHUP reads again |
//! | `server` | the server that `serve` starts |
//! | `listen` | the addresses of flags, and the sockets that listen there or were handed over |
//! | `signals` | what `serve` does on a signal |
//! | `successor` | restart without an interruption: the sockets go to a new process |
//! | `notify` | messages to the service manager |
//! | `logging` | the log on standard error |
//! | `open_files` | the limit of open files |
//! | `gateway` | `gateway`: sends the requests of any program to the pool |
//! | `get` | `get`: fetches URLs through the pool, or directly without a pool |
//! | `warm` | `warm`: requests the URLs of a list, so that the pool stores them |
//! | `local` | the cache of `get` and `warm` without a pool, which keeps responses between runs |
//! | `lease` | of several processes that fetch one URL at the same time, one fetches |
//! | `manifest` | the list of `store manifest` and `get --frozen` |
//! | `store` | `store`: lists, verifies, removes and exports what is kept |
//! | `progress` | progress bars |
//! | `why` | `why`: what would happen to a GET request |
//! | `purge` | `purge`: removes stored responses from every peer |
//! | `owner` | `owner`: which peer owns each URL |
//! | `ring` | `ring`: the share of the keys that each peer owns |
//! | `status` | `status`: the state of peers as a table |
//! | `top` | `top`: the URLs, origins and clients with the most requests |
//! | `demo` | `demo`: a pool of three peers in one process |
//! | `packaging` | `completions` and `man`: completions for shells, and man pages |
//! | `pool` | the pool of the command line, and a client for it |
//! | `tokens` | tokens from a file or from the environment |
//! | `fields` | header fields of the flag `-H` |
//! | `optional` | builder options that are set only if the command line specifies them |

mod announce;
mod arguments;
mod config;
mod demo;
mod failure;
mod fields;
mod gateway;
mod get;
mod lease;
mod listen;
mod local;
mod logging;
mod manifest;
mod notify;
mod open_files;
mod optional;
mod owner;
mod packaging;
mod pool;
mod progress;
mod purge;
mod redis;
mod reload;
mod ring;
mod serve;
mod serve_flags_to_options;
mod server;
mod signals;
mod status;
mod store;
#[cfg(unix)]
mod successor;
mod tokens;
mod top;
mod warm;
mod why;

use std::env;
use std::process::ExitCode;

use arguments::{Command, ConfigAction};
use failure::Failure;

/// Runs the subcommand of the command line and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let (arguments, sources) = match config::parse(env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(usage) => return usage.report(),
    };
    // `get`, `warm` and `why` report failures of the client themselves, and the demo stops a peer on purpose.
    let hides_client_warnings =
        matches!(arguments.command, Command::Get(_) | Command::Warm(_) | Command::Why(_) | Command::Demo);
    logging::start(arguments.verbose, hides_client_warnings);
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments, sources),
        Command::Gateway(arguments) => gateway::run(&arguments),
        Command::Config(arguments) => match arguments.action {
            ConfigAction::Check => config::show::check(arguments.file.as_deref()),
            ConfigAction::Show => config::show::show(arguments.file.as_deref()),
        },
        Command::Get(arguments) => get::run(&arguments),
        Command::Warm(arguments) => warm::run(&arguments),
        Command::Owner(arguments) => owner::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Demo => demo::run(),
        Command::Completions(arguments) => packaging::completions(&arguments),
        Command::Man(arguments) => packaging::man(&arguments),
    };
    result.unwrap_or_else(Failure::report)
}
