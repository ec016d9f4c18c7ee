//! One line on standard error, and the exit code.

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use forwardcache::{Error, ErrorKind};

/// Why the command ends without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed makes no sense: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    Failed(String),
    /// Whoever read our output has gone: nobody is left to tell.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// About something that was read or written.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Failed(format!("{what}: {error}"))
    }

    /// Says what it is, and ends.
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

/// Writes to standard output, and does not keep it.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    write!(output, "{text}")
        .and_then(|()| output.flush())
        .map_err(|error| Failure::io("cannot write", &error))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = error.to_string();
        // The last cause is the one that names what the system said.
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        if let Some(cause) = causes.last().map(ToString::to_string) {
            // ureq puts that before what the message may have said already.
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

/// What clap has to say: help and version are answers, everything else one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingSubcommand,
    };
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            // Help can never fail: whoever does not read it is not told so.
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
            let said: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
                .filter(|line| !line.is_empty())
                .collect();
            Failure::Usage(said.join(" ")).report()
        }
    }
}
