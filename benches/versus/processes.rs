//! Children that end with whoever started them, and what they take of the machine.

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

/// How many files a process may have open, so that thousands of connections are no matter; where the
/// system allows less, all that it allows.
const OPEN_FILES: u64 = 65_536;

/// Ticks of `/proc/<id>/stat` in a second: what Linux shows to programs, whatever its own clock does.
const TICKS: f64 = 100.0;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// How many files this process may have open.
pub(crate) fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    if soft == "unlimited" { u64::MAX } else { soft.parse().unwrap_or(0) }
}

/// Goes on as the same program with a higher limit, if it is lower than `needed` and has not been raised
/// before. Without `unsafe` a process cannot raise its own; a shell can.
pub(crate) fn raise_open_files(needed: u64) -> Result<()> {
    const RAISED: &str = "FORWARDCACHE_VERSUS_RAISED";
    if open_files() >= needed || std::env::var_os(RAISED).is_some() {
        return Ok(());
    }
    let mut command = unlimited(&[]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(RAISED, "1");
    Err(command.exec().into())
}

/// A command that raises the limit of open files and becomes the program that its further arguments name.
fn unlimited(wrapper: &[&str]) -> Command {
    let script = format!(
        "ulimit -n {OPEN_FILES} 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec {} \"$@\"",
        wrapper.join(" ")
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]);
    command
}

/// A server that runs in the foreground, perhaps with children of its own. Dropping it ends all of them,
/// by their ids; the kernel ends it when this process is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to the file `log`. Must be called by the main thread: the
    /// child is ended with the thread that started it.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        Self::start_with(&["setpriv", "--pdeathsig", "TERM"], program, arguments, log)
    }

    /// As [`start`](Self::start), as another user, if there is a choice. That it ends with this process
    /// would be forgotten if it changed its user itself.
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

    /// The last of what it printed.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(2000);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// What it and its children take now.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for process in tree(self.child.id()) {
            usage.cpu_seconds += process.cpu_seconds;
            usage.resident += resident(process.id);
            usage.threads += status_number(process.id, "Threads:").unwrap_or(0);
        }
        usage
    }

    /// The resident memory of the process itself, with all that it shares with others.
    pub(crate) fn whole_resident(&self) -> u64 {
        status_number(self.child.id(), "VmRSS:").unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = tree(self.child.id());
        if !self.has_ended() {
            // The standard library can but kill, and then its children would live on.
            send("TERM", self.child.id());
        }
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in family {
            // An id may be another's by now; its start tells.
            if Stat::of(process.id).is_some_and(|now| now.started == process.started) {
                send("KILL", process.id);
            }
        }
    }
}

/// By a shell, which has `kill` built in; the command is not on every machine.
fn send(signal: &str, id: u32) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -\"$1\" \"$2\"", "sh", signal, &id.to_string()]);
    // It fails only when the process has ended by now.
    let _ = command.stderr(Stdio::null()).status();
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// In bytes. Of memory that processes share, each has its part: the sum counts nothing twice.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
}

/// What `/proc/<id>/stat` says.
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
        // The name before it is in parentheses, and may have any sign in it.
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

/// A process and all that come from it.
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
