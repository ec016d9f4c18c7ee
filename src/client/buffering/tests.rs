use std::sync::mpsc;

use super::*;

/// Yields each byte that the test sends; ends when the sender is dropped.
struct Sent(mpsc::Receiver<io::Result<u8>>);

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.recv() {
            Ok(byte) => {
                buffer[0] = byte?;
                Ok(1)
            }
            Err(_) => Ok(0),
        }
    }
}

fn scene() -> (mpsc::Sender<io::Result<u8>>, Response<Body>) {
    let (sender, receiver) = mpsc::channel();
    (sender, Response::new(Body::from_reader(Sent(receiver), Some(3))))
}

fn sent(text: &[u8]) -> Response<Body> {
    let (sender, response) = scene();
    text.iter().for_each(|byte| sender.send(Ok(*byte)).unwrap());
    response
}

fn on_helper(response: Response<Body>, max_wait: Duration) -> Result<Response<Body>> {
    buffer_on_helper(response, &Helpers::new(1), &Cancellation::new(), max_wait)
}

#[test]
fn body_that_arrives_in_time_is_in_memory() {
    let long = Duration::from_secs(20);
    for response in [buffer(sent(b"abc"), long).unwrap(), on_helper(sent(b"abc"), long).unwrap()] {
        assert_eq!(response.body().as_bytes().map(|bytes| &bytes[..]), Some(&b"abc"[..]));
    }
}

#[test]
fn slow_body_is_returned_while_it_arrives() {
    let (sender, response) = scene();
    let mut body = on_helper(response, Duration::ZERO).unwrap().into_body();
    assert_eq!((body.length(), body.as_bytes()), (Some(3), None));
    let mut piece = [0; 8];
    for byte in b"abc" {
        sender.send(Ok(*byte)).unwrap();
        assert_eq!((body.read(&mut piece).unwrap(), piece[0]), (1, *byte));
    }
    drop(sender);
    assert_eq!(body.read(&mut piece).unwrap(), 0);
    let whole = buffer(sent(b"abc"), Duration::ZERO).unwrap().into_body();
    assert_eq!((whole.length(), whole.as_bytes()), (Some(3), None));
    assert_eq!(whole.into_text().unwrap(), "abc");
}

#[test]
fn early_failure_fails_the_request_and_a_late_one_the_body() {
    let cut = || Err(Error::new(ErrorKind::IncompleteBody, "cut").into());
    let (sender, response) = scene();
    sender.send(cut()).unwrap();
    let error = on_helper(response, Duration::from_secs(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
    let (sender, response) = scene();
    let body = on_helper(response, Duration::ZERO).unwrap().into_body();
    sender.send(cut()).unwrap();
    assert_eq!(body.into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
}

#[test]
fn dropped_body_cancels_the_exchange() {
    let (_sender, response) = scene();
    let cancellation = Cancellation::new();
    drop(buffer_on_helper(response, &Helpers::new(1), &cancellation, Duration::ZERO).unwrap());
    assert!(cancellation.is_cancelled());
}
