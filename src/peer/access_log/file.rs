//! [`AccessLogFile`]: an access log in a file.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::line::{self, AccessLogFormat, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::server::{AccessLog, AccessRecord};

/// The maximum size of lines that wait to be written, in bytes. Further lines are dropped.
const MAX_WAITING: usize = 4 << 20;

/// The size of waiting lines at which the thread writes at once, in bytes.
const WRITE_AT: usize = 64 << 10;

/// The longest time that a line waits.
const MAX_DELAY: Duration = Duration::from_millis(500);

/// An access log in a file: one line for each request.
///
/// A thread writes the lines, at most half a second later. If it cannot keep up, lines are dropped, and the log of the
/// program states how many. Dropping the last clone writes the waiting lines.
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
    waiting: Mutex<Waiting>,
    is_due: Condvar,
    is_written: Condvar,
}

thread_local! {
    /// The time of the last line that this thread logged, and buffers for the URL and the text of the next one.
    static LINE: RefCell<(Timestamp, Vec<u8>, String)> = RefCell::default();
}

#[derive(Debug, Default)]
struct Waiting {
    lines: String,
    dropped: u64,
    /// The file to write to from now on, and earlier lines, which belong to the previous file.
    reopened: Option<(File, String)>,
    /// Whether the thread is writing lines that it has taken.
    is_writing: bool,
    is_closed: bool,
    is_flushing: bool,
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
        let shared = Arc::new(Shared {
            path,
            format,
            waiting: Mutex::default(),
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
            let waiting = &mut *self.shared.waiting.lock();
            let earlier = match waiting.reopened.take() {
                Some((_, earlier)) => earlier + &std::mem::take(&mut waiting.lines),
                None => std::mem::take(&mut waiting.lines),
            };
            waiting.reopened = Some((file, earlier));
            self.shared.is_due.notify_one();
        }
        Ok(())
    }
}

impl AccessLogFile {
    /// Waits until all lines are written, but no longer than this time. Returns whether they are.
    pub fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut waiting = self.shared.waiting.lock();
        while !waiting.lines.is_empty() || waiting.reopened.is_some() || waiting.is_writing {
            waiting.is_flushing = true;
            self.shared.is_due.notify_one();
            if self.shared.is_written.wait_until(&mut waiting, until).timed_out() {
                return false;
            }
        }
        true
    }
}

impl AccessLog for AccessLogFile {
    fn log(&self, record: &AccessRecord<'_>) {
        LINE.with_borrow_mut(|(timestamp, url, line)| {
            timestamp.update(SystemTime::now());
            line.clear();
            line::write(self.shared.format, record, timestamp, url, line);
            // Other threads wait for this lock, so a line is complete before.
            let waiting = &mut *self.shared.waiting.lock();
            if waiting.lines.len() >= MAX_WAITING {
                waiting.dropped += 1;
                return;
            }
            let before = waiting.lines.len();
            waiting.lines.push_str(line);
            if before < WRITE_AT && waiting.lines.len() >= WRITE_AT {
                self.shared.is_due.notify_one();
            }
        });
    }
}

impl Shared {
    /// Writes lines until the log is closed.
    fn write_lines(&self, mut output: Box<dyn Write + Send>) {
        let (mut lines, mut has_failed) = (String::new(), false);
        loop {
            let mut waiting = self.waiting.lock();
            let is_due = waiting.lines.len() >= WRITE_AT || waiting.is_flushing || waiting.is_closed;
            if !is_due && waiting.reopened.is_none() {
                self.is_due.wait_for(&mut waiting, MAX_DELAY);
            }
            std::mem::swap(&mut lines, &mut waiting.lines);
            let (dropped, reopened) = (std::mem::take(&mut waiting.dropped), waiting.reopened.take());
            let is_closed = waiting.is_closed;
            (waiting.is_writing, waiting.is_flushing) = (true, false);
            drop(waiting);
            let mut result = Ok(());
            if let Some((file, earlier)) = reopened {
                result = output.write_all(earlier.as_bytes()).and_then(|()| output.flush());
                output = Box::new(file);
            }
            let result = result.and(output.write_all(lines.as_bytes()).and_then(|()| output.flush()));
            // One message is enough until a write succeeds again.
            if let Some(error) = result.as_ref().err().filter(|_| !has_failed) {
                log::error!("cannot write the access log: {error}");
            }
            has_failed = result.is_err();
            lines.clear();
            self.waiting.lock().is_writing = false;
            self.is_written.notify_all();
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
        self.shared.waiting.lock().is_closed = true;
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
        while log.shared.waiting.lock().reopened.is_some() {
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
}
