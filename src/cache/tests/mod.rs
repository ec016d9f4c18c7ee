//! Requests to a cache with a scripted origin and a manual clock.

mod collapsing;
#[cfg(feature = "disk")]
mod contract;
#[cfg(feature = "disk")]
mod disk;
mod invalidation;
mod negotiation;
mod operator;
mod partial;
mod partitions;
mod purging;
#[cfg(all(feature = "disk", feature = "redis"))]
mod redis;
mod stale;
mod steps;
mod storing;
mod users;
mod validation;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};

use super::{Background, HttpCache, HttpCacheBuilder};
use crate::base::clock::{Clock, ManualClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::round_trip::{RoundTrip, RoundTripFn};
use crate::message::stats::{Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::origin::throttle::{OriginLimits, Throttle};
use crate::policy::{Lifetime, LifetimeRule, Mode, Rules};
use crate::store::{Key, MemoryStore, Store, StoreError, StoredResponse, Usage, Variants};

const URL: &str = "http://example.com/a";

/// A request that the origin received.
#[derive(Clone, Debug)]
struct Asked {
    url: String,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = Mutex<VecDeque<Result<Response<Body>>>>;

/// A cache, its origin, and its clock.
struct Scene {
    cache: HttpCache,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Mode::Private, MemoryStore::new(1 << 20))
    }

    fn shared() -> Self {
        Self::with(Mode::Shared, MemoryStore::new(1 << 20))
    }

    fn with_background(background: Background) -> Self {
        Self::built(|cache| cache.background(background))
    }

    fn with(mode: Mode, store: impl Store + 'static) -> Self {
        Self::built(|cache| cache.rules(Rules::new(mode)).store(store))
    }

    fn built(build: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder) -> Self {
        let script = Arc::new(Script::default());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
        let origin = ScriptedOrigin { script: Arc::clone(&script), asked: Arc::clone(&asked) };
        let cache = HttpCache::builder()
            .origin(origin)
            .store(MemoryStore::new(1 << 20))
            .clock(Arc::clone(&clock))
            .pseudonym("me");
        Self { cache: build(cache).build().unwrap(), script, asked, clock }
    }

    /// Sets the origin's next response.
    fn answer(&self, status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> &Self {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.script.lock().unwrap().push_back(Ok(response.body(body.into()).unwrap()));
        self
    }

    fn fail(&self, kind: ErrorKind) -> &Self {
        self.script.lock().unwrap().push_back(Err(Error::new(kind, "the origin failed")));
        self
    }

    fn send(&self, method: &str, url: &str, fields: &[(&str, &str)]) -> Result<Response<Body>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.cache.round_trip(request.body(Body::empty()).unwrap())
    }

    fn get(&self, fields: &[(&str, &str)]) -> Answer {
        Answer::read(self.send("GET", URL, fields).unwrap())
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last_asked(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

struct ScriptedOrigin {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl RoundTrip for ScriptedOrigin {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        self.asked.lock().unwrap().push(Asked {
            url: parts.uri.to_string(),
            headers: parts.headers,
            body: body.into_text()?,
        });
        self.script.lock().unwrap().pop_front().expect("the origin is asked more often than expected")
    }
}

/// A response whose body has been read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, body: body.into_text().unwrap() }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, outcome: Outcome, body: &str) -> &Self {
        assert_eq!(
            (Outcome::of(&self.headers), self.body.as_str()),
            (Some(outcome), body),
            "{:?}",
            self.headers
        );
        assert_eq!(self.field("x-from-cache"), outcome.is_from_store().then_some("1"));
        self
    }
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];

/// A body that returns the pieces sent to it and ends when the sender is dropped.
struct Pipe(mpsc::Receiver<io::Result<&'static [u8]>>);

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Ok(piece) = self.0.recv() else { return Ok(0) };
        let piece = piece?;
        out[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

fn pipe() -> (mpsc::Sender<io::Result<&'static [u8]>>, Pipe) {
    let (send, receive) = mpsc::channel();
    (send, Pipe(receive))
}
