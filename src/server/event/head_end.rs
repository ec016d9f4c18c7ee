//! Finds the end of a request head in the received bytes. Pure.

use http::StatusCode;

use crate::server::request_head::Rejection;

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head is complete; its length, including the empty line.
    Complete(usize),
    /// The head is incomplete; the next scan may start at this offset.
    Incomplete(usize),
    /// The head must be rejected because of a fault before this offset.
    Rejected(Rejection, usize),
}

/// Searches for the empty line, starting at `from`, where the previous scan ended.
///
/// Rejects a line that ends with a bare LF. RFC 9112 section 2.2 permits a recipient to accept that line end,
/// but two recipients that differ in this see different messages.
pub(super) fn head_end(bytes: &[u8], from: usize, max: usize) -> Scan {
    for at in memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        // The size limit comes first, so that the result does not depend on how the bytes are split.
        if at >= max {
            break;
        }
        if at == 0 || bytes[at - 1] != b'\r' {
            let reason = "a line of the head does not end with CR LF";
            return Scan::Rejected(Rejection { status: StatusCode::BAD_REQUEST, reason }, at + 1);
        }
        if at >= 3 && bytes[at - 3..at] == *b"\r\n\r" {
            return Scan::Complete(at + 1);
        }
    }
    if bytes.len() < max {
        return Scan::Incomplete(bytes.len());
    }
    let rejection = if memchr::memchr(b'\n', bytes).is_none_or(|end| end >= max) {
        Rejection { status: StatusCode::URI_TOO_LONG, reason: "the request line is too long" }
    } else {
        Rejection {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the header fields are too large",
        }
    };
    Scan::Rejected(rejection, max)
}

/// Returns the number of bytes of empty lines before the request line, which a server ignores (RFC 9112
/// section 2.2).
pub(super) fn empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|line| *line == b"\r\n").count() * 2
}

#[cfg(test)]
mod tests;
