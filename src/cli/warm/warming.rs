//! The state that the threads of a run share.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use forwardcache::origin::CanonicalUrl;
use forwardcache::{Error, ErrorKind};
use http::StatusCode;
use indicatif::ProgressBar;
use parking_lot::{Condvar, Mutex};
use ring::digest::{SHA256, digest};

use super::super::failure::{Failure, print};
use super::input::Entry;
use super::journal::{Journal, Record};
use super::queue::{Limits, Next, Queue};
use super::request::{Answer, Requests, Verdict};
use super::summary::{self, Summary};

/// How many URLs of the list wait for a request. The list is read no further.
const WINDOW: usize = 4096;

/// The longest pause that an origin gets, as `Retry-After` asks. A URL that needs a longer one has failed.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How often a URL is requested again after such a pause.
const RETRIES: u8 = 2;

/// How long requests in progress may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

/// A URL that waits for a request.
#[derive(Debug)]
pub(super) struct Task {
    url: CanonicalUrl,
    /// The number of links between the list and this URL.
    depth: u8,
    retries: u8,
}

/// The run.
pub(super) struct Warming {
    pub(super) requests: Requests,
    pub(super) options: Options,
    pub(super) bar: ProgressBar,
    state: Mutex<State>,
    /// Notified when a request may start, the list may be read further, or a thread has ended.
    changed: Condvar,
}

/// Options of the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) limits: Limits,
    pub(super) depth: u8,
    pub(super) max_urls: usize,
    pub(super) json: bool,
}

/// Why a run ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Signal(i32),
    Failure(Failure),
}

struct State {
    queue: Queue<Task>,
    /// The URLs that are known, by a part of their SHA-256, and whether an earlier run has requested them.
    known: HashMap<[u8; 16], bool>,
    summary: Summary,
    journal: Option<Journal>,
    has_read_list: bool,
    /// How many threads have ended.
    ended: usize,
    stop: Option<(Stop, Instant)>,
}

impl State {
    /// Notes a URL. Returns whether it was unknown, or `None` if there are too many.
    fn learn(&mut self, url: &CanonicalUrl, max_urls: usize) -> Option<bool> {
        let key = key(url);
        if self.known.contains_key(&key) {
            return Some(false);
        }
        if self.known.len() >= max_urls {
            return None;
        }
        self.known.insert(key, false);
        Some(true)
    }

    fn push(&mut self, task: Task) {
        self.queue.push(&origin(&task.url), task);
    }
}

impl Warming {
    /// Creates a run that continues from a journal.
    pub(super) fn new(
        requests: Requests,
        options: Options,
        bar: ProgressBar,
        journal: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut state = State {
            queue: Queue::new(options.limits),
            known: HashMap::new(),
            summary: Summary::default(),
            journal: None,
            has_read_list: false,
            ended: 0,
            stop: None,
        };
        let mut found = Vec::new();
        if let Some(path) = journal {
            state.journal = Some(Journal::open(path, |record| match record {
                Record::Done(url) => {
                    state.known.insert(key(&url), true);
                }
                Record::Found(url, depth) => found.push((url, depth)),
            })?);
        }
        for (url, depth) in found {
            if depth <= options.depth && state.learn(&url, options.max_urls) == Some(true) {
                state.push(Task { url, depth, retries: 0 });
                bar.inc_length(1);
            }
        }
        Ok(Self { requests, options, bar, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Adds an entry of the list. Waits while many URLs wait for a request.
    pub(super) fn add(&self, entry: Entry) -> ControlFlow<()> {
        let mut state = self.state.lock();
        while state.queue.waiting() >= WINDOW && state.stop.is_none() {
            self.changed.wait(&mut state);
        }
        if state.stop.is_some() {
            return ControlFlow::Break(());
        }
        state.summary.is_cut |= matches!(entry, Entry::Unreadable(_));
        let url = match entry {
            Entry::Url(url) => url,
            Entry::Invalid(message) | Entry::Unreadable(message) => {
                state.summary.invalid += 1;
                drop(state);
                self.report(&message);
                return ControlFlow::Continue(());
            }
        };
        match state.learn(&url, self.options.max_urls) {
            None => state.summary.left_out += 1,
            Some(true) => {
                state.push(Task { url, depth: 0, retries: 0 });
                self.bar.inc_length(1);
                self.changed.notify_all();
            }
            Some(false) => {
                // The second mention of a URL that an earlier run has requested is an ordinary duplicate.
                if let Some(was_done) = state.known.get_mut(&key(&url))
                    && std::mem::take(was_done)
                {
                    state.summary.skipped += 1;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Notes that there are no more entries, or that the list cannot be read further.
    pub(super) fn end_list(&self, read: Result<(), String>) {
        if let Err(message) = read {
            if self.state.lock().known.is_empty() {
                return self.stop(Stop::Failure(Failure::Failed(message)));
            }
            // URLs that were read before the failure are still requested.
            let _ = self.add(Entry::Unreadable(message));
        }
        self.state.lock().has_read_list = true;
        self.changed.notify_all();
    }

    /// Requests URLs until none is left.
    pub(super) fn work(&self) {
        while let Some(task) = self.next() {
            let answer = self.requests.warm(&task.url, task.depth < self.options.depth);
            if let Err(failure) = self.finish(task, answer) {
                self.stop(Stop::Failure(failure));
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if state.stop.is_some() {
                return None;
            }
            match state.queue.next(Instant::now()) {
                Next::Start(task) => {
                    self.changed.notify_all();
                    return Some(task);
                }
                Next::Wait(time) => {
                    self.changed.wait_for(&mut state, time);
                }
                Next::Nothing if state.has_read_list && state.queue.is_empty() => {
                    self.changed.notify_all();
                    return None;
                }
                Next::Nothing => self.changed.wait(&mut state),
            }
        }
    }

    /// Counts and reports an answer, and adds the links of the page.
    fn finish(&self, task: Task, mut answer: Answer) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let pause = pause(&answer);
        state.queue.finish(&origin(&task.url), pause.unwrap_or_default().min(MAX_PAUSE), Instant::now());
        self.changed.notify_all();
        if state.stop.is_some() && answer.error.is_some() {
            // The end of the run has cut it off.
            return Ok(());
        }
        if pause.is_some_and(|pause| pause <= MAX_PAUSE) && task.retries < RETRIES {
            state.push(Task { retries: task.retries + 1, ..task });
            return Ok(());
        }
        answer.links.retain(|link| state.learn(link, self.options.max_urls) == Some(true));
        let depth = task.depth.saturating_add(1);
        let is_done = !matches!(answer.verdict, Verdict::Failed(_));
        if let Some(journal) = state.journal.as_mut().filter(|_| is_done) {
            journal.done(&task.url, &answer.links, depth)?;
        }
        state.summary.add(&answer);
        self.bar.inc_length(answer.links.len() as u64);
        self.bar.inc(1);
        self.bar.set_message(format!("{} failed", state.summary.failed()));
        answer.links.iter().for_each(|link| state.push(Task { url: link.clone(), depth, retries: 0 }));
        if self.options.json {
            return self.bar.suspend(|| print(summary::line(&task.url, &answer)));
        }
        if let Verdict::Failed(reason) = &answer.verdict {
            let reason = answer.error.as_ref().map_or(format!("status {reason}"), Error::reason);
            self.report(&format!("{}: {reason}", task.url));
        }
        Ok(())
    }

    /// Prints a message beside the progress bar.
    pub(super) fn report(&self, message: &str) {
        self.bar.suspend(|| eprintln!("forwardcache: {message}"));
    }

    /// Ends the run early. The first reason counts.
    pub(super) fn stop(&self, stop: Stop) {
        self.state.lock().stop.get_or_insert((stop, Instant::now()));
        self.requests.cancellation.cancel();
        self.changed.notify_all();
    }

    /// Notes the end of a thread that requests URLs.
    pub(super) fn end_worker(&self) {
        self.state.lock().ended += 1;
        self.changed.notify_all();
    }

    /// Waits until so many threads have ended, or for a short time after the run was stopped. Returns why it was stopped.
    pub(super) fn wait(&self, workers: usize) -> Option<Stop> {
        let mut state = self.state.lock();
        while state.ended < workers {
            match &state.stop {
                None => self.changed.wait(&mut state),
                Some((_, since)) if since.elapsed() >= GRACE => break,
                Some((_, since)) => {
                    let left = GRACE.saturating_sub(since.elapsed());
                    self.changed.wait_for(&mut state, left);
                }
            }
        }
        state.stop.take().map(|(stop, _)| stop)
    }

    /// Returns the counts, and the journal if this run has one.
    pub(super) fn result(&self) -> (Summary, Option<Journal>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.summary), state.journal.take())
    }
}

/// Returns how long the origin or the pool wants a pause after this answer.
fn pause(answer: &Answer) -> Option<Duration> {
    let is_busy = match (&answer.error, answer.status) {
        (Some(error), _) => matches!(error.kind(), ErrorKind::OriginBusy | ErrorKind::Unavailable),
        (None, status) => {
            matches!(status, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE))
        }
    };
    answer.retry_after.filter(|_| is_busy)
}

fn origin(url: &CanonicalUrl) -> String {
    format!("{}://{}", if url.is_https() { "https" } else { "http" }, url.authority())
}

fn key(url: &CanonicalUrl) -> [u8; 16] {
    let digest = digest(&SHA256, url.as_str().as_bytes());
    std::array::from_fn(|at| digest.as_ref()[at])
}
