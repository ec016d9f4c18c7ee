//! The paths of a peer.

/// The default path at which a peer answers.
pub(crate) const DEFAULT_PATH: &str = "/proxy";

/// The path, below the base URL, at which a peer reports that it is alive. A peer of another implementation may answer with
/// an error, which also shows that it is alive.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// The path, below the base URL, at which a peer reports whether it is ready for requests.
pub(crate) const READY_PATH: &str = "/readyz";

/// Returns whether a text can be the path of a peer: absolute, without characters that have a meaning in a URL.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
}

/// An endpoint of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Fetches a URL.
    Proxy,
    /// Explains how the peer would answer that request.
    Why,
    /// Receives the report that another peer is leaving.
    Leaving,
}

/// The paths of all endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Paths([(Endpoint, String); 3]);

impl Paths {
    pub(crate) fn under(path: String) -> Self {
        let base = path.strip_suffix('/').unwrap_or(&path);
        let below = |name| format!("{base}/{name}");
        let (why, leaving) = (below("why"), below("leaving"));
        Self([(Endpoint::Proxy, path), (Endpoint::Why, why), (Endpoint::Leaving, leaving)])
    }

    pub(crate) fn of(&self, endpoint: Endpoint) -> &str {
        &self.0[endpoint as usize].1
    }

    /// Returns the endpoint with this path.
    pub(crate) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        self.0.iter().find(|(_, own)| own == path).map(|(endpoint, _)| *endpoint)
    }

    /// Returns the possible base URLs of a peer if this URL, without its query, is that of an endpoint.
    pub(crate) fn bases<'a>(&'a self, url: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|(_, path)| url.strip_suffix(path.as_str()))
    }
}
