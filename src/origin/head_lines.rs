//! Normalises the lines of a head before a strict parser reads them.
//!
//! RFC 9112 lets recipients accept more than senders may write. Each of these spellings has one meaning:
//!
//! | input | meaning | section |
//! |---|---|---|
//! | empty lines before the status line | ignored | 2.2 |
//! | lines that end with LF only | lines | 2.2 |
//! | CR within a line | a space | 2.2 |
//! | lines before the first field that begin with whitespace | ignored | 2.2 |
//! | a later minor version | the highest supported version | RFC 9110 2.5 |
//! | other whitespace in the status line | a space | 4 |
//! | a field continued on the next line (obs-fold) | the value, joined by a space | 5.2 |
//! | control characters in a value | spaces | RFC 9110 5.5 |
//!
//! `Content-Length` and `Transfer-Encoding` are not repaired if they contain control characters, because two
//! recipients could read them differently.

/// Returns the head with normalised lines that end with CR LF.
pub(super) fn normalised(head: &[u8]) -> Vec<u8> {
    let begin = head.iter().position(|byte| !is_line_end(*byte)).unwrap_or(head.len());
    let mut lines = head[begin..].split(|byte| *byte == b'\n').map(without_cr);
    let mut out = Vec::with_capacity(head.len() + 2);
    push_status_line(&mut out, lines.next().unwrap_or_default());
    let mut has_field = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let is_continued = matches!(line[0], b' ' | b'\t');
        if !is_continued {
            out.extend_from_slice(b"\r\n");
            push_field(&mut out, line);
            has_field = true;
        } else if has_field {
            out.push(b' ');
            push_value(&mut out, line.trim_ascii());
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn push_status_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend(
        line.iter().map(|byte| if matches!(byte, b'\t' | 0x0b | 0x0c | b'\r') { b' ' } else { *byte }),
    );
    if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9', b' ', ..] = &mut out[..] {
        *minor = b'1';
    }
}

fn push_field(out: &mut Vec<u8>, line: &[u8]) {
    let name = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let frames = [&b"content-length"[..], b"transfer-encoding"]
        .iter()
        .any(|framing| line[..name].trim_ascii().eq_ignore_ascii_case(framing));
    if frames {
        return out.extend_from_slice(line);
    }
    out.extend_from_slice(&line[..name]);
    push_value(out, &line[name..]);
}

fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    out.extend(value.iter().map(|byte| if byte.is_ascii_control() && *byte != b'\t' { b' ' } else { *byte }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lenient_spellings_are_normalised() {
        for (head, expected) in [
            ("\r\n\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"),
            ("HTTP/1.1 200 OK\nA: 1\n\n", "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"),
            ("HTTP/1.7 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("HTTP/1.1\t200\x0bOK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\n A: 1\r\n\tB: 2\r\nC: 3\r\n\r\n", "HTTP/1.1 200 OK\r\nC: 3\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\nA: 1\r\n   2\r\n\t3 \r\n\r\n", "HTTP/1.1 200 OK\r\nA: 1 2 3\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\nA: x\ry\0z\r\n\r\n", "HTTP/1.1 200 OK\r\nA: x y z\r\n\r\n"),
        ] {
            assert_eq!(String::from_utf8(normalised(head.as_bytes())).unwrap(), expected, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing_more(head in "[\\r\\n\\t\0 A:1]{0,40}") {
            let once = normalised(head.as_bytes());
            prop_assert_eq!(normalised(&once), once);
        }
    }

    #[test]
    fn framing_fields_are_not_repaired() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1\x003\r\n\r\n";
        assert!(normalised(head).contains(&0));
    }
}
