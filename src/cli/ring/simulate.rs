//! The model on the command line.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::arguments::Simulation;
use super::super::failure::Failure;
use super::model::Model;
use super::{plot, table};

pub(super) fn run(arguments: &Simulation) -> Result<ExitCode, Failure> {
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
    if let Some(path) = &arguments.svg {
        fs::write(path, plot::svg(&model, &counted))
            .map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))?;
    }
    io::stdout()
        .lock()
        .write_all(table::text(&model, &counted).as_bytes())
        .map_err(|error| Failure::io("cannot write", &error))?;
    Ok(ExitCode::SUCCESS)
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
