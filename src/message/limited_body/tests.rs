use std::time::Duration;

use bytes::Bytes;

use super::*;

const SHORT: Duration = Duration::from_millis(50);

fn kind(body: Body) -> ErrorKind {
    body.into_bytes().unwrap_err().kind()
}

#[test]
fn growing_body_is_driven_and_awaited() {
    struct Later(Arc<Mutex<Vec<Wake>>>, Option<Bytes>);
    impl Read for Later {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a blocking read could exceed the deadline");
        }
    }
    impl Growing for Later {
        fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead> {
            if let Some(bytes) = &mut self.1 {
                let piece = bytes.split_to(most.min(bytes.len()));
                return Ok(if piece.is_empty() { PollRead::End } else { PollRead::Bytes(piece.into()) });
            }
            self.0.lock().push(Arc::clone(wake));
            self.1 = Some(Bytes::from_static(b"later"));
            Ok(PollRead::Pending)
        }

        fn driver(&self) -> Option<Driver> {
            let wakes = Arc::clone(&self.0);
            Some(Box::new(move || wakes.lock().drain(..).for_each(|wake| wake())))
        }

        fn wait_for_end(&self, _: Instant) -> bool {
            false
        }

        fn is_worth_finishing(&self) -> bool {
            false
        }

        fn abandon(self: Box<Self>) {}
    }
    let body = Body::growing(Later(Arc::default(), None), None);
    let body = limited(body, Deadline::within(Duration::from_secs(60)));
    assert_eq!(body.into_text().unwrap(), "later");
}

#[test]
fn stalled_growing_body_times_out_at_the_deadline() {
    struct Silent;
    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a blocking read could exceed the deadline");
        }
    }
    impl Growing for Silent {
        fn poll_read(&mut self, _: usize, _: &Wake) -> io::Result<PollRead> {
            Ok(PollRead::Pending)
        }

        fn driver(&self) -> Option<Driver> {
            None
        }

        fn wait_for_end(&self, _: Instant) -> bool {
            false
        }

        fn is_worth_finishing(&self) -> bool {
            false
        }

        fn abandon(self: Box<Self>) {}
    }
    let start = Instant::now();
    assert_eq!(kind(limited(Body::growing(Silent, None), Deadline::within(SHORT))), ErrorKind::Timeout);
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn body_in_memory_or_without_a_deadline_is_unchanged() {
    let over = Deadline::within(Duration::ZERO);
    assert_eq!(limited(Body::from("bytes"), over).into_text().unwrap(), "bytes");
    let stream = || Body::from_reader(&b"stream"[..], None);
    for deadline in [Deadline::none(), over.for_head()] {
        assert_eq!(limited(stream(), deadline).into_text().unwrap(), "stream");
    }
    assert_eq!(kind(limited(stream(), over)), ErrorKind::Timeout);
    let unproven = limited(Body::until_close(&b"x"[..]), Deadline::within(SHORT));
    assert!(!unproven.is_end_proven());
}
