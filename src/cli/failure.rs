//! Failures of the command: one line on standard error, and the exit code.

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use forwardcache::{Error, ErrorKind};

/// The reason why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is invalid: exit code 2.
    Usage(String),
    /// The operation failed: exit code 1.
    Failed(String),
    /// The reader of standard output has closed it: exit code 0, without a message.
    BrokenPipe,
}

impl Failure {
    /// Returns an operation failure with this message.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// Returns a failure of an operation on a file or stream. `what` describes the operation.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Failed(format!("{what}: {error}"))
    }

    /// Prints the message and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                eprintln!("forwardcache: {message}");
                ExitCode::from(2)
            }
            Self::Failed(message) => {
                eprintln!("forwardcache: {message}");
                ExitCode::FAILURE
            }
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

/// Writes the text to standard output and flushes it.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    write!(output, "{text}")
        .and_then(|()| output.flush())
        .map_err(|error| Failure::io("cannot write to standard output", &error))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = error.to_string();
        // The last cause has the message of the operating system.
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        if let Some(cause) = causes.last().map(ToString::to_string) {
            // ureq prefixes the system's message with this, which would defeat the check for repetition below.
            let cause = cause.strip_prefix("io: ").unwrap_or(&cause);
            if !message.contains(cause) {
                message = format!("{message}: {cause}");
            }
        }
        match error.kind() {
            ErrorKind::BadUrl | ErrorKind::BadPeer | ErrorKind::BadOption => Self::Usage(message),
            _ => Self::Failed(message),
        }
    }
}

/// Prints a result of the argument parser: help and version in full, and an error in one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingSubcommand,
    };
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            // Printing help succeeds even if standard output is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let message: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
                .filter(|line| !line.is_empty())
                .collect();
            Failure::Usage(message.join(" ")).report()
        }
    }
}
