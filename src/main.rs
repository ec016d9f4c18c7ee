//! The command `forwardcache`: typed words, resolved settings, one thin subcommand each. It uses only the
//! library's public face.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
