//! Fills: blocking and non-blocking readers, drivers, failures and memory.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response};

use super::keeping::{BeginSpill, PIECE};
use super::state::{BACKLOG, WINDOW};
use super::transfer::FINISHING_READS;
use super::*;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind};
use crate::base::memory_limit::{Ledger, MemoryUse};
use crate::message::body::{Body, Growing, PollRead, Wake};
use crate::message::digest::Digest;
use crate::message::nonblocking::{Content, Slot};
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::{Spill, StoredBytes};
use crate::pool::protocol::{WantsDigest, take_digest};

const WORTH_FINISHING: u64 = 256 * 1024;

type CommitPieces = Box<dyn FnOnce(Pieces, Digest) + Send>;

fn keeping(limit: u64, commit: CommitPieces) -> Keeping {
    keeping_in(&Ledger::new(u64::MAX), limit, commit)
}

fn keeping_in(ledger: &Arc<Ledger>, limit: u64, commit: CommitPieces) -> Keeping {
    let (ledger, cancellation) = (Arc::clone(ledger), Cancellation::new());
    let commit: Commit = Box::new(|whole, digest| match whole {
        Arrived::Pieces(pieces) => commit(pieces, digest),
        Arrived::Spilled(..) | Arrived::Growing(..) => panic!("there is no file"),
    });
    let worth_finishing = WORTH_FINISHING;
    let (spill, beginning, stored) = (None, None, None);
    Keeping { limit, worth_finishing, ledger, cancellation, spill, commit, beginning, stored }
}

fn pass(body: Body, ledger: &Arc<Ledger>) -> FillReader {
    Fill::pass(body, Arc::clone(ledger), Cancellation::new())
}

/// A source that returns one sent piece per read and ends when the sender is dropped.
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
    committed: mpsc::Receiver<Pieces>,
    cancellation: Cancellation,
}

fn start(length: Option<u64>, limit: u64) -> (Setup, FillReader) {
    let (send, pieces) = mpsc::channel();
    let (commit, committed) = mpsc::channel();
    let body = Body::from_reader(Pipe(pieces), length);
    let commit = Box::new(move |pieces: Pieces, digest| {
        assert_eq!(digest, Digest::of_pieces(&pieces));
        commit.send(pieces).unwrap();
    });
    let keeping = keeping(limit, commit);
    let cancellation = keeping.cancellation.clone();
    (Setup { send: Some(send), committed, cancellation }, Fill::start(body, keeping))
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

    fn committed(&self) -> Option<Pieces> {
        self.committed.try_recv().ok()
    }
}

fn rest(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn a_body_of_known_length_is_committed_before_its_last_bytes_are_read() {
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
fn a_body_of_unknown_length_is_committed_at_its_end() {
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
fn a_body_shorter_than_announced_fails() {
    let (mut setup, reader) = start(Some(6), 100);
    setup.send(b"abc");
    setup.end();
    assert_eq!(Error::from(rest(reader).unwrap_err()).kind(), ErrorKind::IncompleteBody);
    assert!(setup.committed().is_none());
}

#[test]
fn a_body_longer_than_announced_fails() {
    let (setup, reader) = start(Some(2), 100);
    setup.send(b"abc");
    assert!(rest(reader).is_err());
    assert!(setup.committed().is_none());
}

#[test]
fn a_panic_in_a_read_releases_the_other_readers() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the source is broken");
        }
    }
    let reader = Fill::start(Body::from_reader(Panics, None), keeping(100, Box::new(|_, _| {})));
    let other = reader.fill().reader().unwrap();
    assert!(thread::spawn(|| rest(reader)).join().is_err());
    assert!(rest(other).is_err());
}

#[test]
fn a_panic_in_the_commit_does_not_fail_readers() {
    let body = Body::from_reader(&b"abc"[..], None);
    let reader = Fill::start(body, keeping(100, Box::new(|_, _| panic!("the store is broken"))));
    assert_eq!(rest(reader).unwrap(), b"abc");
}

#[test]
fn a_small_unread_rest_is_fetched_and_committed() {
    for length in [Some(6), None] {
        let (mut setup, mut reader) = start(length, 100);
        setup.send(b"abc");
        setup.send(b"def");
        setup.end();
        let mut buffer = [0; 2];
        reader.read_exact(&mut buffer).unwrap();
        assert!(reader.is_worth_finishing());
        drop(reader);
        assert_eq!(setup.committed().unwrap(), "abcdef");
        assert!(!setup.cancellation.is_cancelled());
    }
}

#[test]
fn a_large_unread_rest_is_given_up() {
    let (setup, mut reader) = start(Some(WORTH_FINISHING + 4), WORTH_FINISHING * 2);
    setup.send(b"abc");
    let mut buffer = [0; 2];
    reader.read_exact(&mut buffer).unwrap();
    let fill = Arc::clone(reader.fill());
    assert!(!reader.is_worth_finishing());
    drop(reader);
    assert!(setup.cancellation.is_cancelled());
    assert!(fill.reader().is_none());
    assert!(setup.send.as_ref().unwrap().send(Ok(Vec::new())).is_err(), "the source is dropped");
    assert!(setup.committed().is_none());
}

/// Reads a body with a fast reader while another reader has stopped. Returns the peak of the ledger and the result of
/// the slow reader.
fn outrun(ledger: &Arc<Ledger>, length: u64) -> (u64, io::Result<Vec<u8>>) {
    let mut fast = pass(Body::from_reader(io::repeat(7).take(length), None), ledger);
    let slow = fast.fill().reader().unwrap();
    let (mut most, mut read) = (0, 0);
    let mut buffer = vec![0; PIECE];
    loop {
        let count = fast.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        read += count as u64;
        most = most.max(ledger.held(MemoryUse::Windows));
    }
    assert_eq!(read, length);
    (most, rest(slow))
}

#[test]
fn a_fast_reader_never_waits_for_a_slow_one() {
    let ledger = Ledger::new(u64::MAX);
    let (most, slow) = outrun(&ledger, BACKLOG / 2);
    assert_eq!((most, slow.unwrap().len() as u64), (BACKLOG / 2, BACKLOG / 2));
    assert_eq!(ledger.total(), 0);
}

#[test]
fn a_slow_reader_is_cut_off() {
    let ledger = Ledger::new(u64::MAX);
    let (most, slow) = outrun(&ledger, BACKLOG * 2);
    assert!(most < WINDOW + BACKLOG, "{most}");
    assert_eq!(Error::from(slow.unwrap_err()).kind(), ErrorKind::IncompleteBody);
    assert_eq!(ledger.total(), 0);
}

#[test]
fn without_memory_the_slowest_reader_is_cut_off_sooner() {
    let ledger = Ledger::new(1 << 20);
    let (most, slow) = outrun(&ledger, BACKLOG);
    assert!(most <= 1 << 20, "{most}");
    assert!(slow.is_err());
}

#[test]
fn a_reader_that_is_cut_off_is_woken() {
    let ledger = Ledger::new(u64::MAX);
    let mut fast = pass(Body::from_reader(io::repeat(7).take(BACKLOG * 2), None), &ledger);
    let mut slow = Watching::new(fast.fill().reader().unwrap());
    assert!(matches!(slow.reader.poll_read(1, &slow.wake).unwrap(), PollRead::Pending));
    io::copy(&mut fast, &mut io::sink()).unwrap();
    assert!(slow.woken() > 0);
    assert!(slow.look().is_err());
}

#[test]
fn a_missing_end_is_not_waited_for() {
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
fn a_body_over_the_limit_streams_through_in_bounded_memory() {
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
    let (commit, committed) = mpsc::channel::<Pieces>();
    let commit: CommitPieces = Box::new(move |pieces, _| commit.send(pieces).unwrap());
    let ledger = Ledger::new(u64::MAX);
    let slow = Fill::start(Body::from_reader(Endless(LENGTH), None), keeping_in(&ledger, 100_000, commit));
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
        assert!(ledger.held(MemoryUse::Windows) <= WINDOW + BACKLOG + 2 * PIECE as u64, "{ledger:?}");
    }
    assert_eq!(read, LENGTH);
    assert_eq!(thread.join().unwrap() as u64, LENGTH);
    assert!(committed.try_recv().is_err());
    assert!(fill.reader().is_none(), "the beginning is gone");
}

/// A non-blocking reader that counts its wake-ups.
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
            match self.reader.poll_read(4, &self.wake)? {
                PollRead::Bytes(bytes) => all.extend_from_slice(&bytes),
                PollRead::Pending => return Ok((all, false)),
                PollRead::End => return Ok((all, true)),
            }
        }
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::Relaxed)
    }
}

#[test]
fn a_nonblocking_reader_is_woken_when_bytes_arrive() {
    let (setup, reader) = start(Some(6), 100);
    let mut other = reader.fill().reader().unwrap();
    let mut watching = Watching::new(reader);
    assert_eq!(watching.look().unwrap(), (vec![], false));
    setup.send(b"abc");
    assert_eq!(watching.look().unwrap(), (vec![], false), "no driver has run");
    other.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(watching.woken(), 1);
    assert_eq!(watching.look().unwrap(), (b"abc".to_vec(), false));
    setup.send(b"def");
    assert_eq!(rest(other).unwrap(), b"def");
    assert_eq!(watching.look().unwrap(), (b"def".to_vec(), true));
    assert_eq!(setup.committed().unwrap(), "abcdef");
}

#[test]
fn a_driver_reads_for_nonblocking_readers() {
    let (mut setup, reader) = start(None, 100);
    let mut watching = Watching::new(reader);
    let driver = watching.reader.driver().unwrap();
    assert!(watching.reader.driver().is_none(), "a second driver is refused");
    setup.send(b"abc");
    setup.send(b"def");
    setup.end();
    assert_eq!(watching.look().unwrap(), (vec![], false));
    driver();
    assert_eq!(watching.woken(), 1);
    assert_eq!(watching.look().unwrap(), (b"abcdef".to_vec(), true));
    assert_eq!(setup.committed().unwrap(), "abcdef");
    assert!(watching.reader.driver().is_none(), "the body has ended");
}

#[test]
fn an_unrun_driver_can_be_replaced() {
    let (setup, reader) = start(Some(3), 100);
    let mut watching = Watching::new(reader);
    drop(watching.reader.driver().unwrap());
    setup.send(b"abc");
    watching.reader.driver().unwrap()();
    assert_eq!(watching.look().unwrap(), (b"abc".to_vec(), true));
}

#[test]
fn a_driver_without_readers_finishes_only_a_small_rest() {
    for (length, is_finished) in [(6, true), (WORTH_FINISHING + 7, false)] {
        let (setup, reader) = start(Some(length), WORTH_FINISHING * 2);
        let driver = reader.driver().unwrap();
        drop(reader);
        setup.send(b"abc");
        setup.send(b"def");
        assert_eq!(setup.cancellation.is_cancelled(), !is_finished);
        driver();
        assert_eq!(setup.committed().is_some(), is_finished);
    }
}

#[test]
fn a_driver_returns_if_readers_are_slow_and_can_be_replaced() {
    const LENGTH: u64 = 2 << 20;
    let ledger = Ledger::new(u64::MAX);
    let mut reader = pass(Body::from_reader(io::repeat(7).take(LENGTH), None), &ledger);
    let fill = Arc::clone(reader.fill());
    let (mut read, mut drivers) = (0, 0);
    let wake: Wake = Arc::new(|| {});
    loop {
        match reader.poll_read(10_000, &wake).unwrap() {
            PollRead::Bytes(bytes) => read += bytes.len() as u64,
            PollRead::Pending => {
                // The driver returns although no reader has read.
                reader.driver().unwrap()();
                drivers += 1;
            }
            PollRead::End => break,
        }
        assert!(fill.state.lock().received - read <= WINDOW + PIECE as u64);
        assert!(ledger.held(MemoryUse::Windows) <= WINDOW + 2 * PIECE as u64);
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
fn stored_bytes_are_counted_until_their_last_holder_drops_them() {
    let ledger = Ledger::new(1 << 20);
    let (commit, committed) = mpsc::channel();
    let commit: CommitPieces = Box::new(move |pieces, _| commit.send(pieces).unwrap());
    let body = Body::from_reader(io::repeat(7).take(600_000), Some(600_000));
    let reader = Fill::start(body, keeping_in(&ledger, 1 << 20, commit));
    assert_eq!(rest(reader).unwrap().len(), 600_000);
    let pieces = committed.recv().unwrap();
    assert_eq!((pieces.len(), ledger.held(MemoryUse::Bodies)), (600_000, 600_000));
    let part = pieces.iter().last().unwrap();
    drop(pieces);
    assert_eq!(ledger.held(MemoryUse::Bodies), part.len() as u64);
    drop(part);
    assert_eq!(ledger.total(), 0);
}

#[test]
fn without_memory_a_body_streams_through_and_nothing_stays_counted() {
    const LENGTH: usize = 1 << 20;
    for length in [Some(LENGTH as u64), None] {
        let ledger = Ledger::new(200_000);
        let commit: CommitPieces = Box::new(|_, _| panic!("the ledger had no room"));
        let body = Body::from_reader(io::repeat(7).take(LENGTH as u64), length);
        let reader = Fill::start(body, keeping_in(&ledger, 2 << 20, commit));
        assert_eq!(rest(reader).unwrap().len(), LENGTH);
        assert_eq!(ledger.total(), 0);
    }
}

#[test]
fn every_reader_shares_the_same_bytes() {
    let (setup, first) = start(Some(200_000), 1 << 20);
    let mut readers = [Watching::new(first.fill().reader().unwrap()), Watching::new(first)];
    let driver = readers[0].reader.driver().unwrap();
    for piece in vec![7; 200_000].chunks(PIECE) {
        setup.send(piece);
    }
    driver();
    let stored = setup.committed().unwrap();
    for piece in stored.slices() {
        for Watching { reader, wake, .. } in &mut readers {
            let PollRead::Bytes(bytes) = reader.poll_read(usize::MAX, wake).unwrap() else {
                panic!("it is here")
            };
            assert_eq!((bytes.as_ptr(), bytes.len()), (piece.as_ptr(), piece.len()));
        }
    }
}

#[test]
fn small_reads_become_few_pieces() {
    let (setup, reader) = start(Some(50_000), 1 << 20);
    let whole: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in whole.chunks(10) {
        setup.send(piece);
    }
    assert_eq!(rest(reader).unwrap(), whole);
    let stored = setup.committed().unwrap();
    assert_eq!(stored, whole);
    assert!(stored.iter().count() <= 13, "{stored:?}");
}

#[test]
fn all_but_the_last_piece_can_be_read_while_it_is_committed() {
    let (send, pieces) = mpsc::channel();
    let (committing, is_committing) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let commit: CommitPieces = Box::new(move |_, _| {
        committing.send(()).unwrap();
        released.recv().unwrap();
    });
    let reader = Fill::start(Body::from_reader(Pipe(pieces), Some(10_000)), keeping(1 << 20, commit));
    let mut other = reader.fill().reader().unwrap();
    for piece in [vec![1; 6_000], vec![2; 4_000]] {
        send.send(Ok(piece)).unwrap();
    }
    let thread = thread::spawn(|| rest(reader).unwrap().len());
    is_committing.recv().unwrap();
    other.read_exact(&mut [0; 6_000]).unwrap();
    let mut other = Watching::new(other);
    assert_eq!(other.look().unwrap(), (vec![], false));
    assert!(!other.reader.is_worth_finishing());
    release.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), 10_000);
    assert_eq!(other.look().unwrap(), (vec![2; 4_000], true));
}

#[test]
fn a_buffered_beginning_is_shared_and_stored_with_the_rest() {
    let beginning: Pieces = [vec![1; 100_000], vec![2; 5_000]].into_iter().map(Bytes::from).collect();
    let rest_of_it = Body::from_reader(io::repeat(3).take(70_000), Some(70_000));
    let (commit, committed) = mpsc::channel();
    let commit: CommitPieces = Box::new(move |pieces, digest| commit.send((pieces, digest)).unwrap());
    let body = Body::with_beginning(beginning.clone(), rest_of_it);
    let reader = Fill::start(body, keeping(1 << 20, commit));
    let expected = [vec![1; 100_000], vec![2; 5_000], vec![3; 70_000]].concat();
    assert_eq!(rest(reader).unwrap(), expected);
    let (pieces, digest) = committed.recv().unwrap();
    assert_eq!(digest, Digest::of(&expected));
    assert_eq!(pieces, expected);
    let addresses = |pieces: &Pieces| pieces.slices().take(2).map(<[u8]>::as_ptr).collect::<Vec<_>>();
    assert_eq!(addresses(&pieces), addresses(&beginning));
}

/// A source that blocks until its transfer is cancelled.
fn silent(cancellation: &Cancellation) -> (Body, mpsc::Receiver<()>) {
    let (send, pieces) = mpsc::channel();
    let (reading, is_reading) = mpsc::channel();
    let hook = cancellation.on_cancel(move || {
        send.send(Err(io::Error::other("cancelled"))).unwrap();
    });
    struct Silent(Pipe, mpsc::Sender<()>, #[allow(dead_code)] crate::base::cancellation::CancelHook);
    impl Read for Silent {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let _ = self.1.send(());
            self.0.read(out)
        }
    }
    (Body::from_reader(Silent(Pipe(pieces), reading, hook), None), is_reading)
}

#[test]
fn a_blocked_driver_ends_when_the_last_reader_leaves() {
    let cancellation = Cancellation::new();
    let (body, is_reading) = silent(&cancellation);
    let reader = Fill::pass(body, Ledger::new(u64::MAX), cancellation);
    let other = reader.fill().reader().unwrap();
    let fill = Arc::clone(reader.fill());
    let driver = thread::spawn(reader.driver().unwrap());
    is_reading.recv().unwrap();
    drop(reader);
    assert!(!driver.is_finished());
    drop(other);
    driver.join().unwrap();
    assert!(fill.reader().is_none());
}

#[test]
fn a_small_rest_is_cancelled_only_by_abandon() {
    let cancellation = Cancellation::new();
    let (body, is_reading) = silent(&cancellation);
    let keeping = Keeping { cancellation: cancellation.clone(), ..keeping(1000, Box::new(|_, _| {})) };
    let reader = Fill::start(body, keeping);
    let other = reader.fill().reader().unwrap();
    let driver = thread::spawn(reader.driver().unwrap());
    is_reading.recv().unwrap();
    assert!(!other.is_worth_finishing(), "the fill has another reader");
    drop(other);
    assert!(reader.is_worth_finishing() && !cancellation.is_cancelled());
    Box::new(reader).abandon();
    assert!(cancellation.is_cancelled());
    driver.join().unwrap();
}

fn prepared_from(body: Body, cancellation: &Cancellation) -> Result<Response<Body>, Error> {
    let mut response = Response::new(body);
    response.extensions_mut().insert(WantsDigest);
    let made = prepared(response, &Method::GET, &Ledger::new(u64::MAX), cancellation);
    let (slot, promise) = Slot::new(Arc::new(|| ()));
    thread::spawn(move || promise.keep(made));
    loop {
        match slot.take(Instant::now()) {
            Content::Full(response) => return response,
            Content::Lost => panic!("the response is lost"),
            Content::Empty | Content::Early(..) => thread::yield_now(),
        }
    }
}

#[test]
fn a_short_body_goes_out_with_its_head_and_its_digest() {
    let body = Body::from_reader(&b"hello"[..], Some(5));
    let mut response = prepared_from(body, &Cancellation::new()).unwrap();
    assert_eq!(take_digest(response.headers_mut()), Some(Digest::of(b"hello")));
    assert_eq!(*response.body().as_pieces().unwrap(), "hello");
}

#[test]
fn a_truncated_short_body_is_an_error() {
    let body = Body::from_reader(&b"hello"[..], Some(6));
    let error = prepared_from(body, &Cancellation::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
}

#[test]
fn a_slow_short_body_streams_from_its_beginning() {
    struct Slow(u8);
    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(60) {
                thread::yield_now();
            }
            out[0] = self.0;
            self.0 += 1;
            Ok(1)
        }
    }
    let body = Body::from_reader(Slow(0), Some(5));
    let response = prepared_from(body, &Cancellation::new()).unwrap();
    // A collected body would be in memory.
    assert!(response.body().as_pieces().is_none());
    assert_eq!(response.body().length(), Some(5));
    assert_eq!(response.into_body().into_bytes().unwrap(), [0, 1, 2, 3, 4][..]);
}

/// A file on a disk that is full after some bytes.
#[derive(Debug)]
struct FullFile {
    bytes: parking_lot::Mutex<Vec<u8>>,
    room: usize,
}

impl StoredBytes for FullFile {
    fn read(&self, at: u64, most: usize) -> io::Result<Box<[u8]>> {
        let bytes = self.bytes.lock();
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(rest[..most.min(rest.len())].into())
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

impl Spill for FullFile {
    fn write(&self, piece: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes.lock();
        let count = piece.len().min(self.room - bytes.len());
        bytes.extend_from_slice(&piece[..count]);
        if count < piece.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn finish(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn written(&self) -> (u64, u64) {
        (1, self.bytes.lock().len() as u64)
    }

    fn finish_beginning(&self) -> (u64, u64) {
        self.written()
    }
}

#[test]
fn reader_that_is_behind_gets_all_of_a_body_whose_file_is_full() {
    const LENGTH: usize = 3 << 20;
    let body: Vec<u8> = (0..LENGTH as u64 / 8).flat_map(u64::to_be_bytes).collect();
    for room in [PIECE, 1 << 20, LENGTH - 1] {
        let ledger = Ledger::new(u64::MAX);
        let commit = Box::new(|_: Pieces, _| panic!("it is not stored"));
        let file: Arc<dyn Spill> = Arc::new(FullFile { bytes: parking_lot::Mutex::default(), room });
        let spill: BeginSpill = Box::new(move |_| Some(file));
        let keeping = Keeping { spill: Some(spill), ..keeping_in(&ledger, 0, commit) };
        let source = Body::from_reader(io::Cursor::new(body.clone()), Some(LENGTH as u64));
        let mut fast = Fill::start(source, keeping);
        let slow = fast.fill().reader().unwrap();
        let mut nonblocking = Watching::new(fast.fill().reader().unwrap());
        let mut read = vec![0; LENGTH];
        fast.read_exact(&mut read).unwrap();
        assert!(read == body && rest(fast).unwrap().is_empty());
        assert!(rest(slow).unwrap() == body, "{room}");
        read.clear();
        loop {
            match nonblocking.reader.poll_read(50_000, &nonblocking.wake).unwrap() {
                PollRead::Bytes(bytes) => read.extend_from_slice(&bytes),
                PollRead::Pending => {}
                PollRead::End => break,
            }
        }
        assert!(read == body, "{room}");
        drop(nonblocking);
        assert_eq!(ledger.total(), 0);
    }
}
