//! The query of a purge request between peers: `q=<URL>`, `prefix=<prefix>`, `group=<name>&origin=<URL>` or `all`, with
//! each value escaped.
//!
//! A query with any other parameter is refused, so that a URL that was not escaped never purges something else.

use crate::base::error::Result;
use crate::message::purge::{Purge, PurgeScope};
use crate::message::url::{query_escape, query_value};
use crate::pool::protocol;

const PREFIX: &str = "prefix";
const GROUP: &str = "group";
const ORIGIN: &str = "origin";
const ALL: &str = "all";

impl Purge {
    pub(crate) fn query(&self) -> String {
        match &self.scope {
            PurgeScope::Url(url) => format!("{}={}", protocol::QUERY, query_escape(url)),
            PurgeScope::Prefix(prefix) => format!("{PREFIX}={}", query_escape(prefix)),
            PurgeScope::Group { origin, name } => {
                format!("{GROUP}={}&{ORIGIN}={}", query_escape(name), query_escape(origin))
            }
            PurgeScope::All => ALL.to_owned(),
        }
    }

    /// Parses a query. The error is one line that describes the problem.
    pub(crate) fn from_query(query: Option<&str>) -> Result<Self, String> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut names: Vec<&str> = pairs.map(|pair| pair.split('=').next().unwrap_or_default()).collect();
        names.sort_unstable();
        let value = |name: &str| query_value(query, name).map(Option::unwrap_or_default);
        let message = |error: crate::base::error::Error| error.message().to_owned();
        match names[..] {
            [name] if name == protocol::QUERY => Self::url(&value(name)?).map_err(message),
            [PREFIX] => Self::prefix(&value(PREFIX)?).map_err(message),
            [GROUP, ORIGIN] => Self::group(&value(ORIGIN)?, &value(GROUP)?).map_err(message),
            [ALL] if value(ALL)?.is_empty() => Ok(Self::all()),
            _ => {
                Err("specify what to purge by one of ?q=URL, ?prefix=URL, ?group=NAME&origin=URL and ?all, \
                      with each value escaped"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests;
