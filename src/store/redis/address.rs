//! Reads the address of Redis: one server, or nodes of a cluster.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::store::StoreError;

/// The nodes of a server or cluster, with the credentials.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
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
        let credentials = rest.rfind('@').map_or("", |at| &rest[..=at]);
        let mut nodes = vec![node(&format!("{scheme}://{rest}"))?];
        for part in parts {
            nodes.push(match part.split_once("://") {
                Some(_) => node(&part.replacen("+cluster", "", 1))?,
                None => node(&format!("{scheme}://{credentials}{part}"))?,
            });
        }
        let is_cluster = is_cluster || nodes.len() > 1;
        if is_cluster && nodes.iter().any(|node| node.redis.db != 0) {
            return Err(invalid(first, "a cluster has no numbered databases"));
        }
        Ok(Self { nodes, is_cluster })
    }

    /// Sets the password, in place of that of the URL.
    pub(super) fn with_password(mut self, password: &str) -> Self {
        for node in &mut self.nodes {
            node.redis.password = Some(password.to_owned());
        }
        self
    }
}

/// Shows the hosts only.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.nodes.iter().map(|node| node.addr.to_string());
        f.write_str(&hosts.collect::<Vec<_>>().join(","))
    }
}

fn node(url: &str) -> Result<ConnectionInfo, StoreError> {
    // The cause is dropped because it may quote the password.
    let info = url.into_connection_info().map_err(|_| invalid(url, "it is not a URL of a Redis server"))?;
    if matches!(info.addr, ConnectionAddr::Unix(_)) {
        return Err(invalid(url, "it has no host"));
    }
    Ok(info)
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
    fn credentials_of_the_first_node_are_those_of_all() {
        let address = Address::parse("redis+cluster://:secret@a:1,b:2").unwrap();
        assert!(address.nodes.iter().all(|node| node.redis.password.as_deref() == Some("secret")));
        let address = address.with_password("other");
        assert!(address.nodes.iter().all(|node| node.redis.password.as_deref() == Some("other")));
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
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid address of Redis") && !error.contains("secret"), "{error}");
        }
    }
}
