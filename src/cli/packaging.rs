//! `forwardcache completions` and `forwardcache man`: what packages generate from the definitions of the arguments.

use std::fs;
use std::process::ExitCode;

use clap::CommandFactory;

use super::arguments::{Arguments, Completions, Man};
use super::failure::{Failure, print};

/// Prints the completions for a shell.
pub(crate) fn completions(arguments: &Completions) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "forwardcache", &mut script);
    print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the command and one for each subcommand.
pub(crate) fn man(arguments: &Man) -> Result<ExitCode, Failure> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), directory))
        .map_err(|error| Failure::io(format_args!("cannot write to {}", directory.display()), &error))?;
    Ok(ExitCode::SUCCESS)
}
