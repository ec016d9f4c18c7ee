//! Child processes that end with this one, and their resource usage.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// The limit of open files for the servers, high enough for thousands of connections. If the system allows less, the
/// hard limit is used.
const OPEN_FILES: u64 = 65_536;

/// The ticks per second in `/proc/<id>/stat`, which Linux fixes for user space.
const TICKS: f64 = 100.0;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Returns the limit of open files of this process.
pub(crate) fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    if soft == "unlimited" { u64::MAX } else { soft.parse().unwrap_or(0) }
}

/// Re-executes this program with a higher limit of open files if the limit is below `needed`. A process cannot raise
/// its own limit without `unsafe`, but a shell can.
pub(crate) fn raise_open_files(needed: u64) -> Result<()> {
    const RAISED: &str = "FORWARDCACHE_VERSUS_RAISED";
    if open_files() >= needed || std::env::var_os(RAISED).is_some() {
        return Ok(());
    }
    let mut command = unlimited(&[]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(RAISED, "1");
    Err(command.exec().into())
}

/// A command that raises the limit of open files and then executes the program given by its further arguments.
fn unlimited(wrapper: &[&str]) -> Command {
    let script = format!(
        "ulimit -n {OPEN_FILES} 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec {} \"$@\"",
        wrapper.join(" ")
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]);
    command
}

/// A server in the foreground, possibly with child processes. Dropping it ends all of them; the kernel ends it when
/// this process is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output goes to the file `log`. Must be called on the main thread, because the child
    /// ends with the thread that started it.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        Self::start_with(&["setpriv", "--pdeathsig", "TERM"], program, arguments, log)
    }

    /// Like [`start`](Self::start), as another user if this process is root. A program that changes its user itself
    /// would lose the setting that ends it with this process.
    pub(crate) fn start_as<A: AsRef<OsStr>>(
        user: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        if !is_root() {
            return Self::start(program, arguments, log);
        }
        let wrapper = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "TERM"];
        Self::start_with(&wrapper, program, arguments, log)
    }

    fn start_with<A: AsRef<OsStr>>(
        wrapper: &[&str],
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log)?;
        let mut command = unlimited(wrapper);
        command.arg(program).args(arguments);
        command.env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { child: command.spawn()?, log: log.to_owned() })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns the end of the output.
    pub(crate) fn output_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(2000);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// Returns the current usage of the process and its children.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for process in tree(self.child.id()) {
            usage.cpu_seconds += process.cpu_seconds;
            usage.resident += resident(process.id);
            usage.threads += status_number(process.id, "Threads:").unwrap_or(0);
        }
        usage
    }

    /// Returns the resident memory of the process itself, including shared memory.
    pub(crate) fn own_resident(&self) -> u64 {
        status_number(self.child.id(), "VmRSS:").unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = tree(self.child.id());
        if !self.has_ended() {
            // `Child::kill` sends SIGKILL, after which the children of the server would continue to run.
            send("TERM", self.child.id());
        }
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in family {
            // The id may have been reused; the start time identifies the process.
            if Stat::of(process.id).is_some_and(|now| now.started == process.started) {
                send("KILL", process.id);
            }
        }
    }
}

/// Sends a signal with the shell's built-in `kill`, since the command is not installed everywhere.
fn send(signal: &str, id: u32) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -\"$1\" \"$2\"", "sh", signal, &id.to_string()]);
    // It fails only if the process has already ended.
    let _ = command.stderr(Stdio::null()).status();
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// In bytes. Shared memory is divided among the processes that share it.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
}

/// The contents of `/proc/<id>/stat`.
#[derive(Clone, Copy, Debug)]
struct Stat {
    id: u32,
    parent: u32,
    cpu_seconds: f64,
    started: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The fields start after the program name, which is in parentheses and may contain any character.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(Self {
            id,
            parent: fields.get(1)?.parse().ok()?,
            cpu_seconds: ticks / TICKS,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Returns a process and all its descendants.
fn tree(root: u32) -> Vec<Stat> {
    let mut all: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for process in ids.filter_map(Stat::of) {
        all.entry(process.parent).or_default().push(process);
    }
    let mut found: Vec<Stat> = Stat::of(root).into_iter().collect();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(all.remove(&process.id).into_iter().flatten());
        next += 1;
    }
    found
}

fn resident(id: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let proportional = number_after(&rollup, "Pss:");
    proportional.or_else(|| status_number(id, "VmRSS:")).unwrap_or(0) * 1024
}

fn status_number(id: u32, name: &str) -> Option<u64> {
    number_after(&fs::read_to_string(format!("/proc/{id}/status")).ok()?, name)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
