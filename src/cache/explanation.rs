//! The result of a dry run, as data and as lines of text.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::message::stats::{Forward, Outcome};
use crate::policy::{Flag, LifetimeSource, Mode, Rule};

/// How the cache would answer a request at this moment, and why: the result of
/// [`HttpCache::explain`](super::HttpCache::explain).
///
/// `Display` prints lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The canonical URL under which responses are stored, including the query.
    pub url: String,
    /// Whether the request's credential has a partition. The request then finds only responses of that partition.
    pub is_partitioned: bool,
    /// Whether the cache is private or shared.
    pub mode: Mode,
    /// The responses that are stored for the URL in that partition, newest first.
    pub stored: Vec<ExplainedResponse>,
    /// The last response that was fetched for the URL in that partition, if it was not stored. The last 1,024 such
    /// URLs are remembered.
    pub not_stored: Option<NotStoredFetch>,
    /// How the request would be answered.
    pub verdict: Verdict,
    /// The rule that determines the verdict.
    pub rule: Rule,
    /// One sentence: how long the verdict holds, or what would change it.
    pub outlook: String,
}

/// A response that was fetched and not stored, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotStoredFetch {
    /// The status.
    pub status: StatusCode,
    /// The time since the response arrived.
    pub ago: Duration,
    /// The reason, as in the `detail` of `Cache-Status`, such as `no-store`.
    pub reason: &'static str,
    /// The section that gives the reason, such as `RFC 9111 section 5.2.2.5`, or the name of a limit of this cache.
    pub clause: &'static str,
}

/// How a request would be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The store would answer.
    Serve {
        /// Whether the response is fresh, or stale and still allowed.
        outcome: Outcome,
        /// The status of the answer: the stored status, or the status that follows from the request's own condition
        /// or range.
        status: StatusCode,
    },
    /// The request would be sent to the origin, for this reason.
    Forward(Forward),
    /// The request would have to be sent to the origin, but `only-if-cached` prohibits that: 504.
    Refuse(Forward),
}

/// A stored response, with the values that determine its reuse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainedResponse {
    /// The status.
    pub status: StatusCode,
    /// The length of the stored body in bytes.
    pub length: u64,
    /// The stored range, if the response is partial.
    pub content_range: Option<String>,
    /// The request fields that select the response. The normalised value is given for `Accept`, `Accept-Charset`,
    /// `Accept-Encoding` and `Accept-Language`, and omitted for all other fields.
    pub selected_by: Vec<(HeaderName, Option<String>)>,
    /// Whether this request selects the response.
    pub is_selected: bool,
    /// The value of `ETag`.
    pub entity_tag: Option<String>,
    /// The value of `Last-Modified`.
    pub last_modified: Option<String>,
    /// The current age.
    pub age: Duration,
    /// The freshness lifetime, from the generation of the response.
    pub lifetime: Duration,
    /// The source of the lifetime.
    pub lifetime_source: LifetimeSource,
    /// How long the response remains fresh; zero if it is stale.
    pub remaining: Duration,
    /// How long the response has been stale; zero while it is fresh.
    pub staleness: Duration,
    /// How long beyond its lifetime the response may be served during its refresh; zero if it has no such directive.
    pub stale_while_revalidate: Duration,
    /// How long beyond its lifetime the response may be served if the origin fails, if it has such a directive.
    pub stale_if_error: Option<Duration>,
    /// The other directives of the response that matter here.
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

/// Prints foreign text on one line of a terminal, with `?` for each control character.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace(char::is_control, "?"))
    }
}
