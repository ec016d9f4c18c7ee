//! What a dry run says, as data and as lines.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::message::stats::{Forward, Outcome};
use crate::policy::{Flag, LifetimeSource, Mode, Rule};

/// What would happen to a request at this moment, and why: what [`HttpCache::explain`](super::HttpCache::explain)
/// finds.
///
/// `Display` prints it as lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The canonical URL under which responses are stored, query included.
    pub url: String,
    /// Whether the request's credential has a partition of its own, in which alone it finds something.
    pub is_partitioned: bool,
    /// Whose cache it is.
    pub mode: Mode,
    /// All that is stored for the URL, in that partition; the newest first.
    pub stored: Vec<ExplainedResponse>,
    /// The last response that was fetched for the URL, in that partition, if it was not stored. It is remembered for the
    /// last 1,024 such URLs.
    pub not_stored: Option<NotStoredFetch>,
    /// What would happen.
    pub verdict: Verdict,
    /// The rule that decides it.
    pub rule: Rule,
    /// One sentence: until when it holds, or what would change it.
    pub outlook: String,
}

/// A response that was fetched and not stored, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotStoredFetch {
    /// The status.
    pub status: StatusCode,
    /// How long ago it came.
    pub ago: Duration,
    /// The reason, as in the `detail` of `Cache-Status`, such as `no-store`.
    pub reason: &'static str,
    /// The section that says so, such as `RFC 9111 section 5.2.2.5`; for a limit of this cache, which one it is.
    pub clause: &'static str,
}

/// What would happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It would be answered from the store.
    Serve {
        /// Fresh, or stale as somebody allows.
        outcome: Outcome,
        /// The status of the answer: that of the stored response, or what the request's own condition or
        /// range makes of it.
        status: StatusCode,
    },
    /// The origin would be asked.
    Forward(Forward),
    /// The origin would have to be asked, and the request forbids it by `only-if-cached`: 504.
    Refuse(Forward),
}

/// A stored response, as far as its reuse depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainedResponse {
    /// The status.
    pub status: StatusCode,
    /// The length of the stored body in bytes.
    pub length: u64,
    /// Which part of the whole that is, where it is a part.
    pub content_range: Option<String>,
    /// The request fields that select it, each with the normalised value that it had if it is one of
    /// `Accept`, `Accept-Charset`, `Accept-Encoding` and `Accept-Language`. No other value is shown.
    pub selected_by: Vec<(HeaderName, Option<String>)>,
    /// Whether this request selects it.
    pub is_selected: bool,
    /// The `ETag`.
    pub entity_tag: Option<String>,
    /// The `Last-Modified`.
    pub last_modified: Option<String>,
    /// How old it is now.
    pub age: Duration,
    /// For how long since its generation it is fresh.
    pub lifetime: Duration,
    /// Who says so.
    pub lifetime_source: LifetimeSource,
    /// For how long it stays fresh; zero when it is stale.
    pub remaining: Duration,
    /// For how long it has been stale; zero while it is fresh.
    pub staleness: Duration,
    /// For how long past its lifetime it may be served while it is refreshed; zero where it does not say.
    pub stale_while_revalidate: Duration,
    /// For how long past its lifetime it may be served when the origin fails, where it says so itself.
    pub stale_if_error: Option<Duration>,
    /// What else its `Cache-Control` says that counts here.
    pub flags: Vec<Flag>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "url       {}", Printable(&self.url))?;
        let mode = match self.mode {
            Mode::Private => "private",
            Mode::Shared => "shared",
        };
        let whose = if self.is_partitioned { ", the partition of the request's credential" } else { "" };
        writeln!(f, "cache     {mode} mode{whose}")?;
        writeln!(f, "verdict   {}", self.verdict)?;
        writeln!(f, "rule      {} ({})", self.rule, self.rule.clause())?;
        writeln!(f, "outlook   {}", Printable(&self.outlook))?;
        if let Some(NotStoredFetch { status, ago, reason, clause }) = self.not_stored {
            let (status, ago) = (status.as_u16(), ago.as_secs());
            writeln!(f, "last      {status}, fetched {ago} s ago, was not stored: {reason} ({clause})")?;
        }
        match self.stored.len() {
            1 => writeln!(f, "stored    1 response"),
            count => writeln!(f, "stored    {count} responses"),
        }?;
        for (at, response) in self.stored.iter().enumerate() {
            write!(f, "\nresponse  {} of {}{response}", at + 1, self.stored.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serve { outcome, status } => {
                write!(f, "{outcome}: answered from the store with {}", status.as_u16())
            }
            Self::Forward(why) => write!(f, "forward ({why}): the origin is asked"),
            Self::Refuse(why) => write!(
                f,
                "only-if-cached: answered with 504, because the origin would be asked ({why}; RFC 9111 \
                 section 5.2.1.7)"
            ),
        }
    }
}

impl fmt::Display for ExplainedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", if self.is_selected { ", which this request selects" } else { "" })?;
        write!(f, "  status  {}, {} bytes", self.status.as_u16(), self.length)?;
        match &self.content_range {
            Some(range) => writeln!(f, " ({})", Printable(range)),
            None => writeln!(f),
        }?;
        if !self.selected_by.is_empty() {
            f.write_str("  vary    ")?;
            for (at, (name, value)) in self.selected_by.iter().enumerate() {
                write!(f, "{}{name}", if at > 0 { "; " } else { "" })?;
                if let Some(value) = value {
                    write!(f, ": {}", Printable(value))?;
                }
            }
            writeln!(f)?;
        }
        if let Some(tag) = &self.entity_tag {
            writeln!(f, "  etag    {}", Printable(tag))?;
        }
        if let Some(date) = &self.last_modified {
            writeln!(f, "  date    last modified {}", Printable(date))?;
        }
        let (age, lifetime) = (self.age.as_secs(), self.lifetime.as_secs());
        let source = self.lifetime_source;
        writeln!(f, "  age     {age} s of {lifetime} s ({source}, {})", source.clause())?;
        if self.remaining.is_zero() {
            writeln!(f, "          stale for {} s", self.staleness.as_secs())?;
        } else {
            writeln!(f, "          fresh for another {} s", self.remaining.as_secs())?;
        }
        if !self.stale_while_revalidate.is_zero() {
            let seconds = self.stale_while_revalidate.as_secs();
            writeln!(f, "          stale-while-revalidate for {seconds} s (RFC 5861 section 3)")?;
        }
        if let Some(window) = self.stale_if_error {
            writeln!(f, "          stale-if-error for {} s (RFC 5861 section 4)", window.as_secs())?;
        }
        for flag in &self.flags {
            writeln!(f, "  says    {flag} ({})", flag.clause())?;
        }
        Ok(())
    }
}

/// Text of strangers for a terminal: one line, without control characters.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace(char::is_control, "?"))
    }
}
