//! The query of a purge request between peers: `q=<URL>`, `prefix=<prefix>`, `group=<name>&origin=<URL>` or `all`, with
//! each value escaped.
//!
//! A query with any other parameter is refused, so that a URL that was not escaped never purges something else.

use crate::base::error::Result;
use crate::message::purge::{Purge, What};
use crate::message::url::{query_escape, query_value};
use crate::pool::protocol;

const PREFIX: &str = "prefix";
const GROUP: &str = "group";
const ORIGIN: &str = "origin";
const ALL: &str = "all";

impl Purge {
    pub(crate) fn query(&self) -> String {
        match &self.what {
            What::Url(url) => format!("{}={}", protocol::QUERY, query_escape(url)),
            What::Prefix(prefix) => format!("{PREFIX}={}", query_escape(prefix)),
            What::Group { origin, name } => {
                format!("{GROUP}={}&{ORIGIN}={}", query_escape(name), query_escape(origin))
            }
            What::All => ALL.to_owned(),
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
mod tests {
    use super::*;

    #[test]
    fn a_query_parses_to_the_purge_that_wrote_it() {
        for (purge, query) in [
            (Purge::url("http://a.ex/?a=1&all"), "q=http%3A%2F%2Fa.ex%2F%3Fa%3D1%26all"),
            (Purge::prefix("http://a.ex/%20b"), "prefix=http%3A%2F%2Fa.ex%2F%2520b"),
            (Purge::group("https://a.ex", "a &=b"), "group=a+%26%3Db&origin=https%3A%2F%2Fa.ex"),
            (Ok(Purge::all()), "all"),
        ] {
            let purge = purge.unwrap();
            assert_eq!(purge.query(), query);
            assert_eq!(Purge::from_query(Some(query)), Ok(purge));
        }
        assert_eq!(Purge::from_query(Some("all=")), Ok(Purge::all()));
        assert!(Purge::from_query(Some("origin=http://h&group=a")).is_ok());
    }

    #[test]
    fn a_query_without_exactly_one_purge_is_refused() {
        for query in [
            "",
            "&",
            "a=b",
            "q=",
            "q=foo",
            "q=http://h/?a=1&b=2",
            "q=http://h/?a&all",
            "q=http://h/?a&group=b&origin=http://h",
            "q=http://h/&q=http://i/",
            "prefix=http://h",
            "prefix=http://h/?a&b",
            "group=a",
            "group=a&origin=http://h/b",
            "group=a&q=http://h",
            "origin=http://h",
            "all=1",
            "all&all",
            "ALL",
            "q=%",
            "q=%FF",
        ] {
            let refused = Purge::from_query(Some(query)).unwrap_err();
            assert_eq!(refused.lines().count(), 1, "{query}");
        }
        assert!(Purge::from_query(None).is_err());
    }
}
