//! Runs a program, and a pool of three behind a gateway.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::processes::PeerProcess;
use crate::support::origin::Origin;
use crate::support::process::Process;

/// The longest time that a program may take, in seconds. None takes nearly as long.
const TIME_LIMIT: &str = "120";

/// Returns a command with no settings of the user, and a time limit.
pub(super) fn program(name: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(TIME_LIMIT).arg(name).env("HOME", home).env("LC_ALL", "C").current_dir(home);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Runs a command, and returns what it prints.
///
/// # Panics
///
/// If the command fails or is not installed: no scenario is skipped.
pub(super) fn output(command: &mut Command) -> String {
    let output = command.output().expect("timeout is a part of coreutils");
    assert_ne!(output.status.code(), Some(127), "a program is not installed, see tests/run: {command:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A gateway in front of a pool.
pub(super) struct Gateway {
    _process: Process,
    /// Its URL, without a `/` at the end.
    pub(super) url: String,
}

impl Gateway {
    pub(super) fn start(peers: &[String], options: &[&str]) -> Self {
        let peers = peers.iter().flat_map(|peer| ["--peer", peer]);
        let arguments = ["gateway", "--listen", "127.0.0.1:0"].into_iter().chain(peers);
        let process = Process::spawn(arguments.chain(options.iter().copied()));
        let line = process.wait_for_line("gateway to ");
        let url = line.rsplit(' ').next().expect("the line ends with the URL").to_owned();
        Self { _process: process, url }
    }
}

/// Runs a program five times in folders of its own, through a gateway with these options to a pool of three. `run` gets
/// the folder and the URL of the gateway.
pub(super) fn check_through_pool(origin: Origin, options: &[&str], run: impl Fn(&Path, &str)) {
    let mut pool = PeerProcess::pool(3);
    let gateway = Gateway::start(&PeerProcess::urls(&pool), options);
    let run = || {
        let folder = TempDir::new().expect("a folder can be made");
        run(folder.path(), &gateway.url);
    };
    run();
    let first = origin.count();
    assert!(first > 0, "the first run does not reach the origin");
    run();
    assert_eq!(origin.count(), first, "the second run reaches the origin: {:?}", origin.seen());
    pool[1].process.kill();
    run();
    let with_two = origin.count();
    run();
    assert_eq!(origin.count(), with_two, "a run after a failure reaches the origin: {:?}", origin.seen());
    drop(origin);
    run();
}
