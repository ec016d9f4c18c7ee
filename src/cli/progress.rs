//! The bar of a long download.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Shows how much of a body has come: on a terminal, and only where the body itself does not go there too.
pub(crate) fn bar(length: Option<u64>, body_goes_to_terminal: bool) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length).with_style(style(
            "{bytes:>10} of {total_bytes} [{bar:30}] {binary_bytes_per_sec:>12} {eta:>4} left",
        )),
        None => ProgressBar::no_length().with_style(style("{bytes:>10} {binary_bytes_per_sec:>12}")),
    };
    if body_goes_to_terminal || !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    } else {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar.with_finish(ProgressFinish::AndClear)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
