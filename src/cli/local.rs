//! The cache of `get` without a pool: it keeps responses in a directory between runs.
//!
//! Of several processes that need the same URL at the same time, one fetches it, and the others wait for its response.

use std::env;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forwardcache::cache::Background;
use forwardcache::store::{DiskEntry, DiskStore, StoreError};
use forwardcache::{Body, Deadline, Error, ErrorKind, HttpCache, Origin, Outcome, ResponseExt, RoundTrip};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, SET_COOKIE,
};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use parking_lot::Mutex;

use super::arguments::{LocalStore, StoreDirectory};
use super::failure::Failure;
use super::lease::Lease;

/// Requests with one of these fields are not fetched on behalf of other processes, and wait for none.
const UNSHARED: [HeaderName; 10] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    COOKIE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    PRAGMA,
    RANGE,
];

/// How long a response that was fetched for other processes may take to reach the disk.
const FLUSH: Duration = Duration::from_secs(5);

/// How long the end of the command waits for refreshes of stale responses.
const REFRESH: Duration = Duration::from_secs(10);

/// A cache in this process, above a directory that other runs use too.
pub(super) struct Local {
    origin: Arc<Origin>,
    cache: HttpCache,
    kept: Option<OpenStore>,
    is_offline: bool,
    /// Held while this process refreshes stale responses, so that no other process does.
    refreshes: Mutex<Vec<Lease>>,
}

impl StoreDirectory {
    /// Returns the directory, if there is one by default.
    fn path(&self) -> Option<PathBuf> {
        self.store.clone().or_else(default_directory)
    }
}

/// A function that opens a store.
type Opener = fn(&Path) -> Result<DiskStore, StoreError>;

/// A directory that is open.
#[derive(Clone)]
struct OpenStore {
    directory: PathBuf,
    disk: DiskStore,
}

impl Local {
    /// Opens the store. One that cannot be used is reported, and the command goes on without it.
    pub(super) fn open(arguments: &LocalStore, origin: Origin) -> Result<Self, Failure> {
        let directory = arguments.directory.path().filter(|_| !arguments.no_store);
        let kept = match directory {
            None if arguments.offline => return Err(no_directory("--offline")),
            None => None,
            Some(directory) if arguments.offline => Some(open_existing(directory, open_for_reading)?),
            Some(directory) => match DiskStore::open(&directory) {
                Ok(disk) => Some(OpenStore { directory, disk }),
                Err(error) => match DiskStore::open_read_only(&directory) {
                    Ok(disk) => {
                        eprintln!("forwardcache: {error:#}; nothing more is kept");
                        Some(OpenStore { directory, disk })
                    }
                    Err(_) => {
                        eprintln!("forwardcache: {error:#}; nothing is kept between runs");
                        None
                    }
                },
            },
        };
        Self::above(kept, &arguments.directory, origin, arguments.offline)
    }

    /// Opens the store of a command that would be useless without it.
    pub(super) fn open_required(arguments: &StoreDirectory, origin: Origin) -> Result<Self, Failure> {
        let directory = arguments.path().ok_or_else(|| no_directory("without a pool, this command"))?;
        let disk = DiskStore::open(&directory).map_err(|error| Failure::failed(format_args!("{error:#}")))?;
        Self::above(Some(OpenStore { directory, disk }), arguments, origin, false)
    }

    fn above(
        kept: Option<OpenStore>,
        arguments: &StoreDirectory,
        origin: Origin,
        is_offline: bool,
    ) -> Result<Self, Failure> {
        if let (Some(kept), Some(size)) = (&kept, arguments.disk) {
            // A clone of the handle sets the limit of the store.
            let _ = kept.disk.clone().capacity(size.bytes());
        }
        if let (Some(kept), Some(file)) = (&kept, &arguments.store_key_file)
            && let Err(error) = kept.disk.clone().key_file(file)
        {
            eprintln!("forwardcache: {error:#}; responses that depend on credentials are not kept");
        }
        let origin = Arc::new(origin);
        let cache = cache(&origin, kept.as_ref())?;
        cache.set_offline(is_offline);
        Ok(Self { origin, cache, kept, is_offline, refreshes: Mutex::default() })
    }

    /// Answers a request that other processes may send at the same time.
    fn shared(&self, kept: &OpenStore, request: &Request<Body>) -> Result<Response<Body>, Error> {
        let url = request.uri().to_string();
        if let Some(stored) = stored(&self.cache, request)? {
            if Outcome::of(stored.headers()) == Some(Outcome::StaleWhileRevalidate) {
                self.refreshes.lock().extend(Lease::try_acquire(&kept.directory, &url).ok().flatten());
            }
            let is_in_memory = stored.body().is_empty() || stored.body().as_bytes().is_some();
            // A body that is read from the disk is requested again as one that the origin may complete if it is damaged.
            return if is_in_memory { Ok(stored) } else { self.cache.round_trip(copy(request)) };
        }
        let until = request.extensions().get::<Deadline>().and_then(|deadline| {
            let now = Instant::now();
            deadline.remaining(now).map(|left| now + left)
        });
        let lease = match Lease::acquire(&kept.directory, &url, until) {
            Ok(Some(lease)) => lease,
            Ok(None) => return self.cache.round_trip(copy(request)),
            Err(error) => {
                log::debug!("no lease: {error}");
                return self.cache.round_trip(copy(request));
            }
        };
        // Another process may have stored the response since this one looked. The memory of this cache may hold an older one.
        if let Err(error) = kept.disk.refresh() {
            log::debug!("{error:#}");
        }
        let cache = cache(&self.origin, Some(kept))?;
        if let Some(stored) = stored(&cache, request)? {
            lease.finish();
            return Ok(stored);
        }
        let response = match cache.round_trip(copy(request)) {
            Ok(response) if is_shareable(&response) => response,
            Ok(response) => {
                lease.give_up();
                return Ok(response);
            }
            Err(error) => {
                // A deadline is this request's own, and the next one may wait for longer.
                if until.is_none_or(|until| until > Instant::now()) {
                    lease.give_up();
                }
                return Err(error);
            }
        };
        let length = response.body().length();
        let kept = kept.clone();
        Ok(response.map(|body| {
            Body::from_reader(Led { body, lease: Some(lease), kept, url, _cache: cache }, length)
        }))
    }
}

impl RoundTrip for Local {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let is_alone = |name: &HeaderName| request.headers().contains_key(name);
        match &self.kept {
            Some(kept) if self.is_offline => {
                let url = request.uri().to_string();
                let response = self.cache.round_trip(request)?;
                if Outcome::of(response.headers()) != Some(Outcome::OnlyIfCached) {
                    return Ok(response);
                }
                let entries = kept.disk.entries_of(&url).unwrap_or_default();
                let why = if entries.is_empty() {
                    "has no response"
                } else if entries.iter().all(DiskEntry::is_part) {
                    "has only a part of the response"
                } else {
                    "has only responses that its origin forbids to use without asking it, or for other header fields"
                };
                let text = format!("--offline: the store {} {why}", kept.directory.display());
                Err(Error::new(ErrorKind::Unreachable, text).with_url(url))
            }
            Some(kept)
                if request.method() == Method::GET
                    && request.body().is_empty()
                    && !UNSHARED.iter().any(is_alone) =>
            {
                self.shared(kept, &request)
            }
            _ => self.cache.round_trip(request),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Another process refreshes what this one has no lease for.
        if !self.refreshes.get_mut().is_empty() {
            self.cache.maintain(REFRESH);
            if let Some(kept) = &self.kept {
                kept.disk.flush(FLUSH);
            }
            self.refreshes.get_mut().drain(..).for_each(Lease::finish);
        }
    }
}

/// The body of a response that this process fetches for others too. They get it once it is on the disk.
struct Led {
    body: Body,
    lease: Option<Lease>,
    kept: OpenStore,
    url: String,
    /// Keeps the cache open while the body is read.
    _cache: HttpCache,
}

impl Read for Led {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        if let Some(mut lease) = self.lease.take() {
            if count > 0 || buffer.is_empty() {
                lease.touch();
                self.lease = Some(lease);
            } else {
                self.kept.disk.flush(FLUSH);
                // The store does not take every response that a cache in memory keeps.
                match self.kept.disk.entries_of(&self.url) {
                    Ok(entries) if entries.iter().any(|entry| !entry.is_partitioned()) => lease.finish(),
                    _ => lease.give_up(),
                }
            }
        }
        Ok(count)
    }
}

fn cache(origin: &Arc<Origin>, kept: Option<&OpenStore>) -> Result<HttpCache, Error> {
    let cache = HttpCache::builder().origin(Arc::clone(origin)).background(Background::CallerRuns);
    match kept {
        Some(kept) => cache.disk_store(&kept.disk).build(),
        None => cache.build(),
    }
}

/// Returns a stored response that may be used without asking the origin.
fn stored(cache: &HttpCache, request: &Request<Body>) -> Result<Option<Response<Body>>, Error> {
    let mut request = copy(request);
    request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
    let response = cache.round_trip(request)?;
    Ok((Outcome::of(response.headers()) != Some(Outcome::OnlyIfCached)).then_some(response))
}

/// Returns whether other processes will find the response on the disk.
fn is_shareable(response: &Response<Body>) -> bool {
    let info = response.info();
    let is_on_disk = info.is_stored() || matches!(info.outcome(), Some(Outcome::Revalidated(_)));
    is_on_disk && !response.headers().contains_key(SET_COOKIE)
}

/// Returns the same request, whose body is empty.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

fn no_directory(flag: &str) -> Failure {
    Failure::Usage(format!("{flag} requires --store DIR: neither XDG_CACHE_HOME nor HOME is set"))
}

/// Opens a store for reading only, or for writing if it needs a repair.
pub(super) fn open_for_reading(directory: &Path) -> Result<DiskStore, StoreError> {
    DiskStore::open_read_only(directory).or_else(|error| DiskStore::open(directory).map_err(|_| error))
}

/// Opens a store that `store` or `--offline` uses. It is not created.
fn open_existing(directory: PathBuf, open: Opener) -> Result<OpenStore, Failure> {
    if !directory.join("index.redb").exists() {
        return Err(Failure::failed(format_args!("there is no store in {}", directory.display())));
    }
    let disk = open(&directory).map_err(Failure::failed)?;
    Ok(OpenStore { directory, disk })
}

/// Opens the store that a command names, or the one that `get` uses by default.
pub(super) fn existing(directory: Option<&Path>, open: Opener) -> Result<(PathBuf, DiskStore), Failure> {
    let directory = directory.map(Path::to_owned).or_else(default_directory);
    let kept = open_existing(directory.ok_or_else(|| no_directory("store"))?, open)?;
    Ok((kept.directory, kept.disk))
}

/// Returns the directory of the user's cache, as the XDG Base Directory Specification defines it.
fn default_directory() -> Option<PathBuf> {
    let of = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")))?;
    Some(caches.join("forwardcache"))
}

#[cfg(test)]
mod tests {
    use forwardcache::RoundTripFn;

    use super::*;

    const URL: &str = "http://127.0.0.1:9/a";

    /// Stores a response in one process, requests it in another, and returns how often that one looked it up.
    fn lookups(length: usize, age: &'static str, outcome: Outcome) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let origin = RoundTripFn(move |_| {
            let lifetime = "max-age=60, stale-while-revalidate=600";
            let response = Response::builder().header(CACHE_CONTROL, lifetime).header("etag", "\"1\"");
            Ok(response.header("age", age).body(Body::from("x".repeat(length))).unwrap())
        });
        let disk = DiskStore::open(folder.path()).unwrap();
        let cache = HttpCache::builder().origin(origin).disk_store(&disk).build().unwrap();
        cache.get(URL).send().unwrap().bytes().unwrap();
        drop((cache, disk));
        let arguments =
            StoreDirectory { store: Some(folder.path().to_owned()), store_key_file: None, disk: None };
        let origin = Origin::builder().build().unwrap();
        let Ok(local) = Local::open_required(&arguments, origin) else { panic!("it does not open") };
        let response = local.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap();
        assert_eq!(Outcome::of(response.headers()), Some(outcome));
        assert_eq!(response.into_body().into_bytes().unwrap().len(), length);
        // The end would refresh it.
        let has_lease = !std::mem::take(&mut *local.refreshes.lock()).is_empty();
        assert_eq!(has_lease, outcome == Outcome::StaleWhileRevalidate);
        local.cache.stats().counts().of(outcome)
    }

    #[test]
    fn a_stored_response_in_memory_is_looked_up_once() {
        for (length, expected) in [(0, 1), (10, 1), (100_000, 2)] {
            assert_eq!(lookups(length, "0", Outcome::Hit), expected, "{length}");
            assert_eq!(lookups(length, "100", Outcome::StaleWhileRevalidate), expected, "{length}");
        }
    }
}
