//! forwardcache against nginx, Varnish and Squid, all as caches before the same origin on loopback:
//! `cargo bench --features cli --bench versus`, with options after `--`.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments` | what may be typed |
//! | `packages` | installs the rivals and wrk from Debian |
//! | `processes` | children that end with this process, and what they take |
//! | `interruption` | an end before the end |
//! | `servers` | how each server is started |
//! | `client`, `wrk` | who asks: for checks, and for figures |
//! | `throughput`, `mix` | hits and misses in rounds, also of a slow origin; hits beside misses |
//! | `tls` | a client that speaks TLS, and handshakes |
//! | `beside` | the times of hits beside those who make the server work |
//! | `idle` | idle connections and event streams |
//! | `objects`, `start` | stored objects, the command by itself |
//! | `figures`, `targets`, `report`, `plot` | what becomes of the figures |
//!
//! What is stored on disk has rows of its own, `disk-hits-1-kib`, `disk-hits-64-kib` and `disk-hits-1-mib`: any of many URLs,
//! ten times as much as memory holds, beside nginx with its cache in the same file system.
//!
//! What waits has rows of its own, each a `--scenario`:
//!
//! | scenario | what is measured | beside |
//! |---|---|---|
//! | `slow-misses` | misses of an origin that takes 200 ms for each, 256 connections | nginx, Varnish |
//! | `slow-tls-misses` | the same over TLS to the origin | nginx |
//! | `mixed-hits` | p99 of hits while each tenth request is a miss that takes 50 ms | nginx, Varnish |
//! | `tls-hits-1-kib`, `-64-kib`, `-1-mib` | hits over TLS | nginx |
//! | `full-handshakes`, `resumed-handshakes` | connections a second, each with a TLS handshake and a hit | nginx |
//! | `readers` | p50 of hits beside three fast readers of 60 MiB, of that without | nginx |
//! | `beside-handshakes` | p99 of hits over TLS beside 500 handshakes a second, of that without | nginx |
//! | `streams` | hits while 100 event streams are open, of those without | nginx |

mod arguments;
mod beside;
mod client;
mod figures;
mod idle;
mod interruption;
mod mix;
mod objects;
mod packages;
mod plot;
mod processes;
mod report;
mod servers;
mod start;
mod targets;
mod throughput;
mod tls;
mod wrk;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Scenario};
use report::Results;
use servers::Kind;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing is measured by a test: `cargo bench --features cli --bench versus`");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// That a target is not met is a result, and no failure.
fn run(arguments: &Arguments) -> Result<()> {
    processes::raise_open_files(idle::OPEN_FILES)?;
    packages::install()?;
    interruption::watch()?;
    let results = measure(arguments)?;
    let text = results.text(arguments);
    println!("{text}");
    if arguments.writes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus");
        fs::write(folder.join("results.md"), text)?;
        fs::write(folder.join("results.svg"), plot::svg(&results))?;
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<Results> {
    let (rounds, seconds) = (arguments.rounds, arguments.seconds);
    let mut results = Results::default();
    for what in throughput::ALL {
        if arguments.has(what.scenario) {
            let outcome = throughput::measure(what, &arguments.chosen(what.kinds), rounds, seconds)?;
            results.throughput.push(outcome);
        }
    }
    for what in beside::What::ALL {
        if arguments.has(what.scenario()) {
            let kinds = arguments.chosen(&[Kind::Forwardcache, Kind::Nginx]);
            results.beside.push(beside::measure(what, &kinds, rounds, seconds)?);
        }
    }
    for what in idle::What::ALL {
        if arguments.has(what.scenario()) && what.is_possible() {
            let kinds = arguments.chosen(&[Kind::Forwardcache, Kind::Nginx]);
            results.idle.push(idle::measure(what, &kinds, rounds, seconds)?);
        } else if arguments.has(what.scenario()) {
            eprintln!("{} are left out: they need more open files than this system allows", what.name());
        }
    }
    if arguments.has(Scenario::Objects) {
        results.objects = objects::measure(&arguments.chosen(&objects::KINDS))?;
    }
    if arguments.has(Scenario::Start) && arguments.chosen(&Kind::ALL).contains(&Kind::Forwardcache) {
        results.start = Some(start::measure()?);
    }
    Ok(results)
}
