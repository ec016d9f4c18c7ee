//! Converts ureq's errors to [`Error`].

use std::error::Error as StdError;
use std::io;

use http::Uri;
use ureq::Timeout;

use super::truncation;
use crate::base::error::{Cause, Error, ErrorKind};

/// Whether the connection ended before the response, as an idle connection does if the origin has closed it.
pub(super) fn is_dead_connection(failure: &ureq::Error) -> bool {
    matches!(failure, ureq::Error::Io(error) if is_end_of_connection(error))
}

/// Converts a failure before the response head.
pub(super) fn before_response(failure: ureq::Error, url: &Uri) -> Error {
    let failure = match unwrap_own_error(failure) {
        Ok(ours) => return ours.with_url(url),
        Err(failure) => failure,
    };
    let (kind, text) = match &failure {
        ureq::Error::Io(error) => before_response_io(error),
        ureq::Error::Timeout(phase) => (ErrorKind::Timeout, timeout_text(*phase)),
        ureq::Error::HostNotFound => (ErrorKind::Unresolved, "cannot resolve the host name"),
        ureq::Error::ConnectionFailed => (ErrorKind::Unreachable, "cannot connect"),
        // The error's text is the full URL, which may contain secrets.
        ureq::Error::BadUri(_) => {
            return Error::new(ErrorKind::BadUrl, "the URL is not valid").with_url(url);
        }
        _ if is_tls(&failure) => (ErrorKind::Tls, "the TLS handshake failed"),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            (ErrorKind::BadResponse, "the response is not valid HTTP")
        }
        _ => (ErrorKind::Io, "the request failed"),
    };
    let (is_unsent, cause) = (is_unsent(&failure), cause(&failure));
    let mut error = explained(kind, text, failure).with_url(url);
    if let Some(cause) = cause {
        error = error.because(cause);
    }
    if is_unsent { error.unsent() } else { error }
}

/// Returns the cause of a failure, if it is more specific than the error kind.
fn cause(failure: &ureq::Error) -> Option<Cause> {
    let tls = match failure {
        ureq::Error::LargeResponseHeader(..) => return Some(Cause::Limits),
        // ureq does not re-export the type of this error.
        ureq::Error::Protocol(error) if error.to_string().contains("too many headers") => {
            return Some(Cause::Limits);
        }
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    tls.is_some_and(is_trust_error).then_some(Cause::Trust)
}

/// Whether the server's certificate has an unknown issuer, or the server rejects the client certificate.
fn is_trust_error(error: &rustls::Error) -> bool {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, UnknownCA, UnsupportedCertificate,
    };
    match error {
        rustls::Error::InvalidCertificate(error) => *error == rustls::CertificateError::UnknownIssuer,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            AccessDenied
                | BadCertificate
                | CertificateExpired
                | CertificateRequired
                | CertificateRevoked
                | CertificateUnknown
                | UnknownCA
                | UnsupportedCertificate
        ),
        _ => false,
    }
}

/// Whether the request certainly was not sent, because no connection was made. Failures that can also happen
/// on an open connection do not count.
fn is_unsent(failure: &ureq::Error) -> bool {
    match failure {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(phase) => matches!(phase, Timeout::Resolve | Timeout::Connect),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// Converts a failure within the body. `left` is the number of bytes still missing, if the length is known.
pub(super) fn within_body(error: io::Error, left: Option<u64>) -> Error {
    let failure = match unwrap_own_error(ureq::Error::from(error)) {
        Ok(ours) => return ours,
        Err(failure) => failure,
    };
    let (kind, text) = match &failure {
        ureq::Error::Timeout(_) => (ErrorKind::Timeout, "the origin sent no more of the body in time"),
        ureq::Error::Io(error) if is_timeout(error) => {
            (ErrorKind::Timeout, "the origin sent no more of the body in time")
        }
        ureq::Error::Io(error) if is_end_of_connection(error) => {
            return incomplete(left).with_source(failure);
        }
        ureq::Error::BodyStalled => return incomplete(left).with_source(failure),
        _ if is_tls(&failure) => (ErrorKind::Tls, "a TLS error interrupted the body"),
        ureq::Error::Protocol(_) => (ErrorKind::BadResponse, "the body of the response has invalid framing"),
        _ => (ErrorKind::Io, "cannot read the body"),
    };
    explained(kind, text, failure)
}

/// The error for a body that ended before its announced end.
pub(super) fn incomplete(left: Option<u64>) -> Error {
    let message = match left {
        Some(left) => format!("the body ended {left} bytes before its announced length"),
        None => "the body ended before its last chunk".to_owned(),
    };
    Error::new(ErrorKind::IncompleteBody, message)
}

/// Unwraps an [`Error`] of this crate that passed through ureq: from the resolver, the head parser or the
/// request body.
fn unwrap_own_error(failure: ureq::Error) -> Result<Error, ureq::Error> {
    match failure {
        ureq::Error::Other(inner) => inner.downcast().map(|ours| *ours).map_err(ureq::Error::Other),
        ureq::Error::Io(error) => error.downcast().map_err(ureq::Error::Io),
        other => Err(other),
    }
}

fn before_response_io(error: &io::Error) -> (ErrorKind, &'static str) {
    match error.kind() {
        _ if is_rustls(error) => (ErrorKind::Tls, "the TLS handshake failed"),
        _ if is_timeout(error) => (ErrorKind::Timeout, "no response in time"),
        _ if is_end_of_connection(error) => {
            (ErrorKind::Unreachable, "the connection ended before a response")
        }
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NotConnected => (ErrorKind::Unreachable, "cannot connect"),
        _ => (ErrorKind::Io, "the request failed"),
    }
}

fn timeout_text(phase: Timeout) -> &'static str {
    match phase {
        Timeout::Resolve => "the host name was not resolved in time",
        Timeout::Connect => "cannot connect in time",
        Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => {
            "the origin did not accept the request in time"
        }
        _ => "no response in time",
    }
}

fn is_tls(failure: &ureq::Error) -> bool {
    match failure {
        ureq::Error::Tls(_) | ureq::Error::TlsRequired | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => is_rustls(error),
        _ => false,
    }
}

fn is_rustls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn is_end_of_connection(error: &io::Error) -> bool {
    matches!(
        truncation::original_kind(error),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Builds an error with the cause, unless the message already says all of it.
fn explained(kind: ErrorKind, text: &str, failure: ureq::Error) -> Error {
    let error = Error::new(kind, text);
    if matches!(failure, ureq::Error::Timeout(_)) { error } else { error.with_source(failure) }
}
