//! Reads the address of Redis: one server, or nodes of a cluster.

use std::fmt;

use crate::message::url::unescape;
use crate::store::StoreError;

/// The port of a node whose address has none.
const PORT: u16 = 6379;

/// The nodes of a server or cluster, with the credentials.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) nodes: Vec<Node>,
    pub(super) credentials: Credentials,
    pub(super) is_tls: bool,
    pub(super) is_cluster: bool,
}

/// The place of one server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What each node gets first.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Address {
    /// Reads `redis://HOST`, `rediss://HOST` (TLS), or a list of cluster nodes: `redis+cluster://HOST,HOST`. Each host may
    /// have a port, and the first may follow `USER:PASSWORD@`. URLs may be given for all nodes too. Several nodes are those of a
    /// cluster.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (scheme, rest) = first.split_once("://").ok_or_else(|| invalid(first, "it has no scheme"))?;
        let (scheme, is_cluster) = match scheme.strip_suffix("+cluster") {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        if !["redis", "rediss"].contains(&scheme) {
            return Err(invalid(first, "its scheme is not redis, rediss, redis+cluster or rediss+cluster"));
        }
        let (node, credentials) = place(first, rest)?;
        let mut address = Self { nodes: vec![node], credentials, is_tls: scheme == "rediss", is_cluster };
        for part in parts {
            let (own_scheme, rest) = part.split_once("://").unwrap_or((scheme, part));
            if own_scheme.strip_suffix("+cluster").unwrap_or(own_scheme) != scheme {
                return Err(invalid(part, "its scheme is not that of the first node"));
            }
            let (node, credentials) = place(part, rest)?;
            address.nodes.push(node);
            address.is_cluster = true;
            address.credentials.database |= credentials.database;
        }
        if address.is_cluster && address.credentials.database != 0 {
            return Err(invalid(first, "a cluster has no numbered databases"));
        }
        Ok(address)
    }

    /// Sets the password, in place of that of the URL.
    pub(super) fn with_password(mut self, password: &str) -> Self {
        self.credentials.password = Some(password.to_owned());
        self
    }
}

/// Shows the hosts only.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.nodes.iter().map(|node| format!("{}:{}", node.host, node.port));
        f.write_str(&hosts.collect::<Vec<_>>().join(","))
    }
}

/// Reads `USER:PASSWORD@HOST:PORT/NUMBER`, of which only the host is required. `url` is for errors.
fn place(url: &str, text: &str) -> Result<(Node, Credentials), StoreError> {
    let (userinfo, place) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let database = match path {
        "" => 0,
        number => number.parse().map_err(|_| invalid(url, "its path is not the number of a database"))?,
    };
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let is_invalid = |c: char| c.is_control() || c.is_whitespace() || "?#[]\\%".contains(c);
    if host.is_empty() || host.contains(is_invalid) {
        return Err(invalid(url, "it has no valid host"));
    }
    let port = port.map(str::parse).transpose().map_err(|_| invalid(url, "its port is not a number"))?;
    let decoded = |text: &str| {
        let mut out = Vec::new();
        // `+` stands for itself here.
        unescape(&text.replace('+', "%2B"), &mut out).ok()?;
        String::from_utf8(out).ok()
    };
    let decoded =
        |text: &str| decoded(text).ok_or_else(|| invalid(url, "its password is not escaped correctly"));
    let mut credentials = Credentials { database, ..Credentials::default() };
    if let Some((user, password)) = userinfo.and_then(|userinfo| userinfo.split_once(':')) {
        credentials.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        credentials.password = Some(decoded(password)?).filter(|password| !password.is_empty());
    }
    Ok((Node { host: host.to_owned(), port: port.unwrap_or(PORT) }, credentials))
}

/// Names the URL without its credentials.
fn invalid(url: &str, problem: &str) -> StoreError {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}***{}", &url[..start + 3], &url[end..]),
        (None, Some(end)) => format!("***{}", &url[end..]),
        _ => url.to_owned(),
    };
    StoreError::new(format!(
        "invalid address of Redis {shown:?}: {problem}; use redis://HOST:PORT, rediss://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, bool) {
        let address = Address::parse(text).unwrap();
        (format!("{address:?}"), address.is_cluster)
    }

    #[test]
    fn servers_and_clusters_are_read() {
        assert_eq!(parsed("redis://a"), ("a:6379".to_owned(), false));
        assert_eq!(parsed("rediss://u:secret@a:1/2"), ("a:1".to_owned(), false));
        assert_eq!(parsed("redis+cluster://a:1"), ("a:1".to_owned(), true));
        assert_eq!(parsed("redis+cluster://a:1, b:2,c"), ("a:1,b:2,c:6379".to_owned(), true));
        assert_eq!(parsed("redis://a:1,redis://b:2"), ("a:1,b:2".to_owned(), true));
    }

    #[test]
    fn credentials_are_unescaped_and_can_be_replaced() {
        let credentials = |text: &str| {
            let Credentials { user, password, database } = Address::parse(text).unwrap().credentials;
            (user, password.unwrap_or_default(), database)
        };
        let named = |user: &str, password: &str| (Some(user.to_owned()), password.to_owned(), 0);
        assert_eq!(credentials("redis+cluster://:secret@a:1,b:2"), (None, "secret".to_owned(), 0));
        assert_eq!(credentials("redis://u:a+b%2F%40:c@a"), named("u", "a+b/@:c"));
        assert_eq!(credentials("redis://u:p@[::1]:5/"), named("u", "p"));
        assert_eq!(credentials("rediss://a/15"), (None, String::new(), 15));
        let address = Address::parse("redis://:secret@a").unwrap().with_password("other");
        assert_eq!(address.credentials.password.as_deref(), Some("other"));
        assert!(!format!("{address:?}").contains("other"));
    }

    #[test]
    fn errors_name_the_address_without_its_password() {
        for wrong in [
            "",
            "a:1",
            "http://u:secret@a",
            "redis://u:secret@a:port",
            "redis://",
            "u:secret@a",
            "redis+cluster://u:secret@a/3",
            "redis://a,unix:///u:secret@a",
            "redis://a,rediss://u:secret@a",
            "redis://u:secret@a/x",
            "redis://u:secret@a?b",
            "redis://u:secret%zz@a",
            "redis://u:secret@a:99999",
            "redis://u:secret@",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid address of Redis") && !error.contains("secret"), "{error}");
        }
    }
}
