//! `forwardcache warm`: requests each URL of a list, so that the pool stores the responses.
//!
//! One thread reads the list, and others request its URLs. Files in reading order:
//!
//! | file | content |
//! |---|---|
//! | `mod` | the threads, the signals and the exit code |
//! | `input` | the list: lines, sitemaps, gzip, standard input, a URL |
//! | `sitemap` | sitemaps and their indexes |
//! | `warming` | the state that the threads share |
//! | `queue` | which URL is requested next: limits and rates, a pure function of a given time |
//! | `request` | one request and its effect |
//! | `links` | the links of an HTML page |
//! | `journal` | the URLs that are done, for `--resume` |
//! | `summary` | counts as text and as JSON |

mod input;
mod journal;
mod links;
mod queue;
mod request;
mod sitemap;
mod summary;
mod warming;

use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use forwardcache::client::{Membership, MembershipWatcher, OnNoPeers};
use forwardcache::{Cancellation, Client, RoundTrip};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::Warm;
use super::failure::{Failure, print};
use super::local::Local;
use super::pool::{self, MAX_REDIRECTS};
use super::{fields, progress};
use input::{Lists, Source};
use queue::Limits;
use request::Requests;
use warming::{Options, Stop, Warming};

pub(crate) fn run(arguments: &Warm) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let source = Source::parse(&arguments.list)?;
    let fields = fields::parse_all(&arguments.request.fields)?;
    let (transport, _membership) = transport(arguments)?;
    let requests =
        Requests { transport, fields, max_time: arguments.max_time, cancellation: Cancellation::new() };
    let options = Options {
        limits: Limits {
            of_origin: arguments.origin_concurrency.into(),
            interval: arguments.rate.unwrap_or(Duration::ZERO),
            origin_interval: arguments.origin_rate.unwrap_or(Duration::ZERO),
        },
        depth: arguments.depth,
        max_urls: arguments.max_urls as usize,
        json: arguments.json,
    };
    let bar = progress::urls(arguments.silent);
    // Before the journal exists, because a program that sees it may interrupt the run.
    let signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::io("cannot install signal handlers", &error))?;
    let warming = Arc::new(Warming::new(requests, options, bar, arguments.resume.as_deref())?);
    stop_on_signals(&warming, signals)?;
    let workers = usize::from(arguments.concurrency);
    let mut threads = Vec::new();
    for _ in 0..workers {
        let worker = Worker(Arc::clone(&warming));
        threads.push(start("forwardcache-warm", move || worker.0.work())?);
    }
    let is_cross_origin = arguments.cross_origin;
    let reader = Arc::clone(&warming);
    // A signal does not wait for the list: standard input may never end.
    threads.push(start("forwardcache-list", move || {
        let mut lists = Lists::new(&reader.requests, is_cross_origin);
        let read = lists.read(&source, &mut |entry| reader.add(entry));
        reader.end_list(read);
    })?);
    let stop = warming.wait(workers);
    if stop.is_none() {
        // They have ended. Without them, the end of this function closes the store.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
    warming.bar.finish_and_clear();
    let (summary, journal) = warming.result();
    if let Some(Stop::Failure(failure)) = stop {
        return Err(failure);
    }
    if !arguments.silent {
        let time = started.elapsed();
        print(if arguments.json { summary.json(time) } else { summary.text(time) })?;
    }
    if let Some(Stop::Signal(signal)) = stop {
        if let Some(path) = &arguments.resume {
            eprintln!("forwardcache: interrupted: the next run with --resume {} continues", path.display());
        }
        return Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)));
    }
    if let Some(journal) = journal.filter(|_| summary.is_complete()) {
        journal.remove()?;
    }
    Ok(if summary.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds what the requests go through: the pool, or the cache of this process.
fn transport(arguments: &Warm) -> Result<(Box<dyn RoundTrip>, Option<MembershipWatcher>), Failure> {
    let access = &arguments.request.access;
    let redirects = if arguments.location { MAX_REDIRECTS } else { 0 };
    let client = Client::builder().follow_redirects(redirects);
    if access.peer_list.is_empty() {
        let local = Local::open_required(&arguments.directory, pool::origin(access)?)?;
        if !arguments.location {
            return Ok((Box::new(local), None));
        }
        // Without peers, the client sends each hop through the cache of this process.
        return Ok((Box::new(client.transport(local).build()?), None));
    }
    // A response that no peer fetches is stored nowhere.
    let client = pool::client(client, access, OnNoPeers::Fail)?;
    let membership = match access.peer_list.discovery("http")? {
        Some(discovery) => Some(Membership::new(&client, discovery).watch()?),
        None => None,
    };
    Ok((Box::new(client), membership))
}

/// Stops the run at the first signal and the process at the second.
fn stop_on_signals(warming: &Arc<Warming>, mut signals: Signals) -> Result<(), Failure> {
    let warming = Arc::downgrade(warming);
    let thread = start("forwardcache-signals", move || {
        let mut has_stopped = false;
        for signal in signals.forever() {
            match warming.upgrade() {
                Some(warming) if !has_stopped => warming.stop(Stop::Signal(signal)),
                _ => exit(128 + signal),
            }
            has_stopped = true;
        }
    });
    thread.map(|_| ())
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Failure::io("cannot start a thread", &error))
}

/// Announces the end of its thread, also after a panic.
struct Worker(Arc<Warming>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.end_worker();
    }
}
