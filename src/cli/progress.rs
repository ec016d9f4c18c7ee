//! Progress bars: of downloads, and of a list of URLs.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Progress bars on standard error, one for each download that is in progress.
pub(crate) struct Bars {
    bars: MultiProgress,
    is_hidden: bool,
}

impl Bars {
    /// Returns bars that are hidden on request, and unless standard error is a terminal.
    pub(crate) fn new(is_hidden: bool) -> Self {
        let is_hidden = is_hidden || !io::stderr().is_terminal();
        let target =
            if is_hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        Self { bars: MultiProgress::with_draw_target(target), is_hidden }
    }

    /// Adds a bar that shows how much of a body has arrived. It disappears when it is dropped.
    pub(crate) fn add(&self, name: &str, length: Option<u64>) -> ProgressBar {
        let bar = match length {
            Some(length) => ProgressBar::new(length).with_style(style(
                "{msg}{bytes:>10} of {total_bytes} [{bar:30}] {binary_bytes_per_sec:>12} {eta:>4} left",
            )),
            None => ProgressBar::no_length().with_style(style("{msg}{bytes:>10} {binary_bytes_per_sec:>12}")),
        };
        let bar = self.bars.add(bar.with_finish(ProgressFinish::AndClear).with_message(name.to_owned()));
        if !self.is_hidden {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }

    /// Prints while no bar is visible.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bars.suspend(print)
    }
}

/// Returns a bar that shows how many URLs are done. It is hidden unless standard error is a terminal.
pub(crate) fn urls(is_silent: bool) -> ProgressBar {
    let bar = ProgressBar::new(0).with_style(style("{pos:>7} of {len} URLs [{bar:30}] {eta:>4} left  {msg}"));
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
