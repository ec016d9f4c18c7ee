//! The body of a request on its way from a connection to whoever handles the request.
//!
//! The connection's thread never waits here, the handler's does: for what has not come yet. Past the
//! capacity the connection is not read, until the handler has caught up.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io::{self, Read};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::base::error::{Error, ErrorKind};
use crate::base::ledger::{Hold, Ledger, Use};
use crate::message::body::{Body, Wake};
use crate::message::url::CanonicalUrl;
use crate::scheduler::Client;

/// How many bodies may be on their way to handlers. Each occupies a worker for as long as its client takes, so they may
/// have half of all workers, and those to one origin or of one client an eighth.
#[derive(Debug)]
pub(super) struct Places {
    workers: usize,
    taken: Mutex<Taken>,
    collecting: Mutex<HashMap<Client, usize>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_origin: HashMap<CanonicalUrl, usize>,
    by_client: HashMap<Client, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    origin: Option<CanonicalUrl>,
    client: Option<Client>,
}

impl Places {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers, taken: Mutex::default(), collecting: Mutex::default() })
    }

    /// A place for a body to this origin, of this client: `None` is a peer of the pool.
    pub(super) fn take(
        self: &Arc<Self>,
        origin: Option<CanonicalUrl>,
        client: Option<Client>,
    ) -> Option<Place> {
        let mut taken = self.taken.lock();
        let of_origin = origin.as_ref().and_then(|origin| taken.by_origin.get(origin));
        let of_client = client.and_then(|client| taken.by_client.get(&client));
        let most = (self.workers / 8).max(1);
        if taken.all >= (self.workers / 2).max(1) || of_origin.max(of_client).is_some_and(|own| *own >= most)
        {
            return None;
        }
        taken.all += 1;
        if let Some(origin) = &origin {
            *taken.by_origin.entry(origin.clone()).or_default() += 1;
        }
        if let Some(client) = client {
            *taken.by_client.entry(client).or_default() += 1;
        }
        drop(taken);
        Some(Place { of: Arc::clone(self), origin, client })
    }
}

/// How many requests of one client may wait for the rest of their content. It is held in memory: 16 MiB of one client.
const COLLECTING: usize = 256;

/// One request whose content is collected, until this is dropped.
#[derive(Debug)]
pub(super) struct Collecting(Option<(Arc<Places>, Client)>);

impl Places {
    /// A place for content that is collected, of this client: `None` is a peer of the pool.
    pub(super) fn collect(self: &Arc<Self>, client: Option<Client>) -> Option<Collecting> {
        let Some(client) = client else { return Some(Collecting(None)) };
        let mut collecting = self.collecting.lock();
        let own = collecting.entry(client).or_default();
        if *own >= COLLECTING {
            return None;
        }
        *own += 1;
        drop(collecting);
        Some(Collecting(Some((Arc::clone(self), client))))
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        if let Some((places, client)) = &self.0 {
            count_down(&mut places.collecting.lock(), client);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        taken.all -= 1;
        if let Some(origin) = &self.origin {
            count_down(&mut taken.by_origin, origin);
        }
        if let Some(client) = &self.client {
            count_down(&mut taken.by_client, client);
        }
    }
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// How much may wait for the handler, in bytes.
const CAPACITY: usize = 256 << 10;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What has come and was not read: one buffer, so that small pieces cost what they weigh.
    bytes: VecDeque<u8>,
    hold: Hold,
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
    ledger: Arc<Ledger>,
    _place: Place,
}

/// The handler's end.
struct Uploaded {
    shared: Arc<Shared>,
}

/// A body of this length, if that is known, and the end to fill it from. `wake` is called when there is room
/// again.
pub(super) fn upload(place: Place, ledger: &Arc<Ledger>, length: Option<u64>, wake: Wake) -> (Upload, Body) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            bytes: VecDeque::new(),
            hold: ledger.hold(Use::Content, 0),
            end: None,
            reader_has_left: false,
            wake: Some(wake),
        }),
        changed: Condvar::new(),
    });
    let uploaded = Uploaded { shared: Arc::clone(&shared) };
    (Upload { shared, ledger: Arc::clone(ledger), _place: place }, Body::from_reader(uploaded, length))
}

impl State {
    fn count(&mut self) {
        self.hold.set(self.bytes.len() as u64);
    }
}

impl Upload {
    /// Whether more may be given.
    pub(super) fn has_room(&self) -> bool {
        let state = self.shared.state.lock();
        state.bytes.len() < CAPACITY || state.reader_has_left
    }

    /// Takes a piece; `false` where there is no memory for it.
    pub(super) fn give(&self, piece: &[u8]) -> bool {
        // Room may have to be made for it, which is not for one who holds a lock.
        let Some(reserved) = self.ledger.reserve(Use::Content, piece.len() as u64) else { return false };
        let mut state = self.shared.state.lock();
        if !state.reader_has_left && !piece.is_empty() {
            state.bytes.extend(piece);
            state.count();
            self.shared.changed.notify_one();
        }
        drop(state);
        drop(reserved);
        true
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
            if !state.bytes.is_empty() {
                let was_full = state.bytes.len() >= CAPACITY;
                let count = state.bytes.read(out)?;
                state.count();
                let wake = if was_full && state.bytes.len() < CAPACITY { state.wake.clone() } else { None };
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
        let unused = std::mem::take(&mut state.bytes);
        state.count();
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn upload(length: Option<u64>, wake: Wake) -> (Upload, Body) {
        super::upload(Places::new(1).take(None, None).unwrap(), &Ledger::new(u64::MAX), length, wake)
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
        let (upload, body) = upload(Some(5), counting().1);
        let reading = std::thread::spawn(|| body.into_text());
        upload.give(b"ab");
        upload.give(b"");
        upload.give(b"cde");
        upload.finish();
        assert_eq!(reading.join().unwrap().unwrap(), "abcde");
    }

    #[test]
    fn half_of_the_workers_are_for_uploads_and_an_eighth_for_those_to_one_origin() {
        let places = Places::new(16);
        let origin = |name: &str| Some(CanonicalUrl::parse(&format!("http://{name}/")).unwrap());
        let take = |name: &str| places.take(origin(name), None);
        let of_one: Vec<Place> = std::iter::from_fn(|| take("a")).collect();
        let others: Vec<Place> = std::iter::from_fn(|| places.take(None, None)).collect();
        assert_eq!((of_one.len(), others.len()), (2, 6));
        assert!(take("b").is_none());
        drop(of_one);
        assert!(take("a").is_some());
    }

    #[test]
    fn an_eighth_of_the_workers_are_for_uploads_of_one_client() {
        let places = Places::new(64);
        let client = |number| Some(Client::of([10, 0, 0, number].into()));
        let origin = |name: usize| CanonicalUrl::parse(&format!("http://origin-{name}/")).ok();
        let of_one: Vec<Place> = (0..20).filter_map(|name| places.take(origin(name), client(1))).collect();
        assert_eq!(of_one.len(), 8);
        assert!(places.take(origin(0), client(2)).is_some() && places.take(origin(0), None).is_some());
        drop(of_one);
        assert!(places.taken.lock().by_client.is_empty() && places.taken.lock().by_origin.is_empty());
    }

    #[test]
    fn one_client_has_so_many_requests_that_wait_for_their_content() {
        let places = Places::new(1);
        let client = |number| Some(Client::of([10, 0, 0, number].into()));
        let held: Vec<Collecting> = std::iter::from_fn(|| places.collect(client(1))).collect();
        assert_eq!(held.len(), COLLECTING);
        assert!(places.collect(client(2)).is_some() && places.collect(None).is_some());
        drop(held);
        assert!(places.collect(client(1)).is_some() && places.collecting.lock().is_empty());
    }

    #[test]
    fn one_byte_pieces_cost_what_they_weigh_and_stop_where_the_memory_ends() {
        let ledger = Ledger::new(1000);
        let (upload, body) =
            super::upload(Places::new(1).take(None, None).unwrap(), &ledger, None, counting().1);
        let taken = (0..2000).take_while(|_| upload.give(b"x")).count();
        assert_eq!((taken, ledger.held(Use::Content)), (1000, 1000));
        assert!(upload.shared.state.lock().bytes.capacity() <= 1024);
        drop(body);
        assert_eq!(ledger.held(Use::Content), 0);
    }

    #[test]
    fn a_body_that_does_not_come_is_a_failure() {
        let (upload, body) = upload(None, counting().1);
        upload.give(b"ab");
        drop(upload);
        assert_eq!(body.into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
    }

    #[test]
    fn past_the_capacity_there_is_no_room_until_some_is_read() {
        let (woken, wake) = counting();
        let (upload, mut body) = upload(None, wake);
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
        assert_eq!(upload.shared.state.lock().bytes.len(), 0);
    }
}
