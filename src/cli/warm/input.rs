//! The list of URLs: lines of text, sitemaps and indexes of sitemaps, told apart by their content.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::ops::ControlFlow;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use forwardcache::Error;
use forwardcache::origin::CanonicalUrl;
use http::StatusCode;

use super::request::Requests;
use super::sitemap::{self, Kind};

/// The maximum size of a sitemap and of a list that is fetched, in bytes, compressed or not. The protocol has the same.
const MAX_DOCUMENT: u64 = 50 << 20;

/// The maximum length of a line, in bytes. A URL has at most 8 KiB.
const MAX_LINE: u64 = 16 << 10;

/// The number of sitemaps that are read. The protocol allows so many in an index.
const MAX_SITEMAPS: usize = 50_000;

/// How many indexes may contain each other. The protocol allows one.
const MAX_NESTING: u32 = 3;

/// How much of a fetched list is in memory, in bytes. The rest is in a temporary file.
const IN_MEMORY: usize = 8 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The place of a list.
#[derive(Clone, Debug)]
pub(super) enum Source {
    StandardInput,
    File(PathBuf),
    Url(CanonicalUrl),
}

impl Source {
    /// Parses the argument of the command.
    pub(super) fn parse(list: &str) -> Result<Self, Error> {
        let has_scheme =
            |scheme: &str| list.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if list == "-" {
            Ok(Self::StandardInput)
        } else if ["http://", "https://"].into_iter().any(has_scheme) {
            Ok(Self::Url(CanonicalUrl::parse(list)?))
        } else {
            Ok(Self::File(list.into()))
        }
    }
}

/// An element of a list.
pub(super) enum Entry {
    Url(CanonicalUrl),
    /// An element that cannot be requested, as a message.
    Invalid(String),
    /// A further list that cannot be read, as a message.
    Unreadable(String),
}

/// Receives the elements of a list. Breaks to stop reading.
pub(super) type Sink<'a> = dyn FnMut(Entry) -> ControlFlow<()> + 'a;

/// Reads a list and the sitemaps that it contains.
pub(super) struct Lists<'a> {
    requests: &'a Requests,
    /// Whether a fetched list may contain URLs of other origins.
    is_cross_origin: bool,
    fetched: HashSet<CanonicalUrl>,
}

/// The place of an entry, for messages.
struct Place<'a> {
    list: &'a str,
    unit: &'static str,
    number: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.list, self.unit, self.number)
    }
}

impl<'a> Lists<'a> {
    pub(super) fn new(requests: &'a Requests, is_cross_origin: bool) -> Self {
        Self { requests, is_cross_origin, fetched: HashSet::new() }
    }

    /// Gives the entries of a list, and of the lists that it names, to `sink`.
    pub(super) fn read(&mut self, source: &Source, sink: &mut Sink<'_>) -> Result<(), String> {
        let read = match source {
            Source::StandardInput => self.document("standard input", None, Box::new(io::stdin()), 0, sink),
            Source::Url(url) => self.fetch(url, 0, sink),
            Source::File(path) => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
                self.document(&name, None, Box::new(file), 0, sink)
            }
        };
        read.map(|_| ())
    }

    /// Fetches a list completely, because its URLs are taken only as fast as they are requested.
    fn fetch(
        &mut self,
        url: &CanonicalUrl,
        nesting: u32,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, String> {
        let failed = |reason: String| format!("cannot read the list {url}: {reason}");
        if self.fetched.len() >= MAX_SITEMAPS {
            return Err(failed(format!("it is not one of the first {MAX_SITEMAPS} sitemaps")));
        }
        if !self.fetched.insert(url.clone()) {
            return Ok(ControlFlow::Continue(()));
        }
        let response = self.requests.send(url).map_err(|error| failed(error.reason()))?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let hint = if status.is_redirection() { ", which -L follows" } else { "" };
            return Err(failed(format!("its status is {}{hint}", status.as_u16())));
        }
        let mut spool = tempfile::spooled_tempfile(IN_MEMORY);
        io::copy(&mut Limited::new(response.into_body()), &mut spool)
            .and_then(|_| spool.rewind())
            .map_err(|error| failed(Error::from(error).reason()))?;
        self.document(url.as_str(), Some(url), Box::new(spool), nesting, sink)
    }

    fn document(
        &mut self,
        list: &str,
        from: Option<&CanonicalUrl>,
        input: Box<dyn Read>,
        nesting: u32,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, String> {
        let failed = |error: io::Error| format!("cannot read {list}: {error}");
        let (start, input) = decompressed(input).map_err(failed)?;
        let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start);
        let is_xml = text.trim_ascii_start().starts_with(b"<");
        let input = Cursor::new(text.to_owned()).chain(input);
        if is_xml {
            return self.sitemap(list, from, BufReader::new(Limited::new(input)), nesting, sink);
        }
        let read = if from.is_some() {
            self.lines(list, from, BufReader::new(Limited::new(input)), sink)
        } else {
            self.lines(list, from, BufReader::new(input), sink)
        };
        read.map_err(failed)
    }

    fn lines(
        &self,
        list: &str,
        from: Option<&CanonicalUrl>,
        mut input: impl BufRead,
        sink: &mut Sink<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let count = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let place = Place { list, unit: "line", number };
            let entry = match std::str::from_utf8(&line).map(str::trim) {
                _ if count == 0 => break,
                _ if count == MAX_LINE && !line.ends_with(b"\n") => {
                    input.skip_until(b'\n')?;
                    Err(format!("{place}: longer than {MAX_LINE} bytes"))
                }
                Ok(text) if text.is_empty() || text.starts_with('#') => continue,
                Ok(text) => self.url(&place, from, text),
                Err(_) => Err(format!("{place}: not UTF-8")),
            };
            if sink(entry.map_or_else(Entry::Invalid, Entry::Url)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn sitemap(
        &mut self,
        list: &str,
        from: Option<&CanonicalUrl>,
        input: impl BufRead,
        nesting: u32,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, String> {
        let mut number = 0;
        let read = sitemap::read(input, |kind, location| {
            number += 1;
            let place = Place { list, unit: "entry", number };
            let entry = location.map_err(|reason| format!("{place}: {reason}"));
            let entry = entry.and_then(|text| self.url(&place, from, text));
            match (kind, entry) {
                (Kind::Sitemaps, Ok(_)) if nesting >= MAX_NESTING => {
                    let text = format!("{place}: more than {MAX_NESTING} indexes contain each other");
                    sink(Entry::Invalid(text))
                }
                (Kind::Sitemaps, Ok(url)) => self
                    .fetch(&url, nesting + 1, sink)
                    .unwrap_or_else(|message| sink(Entry::Unreadable(message))),
                (_, entry) => sink(entry.map_or_else(Entry::Invalid, Entry::Url)),
            }
        });
        read.map_err(|reason| format!("cannot read the sitemap {list}: {reason}"))
    }

    /// Parses a URL of a list that was fetched `from` another URL.
    fn url(
        &self,
        place: &Place<'_>,
        from: Option<&CanonicalUrl>,
        text: &str,
    ) -> Result<CanonicalUrl, String> {
        let url =
            CanonicalUrl::parse(text).map_err(|error| format!("{place}: {}", Error::from(error).reason()))?;
        match from {
            // Header fields of the command line may be credentials, and the list is a stranger's.
            Some(from) if !self.is_cross_origin && !url.same_origin(from) => Err(format!(
                "{place}: the URL has another origin than the list, which only --cross-origin allows"
            )),
            _ => Ok(url),
        }
    }
}

/// Returns the beginning of a document and the rest of it, both without compression.
fn decompressed(mut input: Box<dyn Read>) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let start = beginning(&mut input)?;
    if !start.starts_with(&GZIP) {
        return Ok((start, input));
    }
    let mut plain: Box<dyn Read> = Box::new(MultiGzDecoder::new(Cursor::new(start).chain(input)));
    Ok((beginning(&mut plain)?, plain))
}

/// Reads until the kind of a document is certain: two bytes for gzip, and something other than white space for XML.
fn beginning(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut start, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start);
        let is_certain = start.len() > BYTE_ORDER_MARK.len() && !text.trim_ascii_start().is_empty();
        if is_certain || start.len() > 1 << 20 {
            return Ok(start);
        }
        match input.read(&mut buffer) {
            Ok(0) => return Ok(start),
            Ok(count) => start.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A reader that fails after [`MAX_DOCUMENT`] bytes.
struct Limited<R> {
    input: R,
    left: u64,
}

impl<R> Limited<R> {
    fn new(input: R) -> Self {
        Self { input, left: MAX_DOCUMENT }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other(format!("it is larger than {} MiB", MAX_DOCUMENT >> 20)))?;
        Ok(count)
    }
}
