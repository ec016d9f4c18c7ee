//! Compares forwardcache with nginx, Varnish and Squid as caches in front of the same origin on loopback:
//! `cargo bench --features cli --bench versus`, with options after `--`.
//!
//! | module | subject |
//! |---|---|
//! | `arguments` | command-line options |
//! | `packages` | installs the other servers and wrk from Debian |
//! | `processes` | child processes that end with this one, and their resource usage |
//! | `interruption` | signals |
//! | `servers` | starts each server |
//! | `client`, `wrk` | clients for checks and for the measured load |
//! | `throughput`, `mix` | hits and misses in rounds, slow origins, hits mixed with misses |
//! | `tls` | a TLS client, and the rate of handshakes |
//! | `beside` | hits while other clients keep the server busy |
//! | `forms` | hits in prefix and absolute form, with an access log, and through a gateway |
//! | `idle` | idle connections and event streams |
//! | `tunnels` | tunnels of CONNECT requests |
//! | `disk` | start over a store on disk, and the memory of its entries |
//! | `objects`, `start` | memory per stored object; size and start of the command |
//! | `figures`, `targets`, `report`, `plot` | evaluation and output |
//!
//! Scenarios with waiting requests, each selected with `--scenario`:
//!
//! | scenario | measurement | compared with |
//! |---|---|---|
//! | `slow-misses` | misses with an origin latency of 200 ms, 256 connections | nginx, Varnish |
//! | `slow-tls-misses` | the same with TLS to the origin | nginx |
//! | `mixed-hits` | p99 of hits while 10 % of the requests are misses that take 50 ms | nginx, Varnish |
//! | `tls-hits-1-kib`, `-64-kib`, `-1-mib` | hits over TLS | nginx |
//! | `full-handshakes`, `resumed-handshakes` | connections per second, each with a TLS handshake and a hit | nginx |
//! | `readers` | p50 of hits with three fast readers of 60 MiB, relative to hits without | nginx |
//! | `beside-handshakes` | p99 of hits over TLS with 500 handshakes per second, relative to hits without | nginx |
//! | `forms` | hits in prefix and absolute form and with an access log, relative to `/proxy?q=`; hits through a gateway | nginx as a proxy without a cache |
//! | `tunnels` | tunnels opened per second, and 1 GiB through one tunnel | Squid, a direct connection |
//! | `disk-hits-1-kib`, `-64-kib`, `-1-mib`, `-100-mib` | hits from disk, ten times what memory holds | nginx |
//! | `hits-above-disk` | hits that memory holds, of a server with a store on disk | nginx |
//! | `disk-inserts` | misses that are stored on the disk | nginx |
//! | `disk-entries` | start over 100,000 entries on disk; memory of each further entry | - |
//! | `streams` | hits with 100 open event streams, relative to hits without | nginx |

mod arguments;
mod beside;
mod client;
mod disk;
mod figures;
mod forms;
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
mod tunnels;
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
        println!("a test run measures nothing; run `cargo bench --features cli --bench versus`");
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

/// Runs the benchmark. A missed target is a result and not an error.
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
    for case in throughput::ALL {
        if arguments.has(case.scenario) {
            let outcome = throughput::measure(case, &arguments.chosen(case.kinds), rounds, seconds)?;
            results.throughput.push(outcome);
        }
    }
    for case in beside::Disturbance::ALL {
        if arguments.has(case.scenario()) {
            let kinds = arguments.chosen(&[Kind::Forwardcache, Kind::Nginx]);
            results.beside.push(beside::measure(case, &kinds, rounds, seconds)?);
        }
    }
    for case in idle::HeldOpen::ALL {
        if arguments.has(case.scenario()) && case.is_possible() {
            let kinds = arguments.chosen(&[Kind::Forwardcache, Kind::Nginx]);
            results.idle.push(idle::measure(case, &kinds, rounds, seconds)?);
        } else if arguments.has(case.scenario()) {
            eprintln!("skipping {}: the limit of open files is too low", case.name());
        }
    }
    if arguments.has(Scenario::Forms) && arguments.chosen(&Kind::ALL).contains(&Kind::Forwardcache) {
        results.forms = Some(forms::measure(rounds, seconds)?);
    }
    if arguments.has(Scenario::Tunnels) {
        results.tunnels = tunnels::measure(&arguments.chosen(&tunnels::KINDS), rounds, seconds)?;
    }
    if arguments.has(Scenario::Objects) {
        results.objects = objects::measure(&arguments.chosen(&objects::KINDS))?;
    }
    if arguments.has(Scenario::DiskEntries) && arguments.chosen(&Kind::ALL).contains(&Kind::Forwardcache) {
        results.disk = Some(disk::measure(arguments.entries)?);
    }
    if arguments.has(Scenario::Start) && arguments.chosen(&Kind::ALL).contains(&Kind::Forwardcache) {
        results.start = Some(start::measure()?);
    }
    Ok(results)
}
