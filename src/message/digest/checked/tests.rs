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

/// Returns the bytes that were read, the error, and how often the mismatch callback ran.
fn read(body: Body, expected: Vec<Expected>) -> (Vec<u8>, Option<ErrorKind>, usize) {
    let mismatches = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&mismatches);
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
    (out, kind, mismatches.load(Ordering::Relaxed))
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
fn matching_body_is_read_completely() {
    for expected in [vec![sha256("hello")], vec![sha512("hello")], vec![sha256("hello"), sha512("hello")]] {
        for body in bodies("hello") {
            let proven = body.is_end_proven();
            assert_eq!(checked(body, expected.clone(), || ()).unwrap().is_end_proven(), proven);
        }
        for body in bodies("hello") {
            assert_eq!(read(body, expected.clone()), (b"hello".to_vec(), None, 0));
        }
    }
}

#[test]
fn mismatch_fails_and_is_reported_once() {
    for expected in [vec![sha256("hallo")], vec![sha256("hello"), sha512("hallo")]] {
        for body in bodies("hello") {
            let has_length = body.length().is_some();
            let (out, kind, mismatches) = read(body, expected.clone());
            assert_eq!((kind, mismatches), (Some(ErrorKind::DigestMismatch), 1));
            assert!(!has_length || out.len() <= 2, "the last bytes are held back");
        }
    }
}

#[test]
fn truncated_body_fails_as_incomplete() {
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
fn body_without_announced_digests_is_not_checked() {
    let body = checked(Body::from_reader(&b"abc"[..], None), Vec::new(), || ()).unwrap();
    assert_eq!(body.into_text().unwrap(), "abc");
}
