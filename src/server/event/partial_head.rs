//! Finds faults in a request head, even before it is complete. Pure.

use http::{Method, StatusCode};
use memchr::{memchr, memchr_iter, memrchr};

use crate::message::header::token::is_token_byte;
use crate::server::request_head::{self, HeadLimits, Rejection};

const MALFORMED: &str = "the request head is malformed";

/// Returns why a head must be rejected whatever follows, if so. The first faulty line decides, however many
/// lines arrive at once. Examines the lines that ended after `from`, where the previous call stopped, and in
/// each call the method.
pub(super) fn find_fault(head: &[u8], from: usize, limits: &HeadLimits) -> Option<Rejection> {
    let Some(first) = memchr(b'\n', head) else {
        let method = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_token = method.iter().all(|byte| is_token_byte(*byte) || *byte == b'\r');
        return if is_token { None } else { Some(request_head::bad(MALFORMED)) };
    };
    if first >= from
        && let Some(rejection) = find_request_line_fault(&head[..=first], limits)
    {
        return Some(rejection);
    }
    // The line that was incomplete in the previous call, or the first field line.
    let since = memrchr(b'\n', &head[..from]).unwrap_or(first) + 1;
    let mut line_start = since;
    for end in memchr_iter(b'\n', &head[since..]).map(|end| since + end) {
        let line = &head[line_start..=end];
        line_start = end + 1;
        if let Err(error) = httparse::parse_headers(line, &mut [httparse::EMPTY_HEADER]) {
            return Some(rejection_of(error, head));
        }
    }
    None
}

fn find_request_line_fault(line: &[u8], limits: &HeadLimits) -> Option<Rejection> {
    let known = with_known_version(line);
    let line = known.as_deref().unwrap_or(line);
    let mut parsed = httparse::Request::new(&mut []);
    if let Err(error) = parsed.parse(line) {
        return Some(rejection_of(error, line));
    }
    let (Some(method), Some(target), Some(_)) = (parsed.method, parsed.path, parsed.version) else {
        return None;
    };
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    request_head::target_of(limits, &method, target.as_bytes()).err()
}

pub(super) fn rejection_of(error: httparse::Error, head: &[u8]) -> Rejection {
    match error {
        httparse::Error::Version if names_another_version(head) => Rejection {
            status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            reason: "only HTTP/1.0 and HTTP/1.1 are supported",
        },
        httparse::Error::TooManyHeaders => Rejection {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "there are too many header fields",
        },
        _ => request_head::bad(MALFORMED),
    }
}

/// Returns the head with `HTTP/1.1` in its request line, if it has a later minor version (RFC 9110 section
/// 2.5).
pub(super) fn with_known_version(head: &[u8]) -> Option<Vec<u8>> {
    let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let minor = end.checked_sub(1).filter(|minor| matches!(head[*minor], b'2'..=b'9'))?;
    head[..minor].ends_with(b" HTTP/1.").then(|| {
        let mut known = head.to_vec();
        known[minor] = b'1';
        known
    })
}

/// Returns whether the request line has an unsupported HTTP version (RFC 9112 section 2.3).
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let Some(&[major, b'.', minor]) = version else { return false };
    let is_spoken = major == b'1' && matches!(minor, b'0' | b'1');
    major.is_ascii_digit() && minor.is_ascii_digit() && !is_spoken
}

#[cfg(test)]
mod tests;
