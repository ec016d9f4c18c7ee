use super::*;

fn reader() -> HeadReader {
    HeadReader::new(HeadLimits::default(), false)
}

fn read(text: &str) -> Result<Head> {
    reader().push(text.as_bytes()).map(|(taken, head)| {
        assert_eq!(taken, text.len());
        head.unwrap()
    })
}

#[test]
fn head_is_parsed_at_every_split_of_the_input() {
    let text = "\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nA: 1\r\nContent-Length: 4\r\n\r\nbody";
    for size in 1..=text.len() {
        let (mut reader, mut taken, mut found) = (reader(), 0, None);
        let mut rest = text.as_bytes();
        while found.is_none() {
            let piece = &rest[..size.min(rest.len())];
            let (count, head) = reader.push(piece).unwrap();
            taken += count;
            found = head;
            rest = &rest[count..];
        }
        let head = found.unwrap();
        assert_eq!((taken, head.status.as_u16()), (text.len() - 4, 404), "{size}");
        assert_eq!((&head.headers["a"], head.framing), (&HeaderValue::from_static("1"), Framing::Length(4)));
        assert!(!head.headers.contains_key("link"));
    }
}

#[test]
fn unambiguous_heads_are_accepted_and_others_rejected() {
    let head = read("HTTP/1.2 200 OK\r\nContent-Length : 3\r\n\r\n").unwrap();
    assert_eq!((head.version, head.framing), (Version::HTTP_11, Framing::Length(3)));
    assert_eq!(read("HTTP/1.1 200\nA: b\n\n").unwrap().headers["a"], "b");
    for text in [
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding : chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        assert_eq!(read(text).unwrap_err().kind(), ErrorKind::BadResponse, "{text}");
    }
}

#[test]
fn fields_and_bytes_are_limited() {
    let with = |fields: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(fields));
    assert_eq!(read(&with(256)).unwrap().headers.len(), 256);
    assert!(read(&with(257)).unwrap_err().to_string().contains("more than 256 fields"));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert!(read(&long).unwrap_err().to_string().contains("too large"));
    // Interim responses count towards the limit.
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(3000);
    assert!(reader().push(interim.as_bytes()).is_err());
}

#[test]
fn head_for_ureq_contains_only_the_framing() {
    let text = |head: &str| String::from_utf8(read(head).unwrap().for_ureq()).unwrap();
    let moved = "HTTP/1.0 302 Found\r\nLocation: /\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(text(moved), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n");
    let kept = "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(text(kept), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}
