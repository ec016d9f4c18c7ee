//! The attempts for one URL.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use forwardcache::client::BodyIdentity;
use forwardcache::origin::CanonicalUrl;
use forwardcache::{Body, Deadline, Error, ErrorKind, ResponseExt, RoundTrip};
use http::{HeaderMap, Response, StatusCode, Version};

use super::super::failure::Failure;
use super::super::progress::Bars;
use super::message::Template;
use super::output::{Files, Output};
use super::report::Report;
use super::retry::Retry;
use super::target::Target;

/// The settings that all transfers share.
pub(super) struct Transfer<'a> {
    pub(super) template: Template,
    pub(super) transport: &'a dyn RoundTrip,
    pub(super) bars: Bars,
    pub(super) retry: Retry,
    pub(super) max_time: Option<Duration>,
    /// `-i` or `-I`: the head is written too.
    pub(super) includes_head: bool,
    /// `--include-errors`
    pub(super) includes_errors: bool,
    /// `-f`
    pub(super) drops_errors: bool,
    pub(super) files: Files,
}

/// How receiving a response ended.
enum Received {
    Complete,
    /// The response replaces nothing.
    Ignored,
    Broken(Error),
    /// The bytes are not those that were requested: the complete body has to be requested.
    Unusable,
}

impl Transfer<'_> {
    /// Fetches a URL.
    pub(super) fn run(&self, url: &CanonicalUrl, target: &Target) -> Report {
        let begun = Instant::now();
        let mut report = Report::new(url.as_str(), target);
        if let Err(failure) = self.attempts(url, target, &mut report) {
            report.failure = Some(failure);
        }
        report.duration = begun.elapsed();
        report
    }

    fn attempts(&self, url: &CanonicalUrl, target: &Target, report: &mut Report) -> Result<(), Failure> {
        let mut output = Output::open(target, url.as_str(), self.files)?;
        let deadline = self.max_time.map(Deadline::within);
        let is_idempotent = self.template.method.is_idempotent();
        let mut repeated = 0;
        loop {
            let pause = |output: &Output, error: &Error| {
                let left = deadline.and_then(|deadline| deadline.remaining(Instant::now()));
                let pause = self.retry.pause(repeated, error, is_idempotent, left);
                pause.filter(|_| output.may_be_repeated())
            };
            let mut request = self.template.request(url, deadline);
            if let Some((offset, identity)) = output.rest() {
                identity.request_rest(offset, request.headers_mut());
            }
            report.attempts += 1;
            let (error, time) = match self.transport.round_trip(request) {
                Err(error) => {
                    let time = pause(&output, &error);
                    (error, time)
                }
                Ok(response) => {
                    report.answered(&response);
                    let refused = response
                        .status_error()
                        .and_then(|error| pause(&output, &error).map(|time| (error, Some(time))));
                    match refused {
                        Some(refused) => refused,
                        None => match self.receive(response, &mut output, report)? {
                            Received::Complete => {
                                report.bytes = output.received();
                                return output.finish();
                            }
                            Received::Ignored => {
                                report.bytes = 0;
                                return Ok(());
                            }
                            Received::Unusable => {
                                output.forget();
                                continue;
                            }
                            Received::Broken(error) => {
                                let time = pause(&output, &error);
                                (error, time)
                            }
                        },
                    }
                }
            };
            report.bytes = output.received();
            let error = report.failed(error);
            let Some(time) = time else {
                return Err(match output.kept() {
                    Some(part) if !self.includes_head => {
                        Failure::failed(format_args!("{error:#}; -C - continues {}", part.display()))
                    }
                    _ => error.into(),
                });
            };
            log::info!("attempt {} failed, the next one follows in {time:?}: {error:#}", repeated + 1);
            thread::sleep(time);
            repeated += 1;
        }
    }

    /// Writes a response to the output.
    fn receive(
        &self,
        response: Response<Body>,
        output: &mut Output,
        report: &mut Report,
    ) -> Result<Received, Failure> {
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        let requested = output.rest().map(|(offset, identity)| {
            (offset, identity.bytes_before_rest(offset, status, response.headers()))
        });
        let skipped = match requested {
            Some((offset, Some(skipped))) => {
                report.continued_at = Some(offset);
                Some(skipped)
            }
            Some((_, None)) if is_about_range(status) => return Ok(Received::Unusable),
            _ => None,
        };
        if let Some(file) = report.file()
            && (status == StatusCode::NOT_MODIFIED || is_error && !self.includes_errors)
        {
            if is_error {
                report.note_status(&format!("; {file} is not written"));
            }
            return Ok(Received::Ignored);
        }
        let is_dropped = is_error && self.drops_errors;
        if is_dropped || is_error && response.body().is_empty() && !self.includes_head {
            // Nothing would be printed otherwise.
            report.note_status("");
        }
        if is_dropped {
            return Ok(Received::Ignored);
        }
        if skipped.is_none() {
            let may_continue = self.template.is_plain_get() && !self.includes_head;
            output.begin(may_continue.then(|| BodyIdentity::of(&response)).flatten())?;
            report.continued_at = None;
        }
        let (head, body) = response.into_parts();
        if self.includes_head && skipped.is_none() {
            output.write_head(&head_text(head.version, status, &head.headers))?;
        }
        let ended = self.copy(body, skipped.unwrap_or(0), output, report)?;
        if matches!(&ended, Received::Broken(error) if error.kind() == ErrorKind::DigestMismatch) {
            output.spoil();
        }
        Ok(ended)
    }

    /// Copies a body without its first `skipped` bytes.
    fn copy(
        &self,
        body: Body,
        mut skipped: u64,
        output: &mut Output,
        report: &Report,
    ) -> Result<Received, Failure> {
        let name = report.file().map(|file| format!("{file} ")).unwrap_or_default();
        let mut body = self.bars.add(&name, body.length()).wrap_read(body);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(Received::Complete),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Received::Broken(error.into())),
            };
            let ignored = usize::try_from(skipped).unwrap_or(usize::MAX).min(count);
            skipped -= ignored as u64;
            if ignored < count {
                output.write(&buffer[ignored..count])?;
            }
        }
    }
}

/// Returns whether a response answers the range of a request.
fn is_about_range(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

fn head_text(version: Version, status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut text = format!("{version:?} {status}\r\n").into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}
