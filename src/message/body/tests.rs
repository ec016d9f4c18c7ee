use super::*;

#[test]
fn shared_bytes_are_not_copied() {
    let bytes = Bytes::from(vec![7; 1024]);
    let address = bytes.as_ptr();
    let out = Body::from(bytes).into_bytes().unwrap();
    assert_eq!(out.as_ptr(), address);
}

#[test]
fn beginning_is_read_before_the_rest() {
    let beginning = || ["ab", "c"].into_iter().map(Bytes::from).collect::<Pieces>();
    let rest = Body::with_beginning(Bytes::from("d").into(), Body::from_reader(&b"ef"[..], Some(2)));
    let mut body = Body::with_beginning(beginning(), rest);
    assert_eq!((body.length(), body.as_pieces()), (Some(6), None));
    body.read_exact(&mut [0]).unwrap();
    assert_eq!(body.length(), Some(5));
    assert_eq!(body.into_text().unwrap(), "bcdef");
    let mut body = Body::with_beginning(beginning(), Body::until_close(&b"d"[..]));
    assert!(!body.is_end_proven());
    assert_eq!((body.take_beginning(), body.into_text().unwrap()), (beginning(), "d".to_owned()));
    assert_eq!(Body::with_beginning(beginning(), Body::empty()).as_pieces(), Some(&beginning()));
}

#[test]
fn length_counts_down_while_reading() {
    let mut body = Body::from_reader(&b"abcdef"[..], Some(6));
    let mut buffer = [0; 4];
    body.read_exact(&mut buffer).unwrap();
    assert_eq!(body.length(), Some(2));
    assert_eq!(body.into_text().unwrap(), "ef");
}

#[test]
fn size_limit_applies_with_and_without_a_known_length() {
    for length in [Some(6), None] {
        let body = Body::from_reader(&b"abcdef"[..], length);
        assert_eq!(body.into_bytes_limited(5).unwrap_err().kind(), ErrorKind::BodyTooLarge);
        let body = Body::from_reader(&b"abcdef"[..], length);
        assert_eq!(body.into_bytes_limited(6).unwrap(), "abcdef");
    }
}

#[test]
fn crate_error_passes_through_a_stream_unchanged() {
    struct Cut;
    impl Read for Cut {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(ErrorKind::IncompleteBody, "cut").into())
        }
    }
    let error = Body::from_reader(Cut, None).into_bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
}
