//! A child, and the command of this crate as one.

#[cfg(feature = "cli")]
use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use super::PATIENCE;
use super::output::Output;

const STDOUT: usize = 0;
const STDERR: usize = 1;

/// The command of this crate with these arguments, and nothing of the environment that changes what
/// it does.
#[cfg(feature = "cli")]
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forwardcache"));
    command.args(arguments);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "rust_log"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Runs the command to its end.
///
/// # Panics
///
/// When it does not end within [`PATIENCE`].
#[cfg(feature = "cli")]
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> std::process::Output {
    let mut process = Process::spawn(arguments);
    let status = process.wait();
    let printed = |pipe| process.output.printed(pipe);
    std::process::Output { status, stdout: printed(STDOUT), stderr: printed(STDERR) }
}

/// A child. Dropping it kills it, if it still runs, and waits for its end.
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

    /// Starts any command, without input.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        Ok(Self { child, output: Output::of([Box::new(stdout), Box::new(stderr)]) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until a line with this text is printed on either stream, and returns the first one. A
    /// line printed before counts.
    ///
    /// # Panics
    ///
    /// When the child ends without it, or does not print it within [`PATIENCE`].
    pub(crate) fn wait_for_line(&self, needle: &str) -> String {
        self.line(needle).unwrap_or_else(|| {
            panic!("no line with {needle:?}; stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
        })
    }

    /// As [`wait_for_line`](Self::wait_for_line), with `None` for what panics there.
    pub(crate) fn line(&self, needle: &str) -> Option<String> {
        self.output.wait_for_line(needle)
    }

    /// What was printed on the standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.output.text(STDOUT)
    }

    /// What was printed on the standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.output.text(STDERR)
    }

    /// Ends the child at once, by `SIGKILL`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.wait();
    }

    /// Asks the child to end, by `SIGTERM`.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Panics
    ///
    /// When the child has ended and been waited for: its id may be another's by now.
    pub(crate) fn signal(&mut self, name: &str) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the child has ended: {ended:?}");
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("the command `kill` is there").success(), "cannot send {name} to {id}");
    }

    /// Blocks until the child has ended.
    ///
    /// # Panics
    ///
    /// When it does not end within [`PATIENCE`].
    pub(crate) fn wait(&mut self) -> ExitStatus {
        // The end of its streams is the sign of its end that can be waited for with a limit.
        let ended = self.output.wait_for_end();
        assert!(ended, "it runs on; stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it closed its streams and runs on");
            thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
