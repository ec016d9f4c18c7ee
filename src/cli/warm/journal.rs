//! The journal of `--resume`: what a run has done, so that the next run continues.
//!
//! Each line is appended by one write, so a killed process leaves at most an incomplete last line, which the next run
//! removes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use forwardcache::origin::CanonicalUrl;

use super::super::failure::Failure;

/// The first line of the file. Another file is not touched.
const HEADER: &str = "# forwardcache warm 1\n";

const DONE: &str = "done ";
const FOUND: &str = "found ";

/// The maximum length of a line, in bytes.
const MAX_LINE: u64 = 16 << 10;

/// A fact that an earlier run has recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The URL needs no further request.
    Done(CanonicalUrl),
    /// A page links to this URL, which is this many links away from the list.
    Found(CanonicalUrl, u8),
}

/// A journal that this process has locked.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens or creates the journal and calls `known` with each record of earlier runs.
    pub(super) fn open(path: &Path, mut known: impl FnMut(Record)) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::io(format_args!("--resume {}", path.display()), error);
        let is_wrong = |reason: &str| Failure::Usage(format!("--resume {}: {reason}", path.display()));
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(is_wrong("another process uses this file")),
            Err(fs::TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let read = Self::read(&file, &mut known).map_err(|error| failed(&error))?;
        let complete = read.ok_or_else(|| is_wrong("the file exists and is not a journal of warm"))?;
        let restored = file.set_len(complete).and_then(|()| {
            file.seek(SeekFrom::End(0))?;
            if complete == 0 { file.write_all(HEADER.as_bytes()) } else { Ok(()) }
        });
        restored.map_err(|error| failed(&error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Returns the length of the complete lines, or `None` if the file is not a journal.
    fn read(file: &File, known: &mut impl FnMut(Record)) -> io::Result<Option<u64>> {
        let (mut input, mut line, mut complete) = (BufReader::new(file), Vec::new(), 0);
        loop {
            line.clear();
            let count = io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let is_complete = line.ends_with(b"\n");
            if complete == 0 && !HEADER.as_bytes().starts_with(&line) {
                return Ok(None);
            }
            if !is_complete {
                return Ok((count < MAX_LINE).then_some(complete));
            }
            if complete > 0 {
                // A line that this version does not know is kept.
                if let Some(record) = std::str::from_utf8(&line).ok().and_then(parse) {
                    known(record);
                }
            }
            complete += count;
        }
    }

    /// Notes that a URL needs no further request, and which links its page contains.
    pub(super) fn done(
        &mut self,
        url: &CanonicalUrl,
        links: &[CanonicalUrl],
        depth: u8,
    ) -> Result<(), Failure> {
        let found: String = links.iter().map(|link| format!("{FOUND}{depth} {link}\n")).collect();
        let text = format!("{found}{DONE}{url}\n");
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Failure::failed(format_args!("--resume {}: {error}", self.path.display())))
    }

    /// Removes the journal of a run that has completed.
    pub(super) fn remove(self) -> Result<(), Failure> {
        fs::remove_file(&self.path)
            .map_err(|error| Failure::io(format_args!("cannot remove {}", self.path.display()), &error))
    }
}

fn parse(line: &str) -> Option<Record> {
    let line = line.strip_suffix('\n')?;
    if let Some(url) = line.strip_prefix(DONE) {
        return Some(Record::Done(CanonicalUrl::parse(url).ok()?));
    }
    let (depth, url) = line.strip_prefix(FOUND)?.split_once(' ')?;
    Some(Record::Found(CanonicalUrl::parse(url).ok()?, depth.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CanonicalUrl {
        CanonicalUrl::parse(text).unwrap()
    }

    fn reopened(path: &Path) -> Result<(Journal, Vec<Record>), String> {
        let mut records = Vec::new();
        let journal = Journal::open(path, |record| records.push(record));
        journal.map(|journal| (journal, records)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn records_survive_and_an_incomplete_line_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, records) = reopened(&path).unwrap();
        assert!(records.is_empty());
        assert!(reopened(&path).unwrap_err().contains("another process"));
        journal.done(&url("http://host/a"), &[url("http://host/b?c=d")], 2).unwrap();
        drop(journal);
        let expected = [Record::Found(url("http://host/b?c=d"), 2), Record::Done(url("http://host/a"))];
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, records) = reopened(&path).unwrap();
            assert!(records.len() < 2 && expected.starts_with(&records), "{length}: {records:?}");
            journal.done(&url("http://host/z"), &[], 0).unwrap();
            drop(journal);
            let (_, records) = reopened(&path).unwrap();
            assert_eq!(records.last(), Some(&Record::Done(url("http://host/z"))), "{length}");
        }
        fs::write(&path, &whole).unwrap();
        let (journal, records) = reopened(&path).unwrap();
        assert_eq!(records, expected);
        journal.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn another_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("urls.txt");
        for text in ["http://host/\n", "#", "# forwardcache warm 2\n", &"a".repeat(20 << 10)] {
            // An incomplete header is one of an interrupted run.
            if HEADER.starts_with(text) {
                continue;
            }
            fs::write(&path, text).unwrap();
            assert!(reopened(&path).unwrap_err().contains("not a journal"), "{text:.30}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
