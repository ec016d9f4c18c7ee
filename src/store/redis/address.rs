//! Reads the address of Redis: one server, or nodes of a cluster.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::{fmt, fs, io};

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
    pub(super) password: Option<Password>,
    pub(super) database: u32,
}

/// A password, or the file that has it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Password {
    Text(String),
    File(PathBuf),
}

impl Password {
    /// Returns the password. The first line of a file counts, as it is now.
    pub(super) fn read(&self) -> io::Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let failed = |problem: &dyn fmt::Display| {
                    io::Error::other(format!("cannot read the password file {}: {problem}", path.display()))
                };
                let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
                let line = text.lines().next().filter(|line| !line.is_empty());
                line.map(str::to_owned).ok_or_else(|| failed(&"its first line is empty"))
            }
        }
    }
}

impl Address {
    /// Reads `redis://HOST`, `rediss://HOST` (TLS), or a list of cluster nodes: `redis+cluster://HOST,HOST`. Each host may
    /// have a port, and the first may follow `USER:PASSWORD@`. URLs may be given for all nodes too, with equal credentials. Several
    /// nodes are those of a cluster.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let is_socket = |scheme: &str| ["unix", "socket", "redis+unix", "redis+socket"].contains(&scheme);
        let scheme = first.split_once("://");
        if first.starts_with('/') || scheme.is_some_and(|(scheme, _)| is_socket(scheme)) {
            return Err(invalid(first, "Unix sockets are not supported"));
        }
        let (scheme, rest) = scheme.ok_or_else(|| invalid(first, "it has no scheme"))?;
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
            let (node, Credentials { user, password, database }) = place(part, rest)?;
            let own = &address.credentials;
            if (user.is_some() || password.is_some()) && (&user, &password) != (&own.user, &own.password) {
                return Err(invalid(part, "its user and password are not those of the first node"));
            }
            address.nodes.push(node);
            address.is_cluster = true;
            address.credentials.database |= database;
        }
        if address.is_cluster && address.credentials.database != 0 {
            return Err(invalid(first, "a cluster has no numbered databases"));
        }
        Ok(address)
    }

    /// Sets the password, in place of that of the URL. Fails if a user has none, or it cannot be read.
    pub(super) fn with_password(mut self, password: Option<Password>) -> Result<Self, StoreError> {
        let credentials = &mut self.credentials;
        credentials.password = password.or(credentials.password.take());
        match &credentials.password {
            Some(password) => drop(password.read().map_err(|error| StoreError::new(error.to_string()))?),
            None if credentials.user.is_some() => {
                return Err(StoreError::new("the address of Redis has a user, and there is no password"));
            }
            None => {}
        }
        Ok(self)
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
        Some((host, _)) if host.parse::<Ipv6Addr>().is_err() => {
            return Err(invalid(url, "its host in brackets is not an IPv6 address"));
        }
        Some((host, "")) => (host, None),
        Some((host, port)) => {
            (host, Some(port.strip_prefix(':').ok_or_else(|| invalid(url, "it has no valid host"))?))
        }
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
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        credentials.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        let password = Some(decoded(password)?).filter(|password| !password.is_empty());
        credentials.password = password.map(Password::Text);
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
            (user, password.map(|password| password.read().unwrap()).unwrap_or_default(), database)
        };
        let named = |user: &str, password: &str| (Some(user.to_owned()), password.to_owned(), 0);
        assert_eq!(credentials("redis+cluster://:secret@a:1,b:2"), (None, "secret".to_owned(), 0));
        assert_eq!(credentials("redis://u:a+b%2F%40:c@a"), named("u", "a+b/@:c"));
        assert_eq!(credentials("redis://u:p@[::1]:5/"), named("u", "p"));
        assert_eq!(credentials("rediss://a/15"), (None, String::new(), 15));
        assert_eq!(credentials("redis://u@a"), named("u", ""));
        assert_eq!(credentials("redis://u:p@a:1,redis://u:p@b:2,redis://c"), named("u", "p"));
        let other = || Some(Password::Text("other".to_owned()));
        let address = Address::parse("redis://u:secret@a").unwrap().with_password(other()).unwrap();
        assert_eq!(address.credentials.password.as_ref().unwrap().read().unwrap(), "other");
        assert!(!format!("{address:?}").contains("other"));
        assert!(Address::parse("redis://u@a").unwrap().with_password(other()).is_ok());
        assert!(Address::parse("redis://u@a").unwrap().with_password(None).is_err());
    }

    #[test]
    fn file_of_a_password_is_read_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let password = Password::File(file.path().to_owned());
        for (text, expected) in
            [("one\nother\n", Some("one")), ("two", Some("two")), ("", None), ("\nx", None)]
        {
            fs::write(file.path(), text).unwrap();
            assert_eq!(password.read().ok().as_deref(), expected, "{text:?}");
        }
        drop(file);
        let address = Address::parse("redis://a").unwrap();
        let error = address.with_password(Some(password)).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the password file /"), "{error}");
    }

    #[test]
    fn ipv6_addresses_are_in_brackets() {
        for (text, host, port) in
            [("redis://[::1]", "::1", 6379), ("redis://[2001:db8::1]:7/1", "2001:db8::1", 7)]
        {
            let node = Address::parse(text).unwrap().nodes.remove(0);
            assert_eq!((&*node.host, node.port), (host, port));
        }
    }

    #[test]
    fn unix_sockets_are_not_supported() {
        for text in ["unix:///run/redis.sock", "redis+unix:///run/redis.sock", "/run/redis.sock"] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains("Unix sockets are not supported; use redis://HOST:PORT"), "{error}");
        }
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
            "redis://u:secret@[::1]7",
            "redis://u:secret@[::1]:x",
            "redis://u:secret@[a]:1",
            "redis://u:secret@::1",
            "redis://a,redis://u:secret@b",
            "redis://u:secret@a,redis://v:secret@b",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid address of Redis") && !error.contains("secret"), "{error}");
        }
    }
}
