//! What is wrong with a head, also while the rest of it is still to come. Pure.

use http::{Method, StatusCode};
use memchr::{memchr, memchr_iter, memrchr};

use crate::message::header::token::is_token_byte;
use crate::server::request_head::{self, HeadLimits, Refusal};

const MALFORMED: &str = "the head is malformed";

/// Why a head will be refused whatever follows, if it will: by the first of its lines that is at fault, however many
/// came at once. Judges the lines that have ended since the last look, which was at everything before `from`, and the
/// method also before.
pub(super) fn fault(head: &[u8], from: usize, limits: &HeadLimits) -> Option<Refusal> {
    let Some(first) = memchr(b'\n', head) else {
        let method = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_token = method.iter().all(|byte| is_token_byte(*byte) || *byte == b'\r');
        return if is_token { None } else { Some(request_head::bad(MALFORMED)) };
    };
    if first >= from
        && let Some(refusal) = request_line_fault(&head[..=first], limits)
    {
        return Some(refusal);
    }
    // The line that had begun at the last look, or the first field line.
    let since = memrchr(b'\n', &head[..from]).unwrap_or(first) + 1;
    let mut begin = since;
    for end in memchr_iter(b'\n', &head[since..]).map(|end| since + end) {
        let line = &head[begin..=end];
        begin = end + 1;
        if let Err(error) = httparse::parse_headers(line, &mut [httparse::EMPTY_HEADER]) {
            return Some(refusal_of(error, head));
        }
    }
    None
}

fn request_line_fault(line: &[u8], limits: &HeadLimits) -> Option<Refusal> {
    let known = in_known_version(line);
    let line = known.as_deref().unwrap_or(line);
    let mut parsed = httparse::Request::new(&mut []);
    if let Err(error) = parsed.parse(line) {
        return Some(refusal_of(error, line));
    }
    let (Some(method), Some(target), Some(_)) = (parsed.method, parsed.path, parsed.version) else {
        return None;
    };
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    request_head::target_of(limits, &method, target.as_bytes()).err()
}

pub(super) fn refusal_of(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::Version if names_another_version(head) => Refusal {
            status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            reason: "only HTTP/1.0 and HTTP/1.1 are spoken here",
        },
        httparse::Error::TooManyHeaders => Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the header fields are too many",
        },
        _ => request_head::bad(MALFORMED),
    }
}

/// The head with `HTTP/1.1` in its request line, where that names a later minor version (RFC 9110 section 2.5).
pub(super) fn in_known_version(head: &[u8]) -> Option<Vec<u8>> {
    let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let minor = end.checked_sub(1).filter(|minor| matches!(head[*minor], b'2'..=b'9'))?;
    head[..minor].ends_with(b" HTTP/1.").then(|| {
        let mut known = head.to_vec();
        known[minor] = b'1';
        known
    })
}

/// Whether the request line ends with a version of HTTP that is not spoken here (RFC 9112 section 2.3).
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let Some(&[major, b'.', minor]) = version else { return false };
    let is_spoken = major == b'1' && matches!(minor, b'0' | b'1');
    major.is_ascii_digit() && minor.is_ascii_digit() && !is_spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { fields: 100, field_bytes: 16 << 10, target: 32 };

    fn status(head: &str, from: usize) -> Option<u16> {
        fault(head.as_bytes(), from, &LIMITS).map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_request_line_is_judged_when_it_has_ended() {
        for (line, expected) in [
            ("GET /\r\n", Some(400)),
            ("GET / \r\n", Some(400)),
            ("GET\r\n", Some(400)),
            ("GET  / HTTP/1.1\r\n", Some(400)),
            ("GET a HTTP/1.1\r\n", Some(400)),
            ("GET http://user@a/ HTTP/1.1\r\n", Some(400)),
            ("GET / HTTP/2.0\r\n", Some(505)),
            ("GET / HTCPCP/1.0\r\n", Some(400)),
            ("GET /long-long-long-long-long-long-long HTTP/1.1\r\n", Some(414)),
            ("SSH-2.0-OpenSSH_9.9\r\n", Some(400)),
            ("EHLO a.example\r\n", Some(400)),
            ("G(T", Some(400)),
            ("GET / HTTP/2", None),
            ("GET / HTTP/1.1\r\n", None),
            ("GET / HTTP/1.7\r\n", None),
            ("HEAD http://a/ HTTP/1.0\r\n", None),
            ("GET / HTTP/1.", None),
            ("GET /", None),
            ("GE", None),
        ] {
            assert_eq!(status(line, 0), expected, "{line:?}");
        }
    }

    #[test]
    fn field_lines_are_judged_as_they_end_and_once() {
        for (lines, expected) in [
            ("Host: a\r\n", None),
            ("Host: a\r\nX: b", None),
            ("Host: a\r\nX y: b\r\n", Some(400)),
            ("Host: a\r\n folded\r\n", Some(400)),
            ("no colon\r\n", Some(400)),
            ("X: a\0b\r\n", Some(400)),
            ("X y: b\r\nHost: a\n", Some(400)),
            (": nameless\r\n", Some(400)),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{lines}");
            assert_eq!(status(&head, 0), expected, "{head:?}");
            // However it came, it is refused at the same line end at the latest.
            let mut refused = None;
            let mut from = 0;
            for end in 1..=head.len() {
                refused = refused.or(status(&head[..end], from));
                from = end;
            }
            assert_eq!(refused, expected, "{head:?} byte by byte");
        }
        let bad = "GET / HTTP/1.1\r\nX y: b\r\n";
        assert_eq!(status(&format!("{bad}Host: a\r\n"), bad.len()), None);
    }
}
