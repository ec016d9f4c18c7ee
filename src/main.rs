//! The command `forwardcache`. It parses the command line and runs one subcommand. It uses only the
//! public API of the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
