//! Failures of the command: one line on standard error, and the exit code.

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
        if !matches!(self, Self::BrokenPipe) {
            eprintln!("forwardcache: {self}");
        }
        ExitCode::from(self.code())
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
            Self::BrokenPipe => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Failed(message) => f.write_str(message),
            Self::BrokenPipe => f.write_str("standard output is closed"),
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
        let message = format!("{error:#}");
        match error.kind() {
            ErrorKind::BadUrl | ErrorKind::BadPeer | ErrorKind::BadOption => Self::Usage(message),
            _ => Self::Failed(message),
        }
    }
}

/// Why there are no valid options.
#[derive(Debug)]
pub(crate) enum Usage {
    /// The parser printed help or the version, or rejected an option. `source` names where the option comes from unless it
    /// comes from the command line.
    Parser { error: Box<clap::Error>, source: Option<String> },
    /// A configuration file or a variable is invalid.
    Source(Failure),
}

impl From<Failure> for Usage {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

impl Usage {
    /// Prints help and the version in full and an error in one line. Returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        use clap::error::ErrorKind::{
            DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingSubcommand,
        };
        match &self {
            Self::Parser { error, .. } if matches!(error.kind(), DisplayHelp | DisplayVersion) => {
                // Printing help succeeds even if standard output is closed.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            Self::Parser { error, .. }
                if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) =>
            {
                let _ = error.print();
                ExitCode::from(2)
            }
            _ => self.into_failure().report(),
        }
    }

    /// Returns the fault in one line.
    pub(crate) fn into_failure(self) -> Failure {
        let (error, source) = match self {
            Self::Parser { error, source } => (error, source),
            Self::Source(failure) => return failure,
        };
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let message: Vec<&str> = text
            .lines()
            .map(str::trim)
            .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
            .filter(|line| !line.is_empty())
            .collect();
        let source = source.map(|source| format!("{source}: ")).unwrap_or_default();
        Failure::Usage(format!("{source}{}", message.join(" ")))
    }
}
