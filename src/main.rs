//! The command `forwardcache`. It parses arguments, resolves settings and runs one subcommand, and uses only the public
//! API of the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
