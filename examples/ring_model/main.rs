//! Tries both rings on a model of a large pool: how even keys and requests are, and what a peer more or less moves.
//!
//! ```sh
//! cargo run --release --features cli --example ring_model -- --svg ring.svg
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `model` | keys, requests and changes, counted for either ring; pure |
//! | `load` | requests under way, and who takes the next one; pure |
//! | `zipf` | which key is asked for next; pure |
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

/// Try both rings on a model of a large pool
#[derive(Debug, Parser)]
struct Arguments {
    /// How many peers
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    peers: u32,

    /// How many keys
    #[arg(long, value_name = "N", default_value = "10000000", value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    keys: u64,

    /// How many requests for them
    #[arg(long, value_name = "N", default_value = "10000000")]
    requests: u64,

    /// How much more popular some keys are: the n-th has one over n to this of the requests, from 0 to 4
    #[arg(long, value_name = "EXPONENT", default_value = "1.0", value_parser = exponent)]
    zipf: f64,

    /// Other requests for another number
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,

    /// Write a plot of it to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=4.0).contains(&exponent) => Ok(exponent),
        _ => Err("it is a number from 0 to 4".to_owned()),
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

/// On a terminal alone.
fn bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{human_pos:>12} of {human_len} [{bar:30}] {eta:>4} left");
    let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}
