use super::*;

const MOST: usize = 64;

fn status(scan: Scan) -> u16 {
    match scan {
        Scan::Rejected(rejection, _) => rejection.status.as_u16(),
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
fn a_bare_line_feed_is_rejected() {
    for bytes in ["\n", "GET / HTTP/1.1\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\n\r\n", "a\r\n\n"] {
        assert_eq!(status(head_end(bytes.as_bytes(), 0, MOST)), 400, "{bytes:?}");
    }
}

#[test]
fn a_head_over_the_limit_is_rejected() {
    let long = "a".repeat(MOST);
    assert_eq!(status(head_end(long.as_bytes(), 0, MOST)), 414);
    assert_eq!(status(head_end(format!("{long}\r\n").as_bytes(), 0, MOST)), 414);
    assert_eq!(status(head_end(format!("a\r\nb: {long}").as_bytes(), 0, MOST)), 431);
    assert_eq!(status(head_end(format!("a\r\nb: {long}\r\n\r\n").as_bytes(), 0, MOST)), 431);
    assert_eq!(status(head_end(format!("a\r\nb: {long}\n").as_bytes(), 0, MOST)), 431);
    assert!(matches!(head_end(&long.as_bytes()[1..], 0, MOST), Scan::Incomplete(_)));
}

#[test]
fn empty_lines_before_a_request_are_counted() {
    assert_eq!(empty_lines(b"\r\n\r\nGET"), 4);
    assert_eq!(empty_lines(b"\r\n\r"), 2);
    assert_eq!(empty_lines(b"\n\nGET"), 0);
}
