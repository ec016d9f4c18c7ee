//! Normalization of percent-escapes and dot segments (RFC 3986 section 6.2.2).

/// Appends a path or a query. Escapes get their canonical spelling, and bytes that are not allowed there are escaped.
pub(crate) fn push_normalized(out: &mut String, part: &str) {
    let bytes = part.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let Some(value) = escaped_byte(&bytes[at..]) {
            push_or_escape(out, value, is_unreserved(value));
            at += 3;
        } else {
            push_or_escape(out, byte, is_path_or_query_byte(byte));
            at += 1;
        }
    }
}

/// Returns the path without `.` and `..` segments (RFC 3986 section 5.2.4). The result starts with `/`.
pub(super) fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // A dot segment at the end denotes a directory: the slash before it stays.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    out
}

/// Decodes the percent-escape at the start of `bytes`. Returns `None` if there is none.
pub(super) fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

/// Returns whether the byte is a letter, a digit, `-`, `.`, `_` or `~` (RFC 3986 section 2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(super) fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn push_or_escape(out: &mut String, byte: u8, plain: bool) {
    if plain {
        out.push(char::from(byte));
    } else {
        push_escape(out, byte);
    }
}

/// Returns whether a path or query may contain the byte. Brackets are allowed in addition to RFC 3986, because many
/// queries contain them and all servers accept them.
pub(super) fn is_path_or_query_byte(byte: u8) -> bool {
    IN_PATH_AND_QUERY[usize::from(byte)]
}

/// A table, because the check runs for every byte of every URL.
static IN_PATH_AND_QUERY: [bool; 256] = {
    let mut table = [false; 256];
    let (mut at, allowed) = (0, b"!$&'()*+,;=:@/?[]-._~");
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_removed() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/c/./../../g", "/a/g"),
            ("/a//../b", "/a/b"),
            ("/../../a", "/a"),
            ("//a", "//a"),
            ("/.//a", "//a"),
            ("/.../.a/a./..a", "/.../.a/a./..a"),
        ] {
            assert_eq!(remove_dot_segments(path), expected, "{path}");
        }
    }

    #[test]
    fn escapes_have_one_spelling() {
        let normalized = |part: &str| {
            let mut out = String::new();
            push_normalized(&mut out, part);
            out
        };
        assert_eq!(normalized("%41%2d%7E%5f%2E"), "A-~_.");
        assert_eq!(normalized("%2f%3a%25%00"), "%2F%3A%25%00");
        assert_eq!(normalized("a+b%20c%2Bd"), "a+b%20c%2Bd");
        assert_eq!(normalized("%+1%-1%é"), "%25+1%25-1%25%C3%A9");
    }
}
