//! Progress bars: of a download, and of a list of URLs.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Returns a bar that shows how much of the body has arrived. It is hidden unless standard error is a terminal, and
/// if the body itself is written to a terminal.
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

/// Returns a bar that shows how many URLs are done. It is hidden unless standard error is a terminal.
pub(crate) fn urls(is_silent: bool) -> ProgressBar {
    let bar = ProgressBar::new(0)
        .with_style(style("{pos:>7} of {len} URLs [{bar:30}] {per_sec:>12} {eta:>4} left  {msg}"));
    if is_silent || !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    } else {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
