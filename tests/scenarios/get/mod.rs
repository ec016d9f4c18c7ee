//! `get`: what it sends, where it writes, what it continues and repeats, and what it reports.
//!
//! | module | subject |
//! |---|---|
//! | `requests` | methods, content, credentials, header fields and cache modes |
//! | `files` | targets, and what replaces a file |
//! | `continuing` | `-C -` |
//! | `repeating` | `--retry` |
//! | `several` | several URLs, `--json`, `-s` and exit codes |

mod continuing;
mod files;
mod repeating;
mod requests;
mod several;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

use crate::support::process::{Process, command};

/// Starts the command in a folder.
fn start_in<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Process {
    let mut command = command(["get"]);
    command.args(arguments).current_dir(folder);
    Process::start(command).expect("the command was built with this test")
}

/// Runs the command in a folder until it exits.
fn get_in<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    Ran::of(start_in(folder, arguments))
}

/// Runs the command until it exits.
fn get<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    get_in(Path::new("."), arguments)
}

/// The output and the exit code of a run.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(mut process: Process) -> Self {
        let code = process.wait().code();
        Self { code, stdout: process.stdout(), stderr: process.stderr() }
    }

    fn of_output(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Returns the lines of `--json`.
    fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Checks that one line on standard error contains these words.
    fn expect_failure(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(
            self.stderr.starts_with("forwardcache: ") && self.stderr.contains(words),
            "{words}: {self:?}"
        );
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
    }

    /// Checks that the run succeeded and returns what it printed.
    fn printed(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }
}

/// Returns the names of all files of a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().expect("the name is text")).collect();
    names.sort();
    names
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
