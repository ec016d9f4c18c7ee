//! A real browser: Chromium without a window.

use std::process::Command;

use super::process::Process;

/// Opens a page in Chromium, with these options. Returns the document after it is rendered, and the messages of the console.
pub(crate) fn browse(url: &str, options: &[&str]) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--enable-logging=stderr", "--window-size=390,844", "--dump-dom"]);
    command.args(options).arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
    let mut browser = Process::start(command).expect("chromium is installed: tests/run installs it");
    assert!(browser.wait().success(), "{}", browser.stderr());
    let console =
        browser.stderr().lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (browser.stdout(), console)
}
