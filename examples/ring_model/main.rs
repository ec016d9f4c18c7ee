//! Models a large pool with both rings: the balance of keys and requests, and the keys moved by a membership change.
//!
//! ```sh
//! cargo run --release --features cli --example ring_model -- --svg ring.svg
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `model` | keys, requests and changes, counted for each ring |
//! | `load` | requests in flight, and the peer that serves the next one |
//! | `zipf` | the distribution of requested keys |
//! | `table` | the counts as text |
//! | `plot` | the counts as SVG |

mod load;
mod model;
mod plot;
mod table;
mod zipf;

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::Model;

/// Model a large pool with both rings
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of peers
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    peers: u32,

    /// Number of keys
    #[arg(long, value_name = "N", default_value = "10000000", value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    keys: u64,

    /// Number of requests
    #[arg(long, value_name = "N", default_value = "10000000")]
    requests: u64,

    /// Exponent of the Zipf distribution of requests, from 0 to 4
    #[arg(long, value_name = "EXPONENT", default_value = "1.0", value_parser = exponent)]
    zipf: f64,

    /// Seed of the random requests
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,

    /// Write a plot to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=4.0).contains(&exponent) => Ok(exponent),
        _ => Err("must be a number from 0 to 4".to_owned()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let model = Model {
        peers: arguments.peers,
        keys: arguments.keys,
        requests: arguments.requests,
        exponent: arguments.zipf,
        seed: arguments.seed,
    };
    let bar = bar(model.steps());
    let counted = model.run(|steps| bar.inc(steps));
    bar.finish_and_clear();
    if let Some(path) = arguments.svg {
        fs::write(path, plot::svg(&model, &counted))?;
    }
    print!("{}", table::text(&model, &counted));
    Ok(())
}

/// A progress bar, shown only on a terminal.
fn bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{human_pos:>12} of {human_len} [{bar:30}] {eta:>4} left");
    let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}
