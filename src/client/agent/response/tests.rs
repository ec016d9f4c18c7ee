use std::io::Read;
use std::time::{Duration, Instant};

use http::{Method, Response, Uri};

use super::OutgoingResponse;
use crate::base::error::ErrorKind;
use crate::message::body::Body;

/// A stream that has bytes for ever.
fn endless() -> Body {
    Body::from_reader(std::io::repeat(b'x').take(u64::MAX), None)
}

#[test]
fn first_limit_stands() {
    let response = Response::new(endless());
    let mut outgoing = OutgoingResponse::new(&Method::GET, Uri::from_static("http://h/"), response).unwrap();
    let until = Instant::now();
    assert_eq!(outgoing.limit(until), until);
    // ureq states each limit as a duration, so a repeated limit may become a later time.
    assert_eq!(outgoing.limit(until + Duration::from_micros(1)), until);
    let mut buffer = [0; 64 << 10];
    let failure = loop {
        if let Err(error) = outgoing.fill(&mut buffer) {
            break error;
        }
    };
    assert_eq!(failure.kind(), ErrorKind::Timeout);
}
