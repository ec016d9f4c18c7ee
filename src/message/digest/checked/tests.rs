use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn sha512(text: &str) -> Expected {
    let sum = ring::digest::digest(&SHA512, text.as_bytes()).as_ref().to_vec();
    Expected { algorithm: Algorithm::Sha512, sum }
}

fn sha256(text: &str) -> Expected {
    Digest::of(text.as_bytes()).into()
}

/// What comes out, what is said of it, and how often somebody was told of a mismatch.
fn read(body: Body, expected: Vec<Expected>) -> (Vec<u8>, Option<ErrorKind>, usize) {
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let mut out = Vec::new();
    let kind = match checked(body, expected, move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }) {
        Ok(mut body) => {
            let failed = body.read_to_end(&mut out).err().map(|error| Error::from(error).kind());
            if failed.is_some() {
                assert_eq!(Error::from(body.read(&mut [0]).unwrap_err()).kind(), ErrorKind::DigestMismatch);
            }
            failed
        }
        Err(error) => Some(error.kind()),
    };
    (out, kind, told.load(Ordering::Relaxed))
}

fn bodies(text: &'static str) -> [Body; 5] {
    let length = text.len() as u64;
    let (beginning, rest) = text.as_bytes().split_at(2);
    let rest = Body::from_reader(rest, Some(length - 2));
    [
        Body::with_beginning(bytes::Bytes::from_static(beginning).into(), rest),
        Body::from(text),
        Body::from_reader(text.as_bytes(), Some(length)),
        Body::from_reader(text.as_bytes(), None),
        Body::until_close(text.as_bytes()),
    ]
}

#[test]
fn the_right_body_comes_out_whole() {
    for expected in [vec![sha256("hello")], vec![sha512("hello")], vec![sha256("hello"), sha512("hello")]] {
        for body in bodies("hello") {
            let proven = body.end_is_proven();
            assert_eq!(checked(body, expected.clone(), || ()).unwrap().end_is_proven(), proven);
        }
        for body in bodies("hello") {
            assert_eq!(read(body, expected.clone()), (b"hello".to_vec(), None, 0));
        }
    }
}

#[test]
fn another_body_fails_and_is_told_of_once() {
    for expected in [vec![sha256("hallo")], vec![sha256("hello"), sha512("hallo")]] {
        for body in bodies("hello") {
            let ends = body.length().is_some();
            let (out, kind, told) = read(body, expected.clone());
            assert_eq!((kind, told), (Some(ErrorKind::DigestMismatch), 1));
            assert!(!ends || out.len() <= 2, "the last bytes are held back");
        }
    }
}

#[test]
fn a_body_that_is_cut_short_fails_as_that() {
    struct Cut;
    impl Read for Cut {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(ErrorKind::IncompleteBody, "cut").into())
        }
    }
    let mut body = checked(Body::from_reader(Cut, None), vec![sha256("")], || panic!("no mismatch")).unwrap();
    assert_eq!(Error::from(body.read(&mut [0; 9]).unwrap_err()).kind(), ErrorKind::IncompleteBody);
}

#[test]
fn nothing_is_done_where_nothing_is_announced() {
    let body = checked(Body::from_reader(&b"abc"[..], None), Vec::new(), || ()).unwrap();
    assert_eq!(body.into_text().unwrap(), "abc");
}
