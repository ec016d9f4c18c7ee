use super::*;

const LIMITS: HeadLimits = HeadLimits { fields: 100, field_bytes: 16 << 10, target: 32 };

fn status(head: &str, from: usize) -> Option<u16> {
    find_fault(head.as_bytes(), from, &LIMITS).map(|rejection| rejection.status.as_u16())
}

#[test]
fn a_request_line_is_checked_once_it_is_complete() {
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
fn each_field_line_is_checked_once() {
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
        // However the bytes are split, the head is rejected no later than at the same line end.
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
