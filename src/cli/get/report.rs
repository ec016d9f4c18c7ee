//! The result for a URL: the message on standard error, the line of `--json`, the exit code.

use std::path::PathBuf;
use std::time::Duration;

use forwardcache::{Body, Error, ErrorKind, Outcome, ResponseExt};
use http::header::AGE;
use http::{Response, StatusCode};
use serde_json::json;

use super::super::failure::Failure;
use super::target::Target;

/// The result for a URL.
pub(super) struct Report {
    url: String,
    file: Option<PathBuf>,
    status: Option<StatusCode>,
    outcome: Option<Outcome>,
    age: Option<u64>,
    peer: Option<String>,
    is_direct: bool,
    /// How often the request was sent.
    pub(super) attempts: u32,
    /// The size of the body that was written.
    pub(super) bytes: u64,
    /// The offset at which the body of an earlier run was continued.
    pub(super) continued_at: Option<u64>,
    pub(super) duration: Duration,
    error_kind: Option<ErrorKind>,
    pub(super) failure: Option<Failure>,
    /// A message about a response that is complete.
    note: Option<String>,
}

impl Report {
    pub(super) fn new(url: &str, target: &Target) -> Self {
        let file = match target {
            Target::File(path) => Some(path.clone()),
            Target::Stdout | Target::Discard => None,
        };
        Self {
            url: url.to_owned(),
            file,
            status: None,
            outcome: None,
            age: None,
            peer: None,
            is_direct: false,
            attempts: 0,
            bytes: 0,
            continued_at: None,
            duration: Duration::ZERO,
            error_kind: None,
            failure: None,
            note: None,
        }
    }

    /// Records the head of a response.
    pub(super) fn answered(&mut self, response: &Response<Body>) {
        let info = response.info();
        self.error_kind = None;
        self.status = Some(response.status());
        self.outcome = info.outcome();
        self.age = response.headers().get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        self.peer = info.peer().map(str::to_owned);
        self.is_direct = info.is_direct();
    }

    /// Records an attempt that failed, and returns its error with the URL.
    pub(super) fn failed(&mut self, error: Error) -> Error {
        self.error_kind = Some(error.kind());
        if error.url().is_none() { error.with_url(&self.url) } else { error }
    }

    /// Records that the status is the only thing to tell.
    pub(super) fn note_status(&mut self, more: &str) {
        let Some(status) = self.status else { return };
        let detail = self.outcome.map(|outcome| format!(" ({outcome})")).unwrap_or_default();
        let error = Error::new(ErrorKind::Status, format!("{status}{detail}")).with_url(&self.url);
        self.note = Some(format!("{error}{more}"));
    }

    /// Returns the target as messages name it.
    pub(super) fn file(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.display().to_string())
    }

    /// Returns the line for standard error, if there is one.
    pub(super) fn message(&self) -> Option<String> {
        match &self.failure {
            Some(Failure::BrokenPipe) => None,
            Some(failure) => Some(failure.to_string()),
            None => self.note.clone(),
        }
    }

    /// Returns the exit code of a command that fetches only this URL.
    pub(super) fn code(&self) -> u8 {
        match (&self.failure, self.status) {
            (Some(failure), _) => failure.code(),
            (None, Some(status)) if status.is_client_error() => 4,
            (None, Some(status)) if status.is_server_error() => 5,
            (None, _) => 0,
        }
    }

    /// Returns the metadata as a line of JSON.
    pub(super) fn json(&self) -> String {
        let failure = self.failure.as_ref();
        json!({
            "url": self.url,
            "status": self.status.map(|status| status.as_u16()),
            "outcome": self.outcome.map(Outcome::name),
            "age": self.age,
            "bytes": self.bytes,
            "continued_at": self.continued_at,
            "file": self.file(),
            "duration": self.duration.as_secs_f64(),
            "attempts": self.attempts,
            "peer": self.peer,
            "direct": self.is_direct,
            "error": failure.map(ToString::to_string),
            "error_kind": failure.and(self.error_kind).map(ErrorKind::name),
        })
        .to_string()
    }
}

/// Returns the exit code of a command from those of two URLs.
pub(super) fn worse(one: u8, other: u8) -> u8 {
    const ORDER: [u8; 5] = [0, 4, 5, 1, 2];
    let rank = |code| ORDER.iter().position(|known| *known == code);
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_is_that_of_the_worst_url() {
        for (codes, expected) in [(&[0, 0][..], 0), (&[4, 0, 5, 4], 5), (&[4, 1, 5], 1), (&[1, 2, 5], 2)] {
            assert_eq!(codes.iter().copied().fold(0, worse), expected, "{codes:?}");
        }
    }
}
