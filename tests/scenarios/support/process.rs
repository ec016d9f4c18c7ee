//! Child processes, including the command of this crate.

#[cfg(feature = "cli")]
use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use super::TEST_TIMEOUT;
use super::output::Output;

const STDOUT: usize = 0;
const STDERR: usize = 1;

/// Returns the command of this crate with these arguments, without the environment variables that change its
/// behaviour. It keeps nothing between runs unless a test specifies a directory.
#[cfg(feature = "cli")]
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwardcache"));
    command.args(arguments);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "rust_log", "home", "xdg_cache_home"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Runs the command of this crate until it exits.
///
/// # Panics
///
/// If it does not exit within [`TEST_TIMEOUT`].
#[cfg(feature = "cli")]
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> std::process::Output {
    let mut process = Process::spawn(arguments);
    let status = process.wait();
    let printed = |pipe| process.output.printed(pipe);
    std::process::Output { status, stdout: printed(STDOUT), stderr: printed(STDERR) }
}

/// A child process. Dropping it kills it, if it is still running, and waits for it.
pub(crate) struct Process {
    child: Child,
    output: Output<2>,
}

impl Process {
    /// Starts the command of this crate with these arguments.
    #[cfg(feature = "cli")]
    pub(crate) fn spawn<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let command = command(arguments);
        Self::start(command).expect("the command was built with this test")
    }

    /// Starts any command, with no standard input.
    pub(crate) fn start(command: Command) -> io::Result<Self> {
        Self::start_with(command, Stdio::null())
    }

    /// Like [`start`](Self::start), with this standard input.
    pub(crate) fn start_with(mut command: Command, stdin: impl Into<Stdio>) -> io::Result<Self> {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        Ok(Self { child, output: Output::of([Box::new(stdout), Box::new(stderr)]) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until a line that contains `needle` is printed to either stream, and returns the first such line. Lines
    /// that were printed before the call count too.
    ///
    /// # Panics
    ///
    /// If the child exits without printing such a line, or does not print it within [`TEST_TIMEOUT`].
    pub(crate) fn wait_for_line(&self, needle: &str) -> String {
        self.line(needle).unwrap_or_else(|| {
            panic!("no line contains {needle:?}; stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
        })
    }

    /// Like [`wait_for_line`](Self::wait_for_line), but returns `None` instead of panicking.
    pub(crate) fn line(&self, needle: &str) -> Option<String> {
        self.output.wait_for_line(needle)
    }

    /// Returns the standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.output.text(STDOUT)
    }

    /// Returns the standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.output.text(STDERR)
    }

    /// Kills the child with `SIGKILL` and waits for it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.wait();
    }

    /// Sends `SIGTERM` to the child.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// Returns whether the child is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal, named without `SIG`.
    ///
    /// # Panics
    ///
    /// If the child has already exited: its process id may have been reused.
    pub(crate) fn signal(&mut self, name: &str) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the child has already exited: {ended:?}");
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("the command `kill` exists").success(), "cannot send {name} to {id}");
    }

    /// Blocks until the child has exited.
    ///
    /// # Panics
    ///
    /// If it does not exit within [`TEST_TIMEOUT`].
    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Waiting for the end of its output is the only wait that can have a timeout.
        let ended = self.output.wait_for_end();
        assert!(ended, "the child is still running; stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(started.elapsed() < TEST_TIMEOUT, "the child closed its output and is still running");
            thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // These fail only if the child has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
