//! The body of a request on its way from a connection to whoever handles the request.
//!
//! The connection's thread never waits here, the handler's does: for what has not come yet. Past the
//! capacity the connection is not read, until the handler has caught up.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use parking_lot::{Condvar, Mutex};

use crate::body::{Body, Wake};
use crate::error::{Error, ErrorKind};

/// How many bodies may be on their way to handlers. Each occupies a worker for as long as its client
/// takes, so they may not have all of them.
#[derive(Debug)]
pub(super) struct Places {
    free: AtomicUsize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(count) })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Place { of: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.free.fetch_add(1, Ordering::AcqRel);
    }
}

/// How much may wait for the handler, in bytes.
const CAPACITY: usize = 256 << 10;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    pieces: VecDeque<Bytes>,
    held: usize,
    end: Option<End>,
    reader_has_left: bool,
    /// To be called when there is room again.
    wake: Option<Wake>,
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Cut,
}

/// The connection's end. Dropped before the whole has come, the body is cut.
pub(super) struct Upload {
    shared: Arc<Shared>,
    _place: Place,
}

/// The handler's end.
struct Uploaded {
    shared: Arc<Shared>,
}

/// A body of this length, if that is known, and the end to fill it from. `wake` is called when there is room
/// again.
pub(super) fn upload(place: Place, length: Option<u64>, wake: Wake) -> (Upload, Body) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            pieces: VecDeque::new(),
            held: 0,
            end: None,
            reader_has_left: false,
            wake: Some(wake),
        }),
        changed: Condvar::new(),
    });
    let uploaded = Uploaded { shared: Arc::clone(&shared) };
    (Upload { shared, _place: place }, Body::from_reader(uploaded, length))
}

impl Upload {
    /// Whether more may be given.
    pub(super) fn has_room(&self) -> bool {
        let state = self.shared.state.lock();
        state.held < CAPACITY || state.reader_has_left
    }

    pub(super) fn give(&self, piece: &[u8]) {
        let mut state = self.shared.state.lock();
        if !state.reader_has_left && !piece.is_empty() {
            state.held += piece.len();
            state.pieces.push_back(Bytes::copy_from_slice(piece));
            self.shared.changed.notify_one();
        }
    }

    /// All of it has come.
    pub(super) fn finish(self) {
        self.end(End::Whole);
    }

    fn end(&self, end: End) {
        let mut state = self.shared.state.lock();
        state.end.get_or_insert(end);
        self.shared.changed.notify_one();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.end(End::Cut);
    }
}

impl Read for Uploaded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(piece) = state.pieces.front_mut() {
                let count = piece.len().min(out.len());
                piece.copy_to_slice(&mut out[..count]);
                if piece.is_empty() {
                    state.pieces.pop_front();
                }
                let was_full = state.held >= CAPACITY;
                state.held -= count;
                let wake = if was_full && state.held < CAPACITY { state.wake.clone() } else { None };
                drop(state);
                if let Some(wake) = wake {
                    wake();
                }
                return Ok(count);
            }
            match state.end {
                Some(End::Whole) => return Ok(0),
                Some(End::Cut) => {
                    let why = "the body of the request did not come whole";
                    return Err(Error::new(ErrorKind::IncompleteBody, why).into());
                }
                None => self.shared.changed.wait(&mut state),
            }
        }
    }
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.reader_has_left = true;
        let unused = std::mem::take(&mut state.pieces);
        state.held = 0;
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Places::new(1).take().unwrap()
    }

    fn counting() -> (Arc<AtomicUsize>, Wake) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        (
            count,
            Arc::new(move || {
                counter.fetch_add(1, Ordering::Relaxed);
            }),
        )
    }

    #[test]
    fn pieces_come_out_as_they_went_in() {
        let (upload, body) = upload(place(), Some(5), counting().1);
        let reading = std::thread::spawn(|| body.into_text());
        upload.give(b"ab");
        upload.give(b"");
        upload.give(b"cde");
        upload.finish();
        assert_eq!(reading.join().unwrap().unwrap(), "abcde");
    }

    #[test]
    fn there_are_as_many_places_as_that() {
        let places = Places::new(2);
        let (one, other) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        let (upload, body) = upload(one, None, counting().1);
        upload.finish();
        drop((places.take().unwrap(), other, body));
    }

    #[test]
    fn a_body_that_does_not_come_is_a_failure() {
        let (upload, body) = upload(place(), None, counting().1);
        upload.give(b"ab");
        drop(upload);
        assert_eq!(body.into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
    }

    #[test]
    fn past_the_capacity_there_is_no_room_until_some_is_read() {
        let (woken, wake) = counting();
        let (upload, mut body) = upload(place(), None, wake);
        while upload.has_room() {
            upload.give(&[7; 1000]);
        }
        let mut buffer = [0; 1000];
        body.read_exact(&mut buffer).unwrap();
        assert!(upload.has_room());
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        drop(body);
        assert!(upload.has_room());
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        upload.give(&[7; 1000]);
        assert_eq!(upload.shared.state.lock().held, 0);
    }
}
