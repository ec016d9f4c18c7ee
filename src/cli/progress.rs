//! The bar of a long download.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Passes a body on and shows how much of it has come: on a terminal, and only where the body itself does
/// not go there too.
pub(crate) struct Shown<R> {
    inner: R,
    bar: ProgressBar,
}

impl<R: Read> Shown<R> {
    pub(crate) fn new(inner: R, length: Option<u64>, body_goes_to_terminal: bool) -> Self {
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
        Self { inner, bar }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl<R: Read> Read for Shown<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl<R> Drop for Shown<R> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
