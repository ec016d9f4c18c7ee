//! [`AccessLogFile`]: an access log in a file.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::line::{self, AccessLogFormat, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::server::{AccessLog, AccessRecord};

/// The maximum size of lines that wait to be written, in bytes. Further lines are dropped.
const MAX_WAITING: usize = 4 << 20;

/// The maximum number of buffers of waiting lines.
const MAX_BUFFERS: usize = 16;

/// The size of the waiting lines of a buffer at which the thread writes at once, in bytes.
const WRITE_AT: usize = 64 << 10;

/// The longest time that a line waits.
const MAX_DELAY: Duration = Duration::from_millis(500);

/// An access log in a file: one line for each request.
///
/// A thread writes the lines, at most half a second later; within that time, lines of different I/O threads may be in
/// another order than their requests ended. If the thread cannot keep up, lines are dropped, and the log of the program
/// states how many. Dropping the last clone writes the waiting lines.
///
/// ```
/// use forwardcache::peer::{AccessLogFile, AccessLogFormat};
/// use forwardcache::server::ServerConfig;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("access.log");
/// let log = AccessLogFile::open(path, AccessLogFormat::Text)?;
/// let config = ServerConfig::new().access_log(log.clone());
/// log.reopen()?;    // after the file was renamed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AccessLogFile {
    shared: Arc<Shared>,
    _writer: Arc<Writer>,
}

#[derive(Debug)]
struct Shared {
    path: Option<PathBuf>,
    format: AccessLogFormat,
    /// Waiting lines. Each thread that logs adds to one of them, so threads seldom wait for each other.
    buffers: Box<[Buffer]>,
    dropped: AtomicU64,
    state: Mutex<State>,
    is_due: Condvar,
    is_written: Condvar,
}

/// Lines of some threads. Buffers share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer(Mutex<Vec<u8>>);

#[derive(Debug, Default)]
struct State {
    /// Whether there is a reason to write before [`MAX_DELAY`].
    is_due: bool,
    is_closed: bool,
    /// The file to write to from now on, and earlier lines, which belong to the previous file.
    reopened: Option<(File, Vec<u8>)>,
    /// How often the thread was asked to write, and how many of these requests are complete.
    asked: u64,
    done: u64,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of this thread among those that log, and the time of its last line.
    static THREAD: RefCell<(usize, Timestamp)> =
        RefCell::new((THREADS.fetch_add(1, Ordering::Relaxed), Timestamp::default()));
}

/// The thread that writes; it ends when this is dropped.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLogFile {
    /// Opens a file, to which lines are appended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the file cannot be opened.
    pub fn open(path: impl AsRef<Path>, format: AccessLogFormat) -> Result<Self> {
        let path = path.as_ref();
        let file = append_to(path)?;
        Self::start(Some(path.to_owned()), Box::new(file), format)
    }

    /// Writes to standard output.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the thread that writes cannot be started.
    pub fn stdout(format: AccessLogFormat) -> Result<Self> {
        Self::start(None, Box::new(io::stdout()), format)
    }

    fn start(path: Option<PathBuf>, output: Box<dyn Write + Send>, format: AccessLogFormat) -> Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_BUFFERS);
        let shared = Arc::new(Shared {
            path,
            format,
            buffers: (0..count).map(|_| Buffer::default()).collect(),
            dropped: AtomicU64::new(0),
            state: Mutex::default(),
            is_due: Condvar::new(),
            is_written: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.write_lines(output))
            .map_err(|error| {
                Error::new(ErrorKind::BadOption, "cannot start the thread of the access log")
                    .with_source(error)
            })?;
        let writer = Writer { shared: Arc::clone(&shared), thread: Mutex::new(Some(thread)) };
        Ok(Self { shared, _writer: Arc::new(writer) })
    }

    /// Opens the file again, so that another program may rename it. Standard output is not reopened.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the file cannot be opened. The log then continues in the previous file.
    pub fn reopen(&self) -> Result<()> {
        if let Some(path) = &self.shared.path {
            let file = append_to(path)?;
            let mut state = self.shared.state.lock();
            let mut earlier = state.reopened.take().map(|(_, earlier)| earlier).unwrap_or_default();
            for buffer in &self.shared.buffers {
                earlier.append(&mut buffer.0.lock());
            }
            state.reopened = Some((file, earlier));
            self.shared.write_now(&mut state);
        }
        Ok(())
    }

    /// Waits until all lines are written, but no longer than this time. Returns whether they are.
    pub fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut state = self.shared.state.lock();
        state.asked += 1;
        let asked = state.asked;
        self.shared.write_now(&mut state);
        while state.done < asked {
            if self.shared.is_written.wait_until(&mut state, until).timed_out() {
                return state.done >= asked;
            }
        }
        true
    }
}

impl AccessLog for AccessLogFile {
    fn log(&self, record: &AccessRecord<'_>) {
        THREAD.with_borrow_mut(|(thread, timestamp)| {
            timestamp.update(SystemTime::now());
            self.shared.add(*thread, record, timestamp);
        });
    }
}

impl Shared {
    fn add(&self, thread: usize, record: &AccessRecord<'_>, timestamp: &Timestamp) {
        let mut lines = self.buffers[thread % self.buffers.len()].0.lock();
        let before = lines.len();
        if before >= MAX_WAITING / self.buffers.len() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line::write(self.format, record, timestamp, &mut lines);
        let is_due = before < WRITE_AT && lines.len() >= WRITE_AT;
        drop(lines);
        if is_due {
            self.write_now(&mut self.state.lock());
        }
    }

    fn write_now(&self, state: &mut State) {
        state.is_due = true;
        self.is_due.notify_one();
    }

    /// Writes lines until the log is closed.
    fn write_lines(&self, mut output: Box<dyn Write + Send>) {
        let (mut lines, mut has_failed) = (Vec::new(), false);
        loop {
            let mut state = self.state.lock();
            if !state.is_due && !state.is_closed {
                self.is_due.wait_for(&mut state, MAX_DELAY);
            }
            state.is_due = false;
            let (asked, reopened, is_closed) = (state.asked, state.reopened.take(), state.is_closed);
            drop(state);
            let mut result = Ok(());
            if let Some((file, earlier)) = reopened {
                result = output.write_all(&earlier).and_then(|()| output.flush());
                output = Box::new(file);
            }
            for buffer in &self.buffers {
                std::mem::swap(&mut lines, &mut buffer.0.lock());
                result = result.and(output.write_all(&lines));
                lines.clear();
            }
            result = result.and(output.flush());
            // One message is enough until a write succeeds again.
            if let Some(error) = result.as_ref().err().filter(|_| !has_failed) {
                log::error!("cannot write the access log: {error}");
            }
            has_failed = result.is_err();
            self.state.lock().done = asked;
            self.is_written.notify_all();
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::warn!("{dropped} lines of the access log were dropped: its file is too slow");
            }
            if is_closed {
                return;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.is_due.notify_one();
        if let Some(thread) = self.thread.get_mut().take() {
            // A panic of that thread is already reported.
            let _ = thread.join();
        }
    }
}

fn append_to(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        let text = format!("cannot open the access log {}", path.display());
        Error::new(ErrorKind::BadOption, text).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn record(target: &str) -> AccessRecord<'_> {
        AccessRecord {
            remote: "127.0.0.1:4000".parse().unwrap(),
            method: None,
            target,
            status: 200,
            bytes: 0,
            is_complete: true,
            outcome: None,
            duration: Duration::ZERO,
        }
    }

    #[test]
    fn lines_are_in_the_file_after_the_last_clone_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "earlier\n").unwrap();
        let log = AccessLogFile::open(&path, AccessLogFormat::Text).unwrap();
        let clone = log.clone();
        (0..3000).for_each(|number| clone.log(&record(&format!("/{number}"))));
        drop((log, clone));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().next(), text.lines().count()), (Some("earlier"), 3001));
        assert!(text.lines().last().unwrap().contains(" /2999 "), "{text}");
    }

    #[test]
    fn after_a_rename_lines_go_to_a_new_file_once_it_is_reopened() {
        let folder = tempfile::tempdir().unwrap();
        let (path, renamed) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = AccessLogFile::open(&path, AccessLogFormat::Json).unwrap();
        log.log(&record("/before"));
        fs::rename(&path, &renamed).unwrap();
        log.reopen().unwrap();
        while log.shared.state.lock().reopened.is_some() {
            thread::yield_now();
        }
        log.log(&record("/after"));
        drop(log);
        let read = |path| fs::read_to_string(path).unwrap();
        assert!(read(&renamed).contains("/before") && read(&path).contains("/after"));
        assert!(!read(&path).contains("/before"));
    }

    #[test]
    fn file_that_cannot_be_opened_is_an_error_that_names_it() {
        let error = AccessLogFile::open("/does/not/exist/access.log", AccessLogFormat::Text).unwrap_err();
        assert_eq!(error.message(), "cannot open the access log /does/not/exist/access.log");
    }

    #[test]
    fn lines_of_several_threads_are_all_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLogFile::open(&path, AccessLogFormat::Text).unwrap();
        thread::scope(|scope| {
            for number in 0..MAX_BUFFERS + 3 {
                let log = &log;
                scope.spawn(move || (0..500).for_each(|at| log.log(&record(&format!("/{number}/{at}")))));
            }
        });
        assert!(log.flush(Duration::from_secs(60)));
        let text = fs::read_to_string(&path).unwrap();
        for number in 0..MAX_BUFFERS + 3 {
            let begin = format!(" /{number}/");
            let of_thread = text.lines().filter_map(|line| line.split_once(&begin)?.1.split(' ').next());
            let expected: Vec<String> = (0..500).map(|at| at.to_string()).collect();
            assert_eq!(of_thread.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn lines_are_dropped_when_too_many_wait() {
        let (output, blocked) = io::pipe().unwrap();
        let log = AccessLogFile::start(None, Box::new(blocked), AccessLogFormat::Text).unwrap();
        let long = "/".repeat(4096);
        let most = MAX_WAITING / long.len() * 2;
        (0..most).for_each(|_| log.log(&record(&long)));
        assert!(log.shared.dropped.load(Ordering::Relaxed) > 0);
        // The thread cannot write before its reader is gone.
        drop(output);
        drop(log);
    }
}
