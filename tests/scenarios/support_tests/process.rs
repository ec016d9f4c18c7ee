//! Child processes: their output and how they end.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::support::process::Process;

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::start(command).unwrap()
}

#[test]
fn line_is_found_on_either_stream() {
    let mut process = shell("echo one; echo serving on port 7 >&2; exit 3");
    assert_eq!(process.wait_for_line("on port"), "serving on port 7");
    assert_eq!(process.wait_for_line("one"), "one");
    assert_eq!(process.wait().code(), Some(3));
    assert_eq!((process.stdout(), process.stderr()), ("one\n".into(), "serving on port 7\n".into()));
}

#[test]
fn waiting_for_a_missing_line_fails_when_the_child_exits() {
    let process = shell("echo one");
    let message = catch_unwind(AssertUnwindSafe(|| process.wait_for_line("two"))).unwrap_err();
    let message = message.downcast_ref::<String>().unwrap().clone();
    assert!(message.contains("no line contains \"two\"") && message.contains("one"), "{message}");
}

#[test]
fn terminated_child_exits_by_sigterm() {
    let mut process = shell("echo ready; exec tail -f /dev/null");
    process.wait_for_line("ready");
    process.terminate();
    assert_eq!(process.wait().signal(), Some(15));
}

#[test]
fn signal_is_sent_by_name() {
    let mut process = shell("echo ready; exec tail -f /dev/null");
    process.wait_for_line("ready");
    process.signal("INT");
    assert_eq!(process.wait().signal(), Some(2));
}

#[test]
fn dropped_child_is_killed() {
    let process = shell("echo ready; exec tail -f /dev/null");
    process.wait_for_line("ready");
    let id = process.id().to_string();
    drop(process);
    let probe = Command::new("kill").args(["-0", &id]).output().unwrap();
    assert!(!probe.status.success());
}

#[cfg(feature = "cli")]
#[test]
fn command_of_this_crate_runs() {
    let output = crate::support::process::run(["--version"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
