//! A body on its way, whoever reads it and however it ends.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::state::{Kept, WINDOW};
use super::transfer::{FINISHING_READS, PIECE};
use super::*;
use crate::body::{Body, Growing, Grown, Wake};
use crate::error::{Error, ErrorKind};

const WORTH_FINISHING: u64 = 256 * 1024;

/// Room for so many bytes.
struct Shelf {
    free: AtomicU64,
}

impl Room for Shelf {
    fn reserve(&self, bytes: u64) -> bool {
        let less = |free: u64| free.checked_sub(bytes);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn shelf(bytes: u64) -> Arc<Shelf> {
    Arc::new(Shelf { free: AtomicU64::new(bytes) })
}

fn keeping(limit: u64, commit: Commit) -> Keeping {
    Keeping { limit, worth_finishing: WORTH_FINISHING, room: shelf(u64::MAX / 2), commit }
}

/// A source that yields what is sent to it, a piece a read, and ends when the sender is gone.
struct Pipe(mpsc::Receiver<io::Result<Vec<u8>>>);

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Ok(piece) = self.0.recv() else { return Ok(0) };
        let piece = piece?;
        out[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

struct Setup {
    send: Option<mpsc::Sender<io::Result<Vec<u8>>>>,
    committed: mpsc::Receiver<Bytes>,
}

fn start(length: Option<u64>, limit: u64) -> (Setup, FillReader) {
    let (send, pieces) = mpsc::channel();
    let (commit, committed) = mpsc::channel();
    let body = Body::from_reader(Pipe(pieces), length);
    let commit = Box::new(move |bytes| commit.send(bytes).unwrap());
    (Setup { send: Some(send), committed }, Fill::start(body, keeping(limit, commit)))
}

impl Setup {
    fn send(&self, piece: &[u8]) {
        self.send.as_ref().unwrap().send(Ok(piece.to_vec())).unwrap();
    }

    fn fail(&self) {
        let error = Error::new(ErrorKind::IncompleteBody, "cut");
        self.send.as_ref().unwrap().send(Err(error.into())).unwrap();
    }

    fn end(&mut self) {
        self.send = None;
    }

    fn committed(&self) -> Option<Bytes> {
        self.committed.try_recv().ok()
    }
}

fn rest(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn a_known_length_is_committed_before_its_last_bytes_are_handed_out() {
    let (setup, mut reader) = start(Some(6), 100);
    setup.send(b"abc");
    setup.send(b"def");
    let mut buffer = [0; 6];
    assert_eq!(reader.read(&mut buffer).unwrap(), 3);
    assert!(setup.committed().is_none());
    assert_eq!(reader.read(&mut buffer).unwrap(), 3);
    assert_eq!(setup.committed().unwrap(), "abcdef");
    assert_eq!(reader.read(&mut buffer).unwrap(), 0);
}

#[test]
fn an_unknown_length_is_committed_at_its_end() {
    let (mut setup, reader) = start(None, 100);
    setup.send(b"abc");
    setup.end();
    assert_eq!(rest(reader).unwrap(), b"abc");
    assert_eq!(setup.committed().unwrap(), "abc");
}

#[test]
fn a_late_reader_gets_the_beginning_and_the_end() {
    let (setup, mut first) = start(Some(6), 100);
    setup.send(b"abc");
    let mut buffer = [0; 3];
    first.read_exact(&mut buffer).unwrap();
    let late = first.fill().reader().unwrap();
    setup.send(b"def");
    assert_eq!(rest(late).unwrap(), b"abcdef");
    assert_eq!(rest(first).unwrap(), b"def");
}

#[test]
fn many_readers_at_once_all_get_the_whole() {
    let (setup, first) = start(Some(300_000), 1 << 20);
    let whole: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let readers: Vec<FillReader> = (0..8).map(|_| first.fill().reader().unwrap()).collect();
    let threads: Vec<_> = readers.into_iter().map(|reader| thread::spawn(|| rest(reader))).collect();
    for piece in whole.chunks(7_001) {
        setup.send(piece);
    }
    assert_eq!(rest(first).unwrap(), whole);
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap(), whole);
    }
    assert_eq!(setup.committed().unwrap(), whole);
}

#[test]
fn a_failure_reaches_every_reader_and_nothing_is_committed() {
    let (setup, reader) = start(Some(6), 100);
    let other = reader.fill().reader().unwrap();
    setup.send(b"abc");
    setup.fail();
    for reader in [reader, other] {
        let fill = Arc::clone(reader.fill());
        let error = Error::from(rest(reader).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::IncompleteBody);
        assert!(fill.reader().is_none());
    }
    assert!(setup.committed().is_none());
}

#[test]
fn an_end_before_the_announced_length_is_a_failure() {
    let (mut setup, reader) = start(Some(6), 100);
    setup.send(b"abc");
    setup.end();
    assert_eq!(Error::from(rest(reader).unwrap_err()).kind(), ErrorKind::IncompleteBody);
    assert!(setup.committed().is_none());
}

#[test]
fn more_than_was_announced_is_a_failure() {
    let (setup, reader) = start(Some(2), 100);
    setup.send(b"abc");
    assert!(rest(reader).is_err());
    assert!(setup.committed().is_none());
}

#[test]
fn a_panic_while_reading_releases_the_others() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the source is broken");
        }
    }
    let reader = Fill::start(Body::from_reader(Panics, None), keeping(100, Box::new(|_| {})));
    let other = reader.fill().reader().unwrap();
    assert!(thread::spawn(|| rest(reader)).join().is_err());
    assert!(rest(other).is_err());
}

#[test]
fn a_panic_while_storing_is_not_the_readers_trouble() {
    let body = Body::from_reader(&b"abc"[..], None);
    let reader = Fill::start(body, keeping(100, Box::new(|_| panic!("the store is broken"))));
    assert_eq!(rest(reader).unwrap(), b"abc");
}

#[test]
fn little_that_is_left_unread_is_fetched_and_committed() {
    for length in [Some(6), None] {
        let (mut setup, mut reader) = start(length, 100);
        setup.send(b"abc");
        setup.send(b"def");
        setup.end();
        let mut buffer = [0; 2];
        reader.read_exact(&mut buffer).unwrap();
        drop(reader);
        assert_eq!(setup.committed().unwrap(), "abcdef");
    }
}

#[test]
fn much_that_is_left_unread_is_given_up() {
    let (setup, mut reader) = start(Some(WORTH_FINISHING + 4), WORTH_FINISHING * 2);
    setup.send(b"abc");
    let mut buffer = [0; 2];
    reader.read_exact(&mut buffer).unwrap();
    let fill = Arc::clone(reader.fill());
    drop(reader);
    assert!(fill.reader().is_none());
    assert!(setup.send.as_ref().unwrap().send(Ok(Vec::new())).is_err(), "the source is dropped");
    assert!(setup.committed().is_none());
}

#[test]
fn one_that_stands_still_is_left_behind() {
    const LENGTH: u64 = 4 << 20;
    let body = Body::from_reader(io::repeat(7).take(LENGTH), None);
    let fast = Fill::with_patience(body, Some(keeping(1000, Box::new(|_| {}))), Duration::ZERO);
    let still = fast.fill().reader().unwrap();
    assert_eq!(rest(fast).unwrap().len() as u64, LENGTH);
    assert_eq!(Error::from(rest(still).unwrap_err()).kind(), ErrorKind::IncompleteBody);
}

#[test]
fn an_end_that_does_not_come_is_not_waited_for() {
    let (setup, mut reader) = start(None, 1 << 20);
    for _ in 0..=FINISHING_READS {
        setup.send(b"abc");
    }
    let mut buffer = [0; 2];
    reader.read_exact(&mut buffer).unwrap();
    drop(reader);
    assert!(setup.send.as_ref().unwrap().send(Ok(Vec::new())).is_err(), "the source is dropped");
    assert!(setup.committed().is_none());
}

#[test]
fn what_is_too_large_streams_through_in_bounded_memory() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(usize::try_from(self.0).unwrap());
            out[..count].fill(7);
            self.0 -= count as u64;
            Ok(count)
        }
    }
    const LENGTH: u64 = 8 << 20;
    let (commit, committed) = mpsc::channel::<Bytes>();
    let commit: Commit = Box::new(move |bytes| commit.send(bytes).unwrap());
    let slow = Fill::start(Body::from_reader(Endless(LENGTH), None), keeping(100_000, commit));
    let fast = slow.fill().reader().unwrap();
    let fill = Arc::clone(slow.fill());
    let thread = thread::spawn(move || rest(fast).unwrap().len());
    let mut slow = slow;
    let mut buffer = vec![0; 10_000];
    let mut read = 0;
    loop {
        let count = slow.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        read += count as u64;
        if let Kept::Since { bytes, .. } = &fill.state.lock().kept {
            assert!(bytes.len() as u64 <= WINDOW + 2 * PIECE as u64, "{}", bytes.len());
        }
    }
    assert_eq!(read, LENGTH);
    assert_eq!(thread.join().unwrap() as u64, LENGTH);
    assert!(committed.try_recv().is_err());
    assert!(fill.reader().is_none(), "the beginning is gone");
}

/// Reads without waiting, as far as that goes; whether the end was met, and how often it was woken.
struct Watching {
    reader: FillReader,
    wake: Wake,
    woken: Arc<AtomicUsize>,
}

impl Watching {
    fn new(reader: FillReader) -> Self {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        Self { reader, wake, woken }
    }

    fn look(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        loop {
            match self.reader.read_at_once(4, &self.wake)? {
                Grown::Bytes(bytes) => all.extend_from_slice(&bytes),
                Grown::Pending => return Ok((all, false)),
                Grown::End => return Ok((all, true)),
            }
        }
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::Relaxed)
    }
}

#[test]
fn one_who_never_waits_is_woken_when_more_has_come() {
    let (setup, reader) = start(Some(6), 100);
    let mut other = reader.fill().reader().unwrap();
    let mut watching = Watching::new(reader);
    assert_eq!(watching.look().unwrap(), (vec![], false));
    setup.send(b"abc");
    assert_eq!(watching.look().unwrap(), (vec![], false), "nobody has moved it on");
    other.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(watching.woken(), 1);
    assert_eq!(watching.look().unwrap(), (b"abc".to_vec(), false));
    setup.send(b"def");
    assert_eq!(rest(other).unwrap(), b"def");
    assert_eq!(watching.look().unwrap(), (b"def".to_vec(), true));
    assert_eq!(setup.committed().unwrap(), "abcdef");
}

#[test]
fn a_driver_moves_it_on_for_those_who_never_wait() {
    let (mut setup, reader) = start(None, 100);
    let mut watching = Watching::new(reader);
    let driver = watching.reader.driver().unwrap();
    assert!(watching.reader.driver().is_none(), "one is enough");
    setup.send(b"abc");
    setup.send(b"def");
    setup.end();
    assert_eq!(watching.look().unwrap(), (vec![], false));
    driver();
    assert_eq!(watching.woken(), 1);
    assert_eq!(watching.look().unwrap(), (b"abcdef".to_vec(), true));
    assert_eq!(setup.committed().unwrap(), "abcdef");
    assert!(watching.reader.driver().is_none(), "nothing is left to do");
}

#[test]
fn a_driver_that_never_ran_leaves_its_work_to_the_next() {
    let (setup, reader) = start(Some(3), 100);
    let mut watching = Watching::new(reader);
    drop(watching.reader.driver().unwrap());
    setup.send(b"abc");
    watching.reader.driver().unwrap()();
    assert_eq!(watching.look().unwrap(), (b"abc".to_vec(), true));
}

#[test]
fn a_driver_whose_readers_left_finishes_what_is_worth_it_and_no_more() {
    for (length, is_finished) in [(6, true), (WORTH_FINISHING + 7, false)] {
        let (setup, reader) = start(Some(length), WORTH_FINISHING * 2);
        let driver = reader.driver().unwrap();
        drop(reader);
        setup.send(b"abc");
        setup.send(b"def");
        driver();
        assert_eq!(setup.committed().is_some(), is_finished);
    }
}

#[test]
fn a_driver_leaves_a_body_that_is_read_too_slowly_to_the_next_one() {
    const LENGTH: u64 = 2 << 20;
    let mut reader = Fill::pass(Body::from_reader(io::repeat(7).take(LENGTH), None));
    let fill = Arc::clone(reader.fill());
    let (mut read, mut drivers) = (0, 0);
    let wake: Wake = Arc::new(|| {});
    loop {
        match reader.read_at_once(10_000, &wake).unwrap() {
            Grown::Bytes(bytes) => read += bytes.len() as u64,
            Grown::Pending => {
                // It comes back without anybody reading.
                reader.driver().unwrap()();
                drivers += 1;
            }
            Grown::End => break,
        }
        assert!(fill.state.lock().received - read <= WINDOW + PIECE as u64);
    }
    assert_eq!(read, LENGTH);
    assert!((2..=LENGTH / WINDOW + 1).contains(&drivers), "{drivers}");
}

#[test]
fn a_driven_body_that_fails_wakes_its_readers() {
    let (setup, reader) = start(Some(6), 100);
    let mut watching = Watching::new(reader);
    watching.look().unwrap();
    let driver = watching.reader.driver().unwrap();
    setup.send(b"abc");
    setup.fail();
    driver();
    assert_eq!(watching.woken(), 1);
    assert_eq!(Error::from(watching.look().unwrap_err()).kind(), ErrorKind::IncompleteBody);
}

#[test]
fn what_is_kept_has_room_set_aside_until_it_is_committed() {
    let room = shelf(1000);
    let (commit, committed) = mpsc::channel();
    let free = Arc::clone(&room);
    let commit: Commit = Box::new(move |bytes: Bytes| {
        commit.send((bytes, free.free.load(Ordering::Relaxed))).unwrap();
    });
    let keeping = Keeping { limit: 1000, worth_finishing: 0, room: Arc::clone(&room) as _, commit };
    let mut reader = Fill::start(Body::from_reader(io::repeat(7).take(600), Some(600)), keeping);
    reader.read_exact(&mut [0; 1]).unwrap();
    drop(rest(reader).unwrap());
    let (bytes, free) = committed.recv().unwrap();
    assert_eq!((bytes.len(), free), (600, 1000));
    assert_eq!(room.free.load(Ordering::Relaxed), 1000);
}

#[test]
fn without_room_a_body_streams_through_and_all_that_was_set_aside_is_given_back() {
    const LENGTH: usize = 1 << 20;
    for length in [Some(LENGTH as u64), None] {
        let room = shelf(200_000);
        let commit: Commit = Box::new(|_| panic!("there was no room for it"));
        let keeping = Keeping { limit: 2 << 20, worth_finishing: 0, room: Arc::clone(&room) as _, commit };
        let reader = Fill::start(Body::from_reader(io::repeat(7).take(LENGTH as u64), length), keeping);
        let fill = Arc::clone(reader.fill());
        assert_eq!(rest(reader).unwrap().len(), LENGTH);
        drop(fill);
        assert_eq!(room.free.load(Ordering::Relaxed), 200_000);
    }
}

#[test]
fn what_was_set_aside_for_a_body_that_fails_is_given_back() {
    let room = shelf(200_000);
    let (send, pieces) = mpsc::channel();
    let keeping = Keeping {
        limit: 100_000,
        worth_finishing: 0,
        room: Arc::clone(&room) as _,
        commit: Box::new(|_| {}),
    };
    let mut reader = Fill::start(Body::from_reader(Pipe(pieces), None), keeping);
    send.send(Ok(vec![7; 1000])).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    assert!(room.free.load(Ordering::Relaxed) < 200_000);
    send.send(Err(io::Error::other("cut"))).unwrap();
    assert!(rest(reader).is_err());
    assert_eq!(room.free.load(Ordering::Relaxed), 200_000);
}
