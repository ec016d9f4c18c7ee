//! Interim responses on their way to the client (RFC 9110 section 15.2).

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

type Tell = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

/// Receives the interim responses (1xx) of the origin while the final response is awaited: an extension of a request.
///
/// [`Origin`](crate::Origin) calls it for every interim response but 100 and 101, such as 103 (Early Hints, RFC 8297),
/// on the thread that waits for the origin. A [`RoundTrip`](crate::RoundTrip) of your own may call
/// [`tell`](Self::tell). Interim responses are never stored: a response from the store has none, and of several requests
/// that share a fetch only the first one receives them. The server of [`Peer::serve`](crate::Peer::serve) sends them to
/// clients of HTTP/1.1.
///
/// ```
/// use forwardcache::{Body, OnInterim};
/// use http::Request;
///
/// let mut request = Request::get("https://example.com/").body(Body::empty())?;
/// request.extensions_mut().insert(OnInterim::new(|status, headers| println!("{status} {headers:?}")));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct OnInterim(Tell);

impl OnInterim {
    /// Calls this for each interim response. It must be quick, and must not block.
    #[must_use]
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Hands on an interim response: its status, and its end-to-end fields.
    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }
}

impl fmt::Debug for OnInterim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInterim")
    }
}
