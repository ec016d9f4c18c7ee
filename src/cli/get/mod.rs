//! `forwardcache get`: fetches URLs through the pool, or directly without a pool.
//!
//! | file | content |
//! |---|---|
//! | `mod` | the targets and the transport of the command line; the threads |
//! | `message` | the request that is sent for each URL |
//! | `target` | where the body of each URL goes |
//! | `part` | a partial download |
//! | `output` | writes a body to its target |
//! | `retry` | whether a failed attempt is repeated, and when |
//! | `report` | the result for a URL |
//! | `transfer` | the attempts for one URL |

mod message;
mod output;
mod part;
mod report;
mod retry;
mod target;
mod transfer;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use forwardcache::client::OnNoPeers;
use forwardcache::origin::CanonicalUrl;
use forwardcache::{Client, Error, RoundTrip};
use parking_lot::Mutex;

use super::arguments::Get;
use super::failure::{Failure, print};
use super::local::Local;
use super::manifest::Frozen;
use super::pool::{self, MAX_REDIRECTS};
use super::progress::Bars;
use message::Template;
use output::Files;
use report::{Report, worse};
use retry::Retry;
use target::{Target, Wanted, targets};
use transfer::Transfer;

pub(crate) fn run(arguments: &Get) -> Result<ExitCode, Failure> {
    // Nothing is sent unless the whole command line is valid.
    let template = Template::of(arguments)?;
    let parse = |url: &String| CanonicalUrl::parse(url).map_err(|error| Error::from(error).into());
    let urls = arguments.urls.iter().map(parse).collect::<Result<Vec<_>, Failure>>()?;
    let targets = targets_of(arguments, &urls)?;
    let (transport, client) = transport(arguments)?;
    let output = &arguments.output;
    let is_printed = targets.contains(&Target::Stdout) && io::stdout().is_terminal();
    let transfer = Transfer {
        template,
        transport: &transport,
        bars: Bars::new(output.silent || is_printed),
        retry: Retry { most: arguments.effort.retry, delay: arguments.effort.retry_delay },
        max_time: arguments.effort.max_time,
        includes_head: output.include || arguments.message.head,
        includes_errors: output.include_errors,
        drops_errors: output.fail,
        // A name from a URL never leads out of the working directory.
        files: Files { continues: output.continue_at.is_some(), follows_links: !output.remote_name },
    };
    let code = fetch_all(arguments, &transfer, &urls, &targets)?;
    let direct = client.map_or(0, |client| client.counts().direct_fetches);
    if code != 1 && direct > 0 && !is_silent(arguments) {
        let what = if urls.len() == 1 { "the URL".to_owned() } else { format!("{direct} URLs") };
        eprintln!("forwardcache: no peer is available: fetched {what} directly from the origin");
    }
    Ok(ExitCode::from(code))
}

fn targets_of(arguments: &Get, urls: &[CanonicalUrl]) -> Result<Vec<Target>, Failure> {
    let output = &arguments.output;
    let wanted = Wanted { files: &output.output, is_remote_name: output.remote_name, is_json: output.json };
    let targets = targets(urls, wanted).map_err(Failure::Usage)?;
    let has_file = targets.iter().any(|target| matches!(target, Target::File(_)));
    if output.continue_at.is_some() && !has_file {
        return Err(Failure::Usage("-C requires a file: use -o FILE or -O".to_owned()));
    }
    let printed = targets.iter().filter(|target| **target == Target::Stdout).count();
    if arguments.effort.parallel > 1 && printed > 1 {
        let text = "--parallel cannot print several bodies at the same time: use -o, -O or --json";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(targets)
}

/// Fetches all URLs, and returns the exit code.
fn fetch_all(
    arguments: &Get,
    transfer: &Transfer<'_>,
    urls: &[CanonicalUrl],
    targets: &[Target],
) -> Result<u8, Failure> {
    let (next, code, closed) = (AtomicUsize::new(0), Mutex::new(0), Mutex::new(None));
    let work = || {
        while let Some((url, target)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            urls.get(index).zip(targets.get(index))
        } {
            let report = transfer.run(url, target);
            let mut code = code.lock();
            *code = worse(*code, report.code());
            let printed = show(arguments, transfer, &report);
            let stopped = report.failure.filter(|failure| matches!(failure, Failure::BrokenPipe));
            if let Some(failure) = stopped.or(printed.err()) {
                // Nobody reads what follows.
                next.store(urls.len(), Ordering::Relaxed);
                *closed.lock() = Some(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..urls.len().min(arguments.effort.parallel.into()) {
            scope.spawn(work);
        }
        work();
    });
    match closed.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(code.into_inner()),
    }
}

fn show(arguments: &Get, transfer: &Transfer<'_>, report: &Report) -> Result<(), Failure> {
    transfer.bars.suspend(|| {
        if let Some(message) = report.message().filter(|_| !is_silent(arguments)) {
            eprintln!("forwardcache: {message}");
        }
        if arguments.output.json { print(format_args!("{}\n", report.json())) } else { Ok(()) }
    })
}

fn is_silent(arguments: &Get) -> bool {
    arguments.output.silent && !arguments.output.show_error
}

/// Returns what sends the requests, and the client if there is a pool.
fn transport(arguments: &Get) -> Result<(Box<dyn RoundTrip>, Option<Client>), Failure> {
    let access = &arguments.request.access;
    let redirects = if arguments.message.location { MAX_REDIRECTS } else { 0 };
    if access.peer_list.is_empty() {
        if arguments.peers_only {
            let text = "--peers-only requires a list of peers: specify --peer, --peers-file or --peers-dns";
            return Err(Failure::Usage(text.to_owned()));
        }
        // The caching rules apply without a pool too.
        let local = Local::open(&arguments.local, pool::origin(access)?)?;
        if !arguments.message.location {
            return Ok((frozen(arguments, local)?, None));
        }
        // Without peers, the client sends each hop through the cache of this process.
        let client = Client::builder().transport(local).follow_redirects(redirects).build()?;
        return Ok((frozen(arguments, client)?, None));
    }
    let on_no_peers = if arguments.peers_only { OnNoPeers::Fail } else { OnNoPeers::FetchDirectly };
    let client = pool::client(Client::builder().follow_redirects(redirects), access, on_no_peers)?;
    Ok((frozen(arguments, client.clone())?, Some(client)))
}

/// Adds the check of `--frozen`.
fn frozen(arguments: &Get, inner: impl RoundTrip + 'static) -> Result<Box<dyn RoundTrip>, Failure> {
    Ok(match &arguments.local.frozen {
        Some(file) => Box::new(Frozen::read(file, inner)?),
        None => Box::new(inner),
    })
}
