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
//! | `throughput` | hits and misses in rounds |
//! | `idle`, `objects`, `start` | idle connections, stored objects, the command by itself |
//! | `figures`, `targets`, `report`, `plot` | what becomes of the figures |

mod arguments;
mod client;
mod figures;
mod idle;
mod interruption;
mod objects;
mod packages;
mod plot;
mod processes;
mod report;
mod servers;
mod start;
mod targets;
mod throughput;
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
            let outcome = throughput::measure(what, &arguments.chosen(&Kind::ALL), rounds, seconds)?;
            results.throughput.push(outcome);
        }
    }
    if arguments.has(Scenario::Idle) && !idle::is_possible() {
        eprintln!("idle is left out: it needs {} open files, more than this system allows", idle::OPEN_FILES);
    } else if arguments.has(Scenario::Idle) {
        let kinds = arguments.chosen(&[Kind::Forwardcache, Kind::Nginx]);
        results.idle = Some(idle::measure(&kinds, rounds, seconds)?);
    }
    if arguments.has(Scenario::Objects) {
        results.objects = objects::measure(&arguments.chosen(&objects::KINDS))?;
    }
    if arguments.has(Scenario::Start) && arguments.chosen(&Kind::ALL).contains(&Kind::Forwardcache) {
        results.start = Some(start::measure()?);
    }
    Ok(results)
}
