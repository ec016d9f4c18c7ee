//! [`Failure`]: why a command has no usable response.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The longest text of a server that is shown, in characters.
const MAX_SHOWN: usize = 200;

#[derive(Debug)]
pub(super) enum Failure {
    /// The connection failed, or the response is late.
    Transport(io::Error),
    /// The response is not RESP, or not what the command returns.
    Invalid(&'static str),
    /// The response does not fit into the memory of this process.
    NoMemory,
    /// The server refuses the command.
    Refused { code: String, text: String },
}

impl Failure {
    /// Reads the text of an error response.
    pub(super) fn refused(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self::Refused { code: code.to_owned(), text: text.to_owned() }
    }

    /// Returns the code of a refusal, such as `MOVED`.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns the host and the port to which a node of a cluster redirects.
    pub(super) fn redirection(&self) -> Option<(&str, &str)> {
        match self {
            Self::Refused { code, text } if code == "MOVED" || code == "ASK" => {
                text.split(' ').nth(1)?.rsplit_once(':')
            }
            _ => None,
        }
    }

    /// Whether the server works, and cannot run this command now.
    pub(super) fn is_of_working_server(&self) -> bool {
        self.is_out_of_memory() || self.is_of_moving_keys()
    }

    /// Whether the keys of the command are moving to another node, and only some of them are there.
    pub(super) fn is_of_moving_keys(&self) -> bool {
        self.code() == Some("TRYAGAIN")
    }

    /// Whether the server, or this process, has no memory for the command.
    fn is_out_of_memory(&self) -> bool {
        match self {
            Self::NoMemory => true,
            // An error of a command in a script is part of the text.
            Self::Refused { code, text } => code == "OOM" || text.contains("OOM command"),
            _ => false,
        }
    }

    /// Whether the server has closed the connection.
    pub(super) fn is_closed_connection(&self) -> bool {
        let is_of_closed = |kind| {
            matches!(
                kind,
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
            )
        };
        matches!(self, Self::Transport(error) if is_of_closed(error.kind()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Invalid(problem) => write!(f, "the response {problem}"),
            Self::NoMemory => f.write_str("no memory is left for the response"),
            Self::Refused { code, text } => {
                let shown = code.chars().chain([' ']).chain(text.chars());
                let plain = |c: char| if c.is_control() { '?' } else { c };
                f.write_str(&shown.map(plain).take(MAX_SHOWN).collect::<String>())
            }
        }
    }
}

impl StdError for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let moved = Failure::refused("MOVED 3999 ::1:6381");
        assert_eq!((moved.code(), moved.redirection()), (Some("MOVED"), Some(("::1", "6381"))));
        for line in ["MOVED", "MOVED 1", "MOVED 1 nowhere", "ERR 1 a:1", ""] {
            assert!(Failure::refused(line).redirection().is_none(), "{line}");
        }
        let in_script = "ERR Error running script: OOM command not allowed when used memory > 'maxmemory'.";
        for line in ["OOM command not allowed", in_script, "TRYAGAIN Multiple keys request during rehashing"]
        {
            assert!(Failure::refused(line).is_of_working_server(), "{line}");
        }
        assert!(!Failure::refused("ERR unknown").is_of_working_server());
    }

    #[test]
    fn text_of_a_server_is_shown_in_one_short_line() {
        let shown = Failure::refused(&format!("ERR \u{1b}[2J\r{}", "x".repeat(4000))).to_string();
        assert!(shown.starts_with("ERR ?[2J?xxx") && shown.len() == MAX_SHOWN, "{shown}");
    }
}
