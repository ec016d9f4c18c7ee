//! Where the head of a request ends in what has come so far. Pure.

use http::StatusCode;

use crate::server::request_head::Refusal;

/// What the bytes so far come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head is as long as this, its empty line included.
    Complete(usize),
    /// More has to come; up to here nothing has to be looked at again.
    Incomplete(usize),
    /// For what stands before this.
    Refused(Refusal, usize),
}

/// Looks for the empty line, from where the last look ended.
///
/// A line that ends with a bare LF is refused (RFC 9112 section 2.2 allows to take it for a line end, and
/// whoever does sees another message than whoever does not).
pub(super) fn head_end(bytes: &[u8], from: usize, most: usize) -> Scan {
    for at in memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        // Before anything else: how much comes at once must not change what is said.
        if at >= most {
            break;
        }
        if at == 0 || bytes[at - 1] != b'\r' {
            let reason = "a line of the head ends without CR";
            return Scan::Refused(Refusal { status: StatusCode::BAD_REQUEST, reason }, at + 1);
        }
        if at >= 3 && bytes[at - 3..at] == *b"\r\n\r" {
            return Scan::Complete(at + 1);
        }
    }
    if bytes.len() < most {
        return Scan::Incomplete(bytes.len());
    }
    let refusal = if memchr::memchr(b'\n', bytes).is_none_or(|end| end >= most) {
        Refusal { status: StatusCode::URI_TOO_LONG, reason: "the request line is too long" }
    } else {
        Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the header fields are too large",
        }
    };
    Scan::Refused(refusal, most)
}

/// How many bytes of empty lines stand before the request line, where they are to be passed over (RFC 9112
/// section 2.2).
pub(super) fn empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|line| *line == b"\r\n").count() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;

    fn status(scan: Scan) -> u16 {
        match scan {
            Scan::Refused(refusal, _) => refusal.status.as_u16(),
            scan => panic!("{scan:?}"),
        }
    }

    #[test]
    fn the_end_is_found_however_the_bytes_are_split() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let bytes = [&head[..], b"GET"].concat();
        assert_eq!(head_end(&bytes, 0, MOST), Scan::Complete(head.len()));
        for split in 0..head.len() {
            let Scan::Incomplete(from) = head_end(&bytes[..split], 0, MOST) else { panic!("{split}") };
            assert_eq!(head_end(&bytes, from, MOST), Scan::Complete(head.len()), "{split}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused() {
        for bytes in ["\n", "GET / HTTP/1.1\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\n\r\n", "a\r\n\n"] {
            assert_eq!(status(head_end(bytes.as_bytes(), 0, MOST)), 400, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let long = "a".repeat(MOST);
        assert_eq!(status(head_end(long.as_bytes(), 0, MOST)), 414);
        assert_eq!(status(head_end(format!("{long}\r\n").as_bytes(), 0, MOST)), 414);
        assert_eq!(status(head_end(format!("a\r\nb: {long}").as_bytes(), 0, MOST)), 431);
        assert_eq!(status(head_end(format!("a\r\nb: {long}\r\n\r\n").as_bytes(), 0, MOST)), 431);
        assert_eq!(status(head_end(format!("a\r\nb: {long}\n").as_bytes(), 0, MOST)), 431);
        assert!(matches!(head_end(&long.as_bytes()[1..], 0, MOST), Scan::Incomplete(_)));
    }

    #[test]
    fn empty_lines_before_a_request() {
        assert_eq!(empty_lines(b"\r\n\r\nGET"), 4);
        assert_eq!(empty_lines(b"\r\n\r"), 2);
        assert_eq!(empty_lines(b"\n\nGET"), 0);
    }
}
