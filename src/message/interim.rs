//! Interim responses (RFC 9110 section 15.2) and how they reach the client.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

type Callback = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

/// A callback for the interim responses (1xx) of the origin, passed as an extension of a request.
///
/// [`Origin`](crate::Origin) calls it for every interim response except 100 and 101, for instance for 103 (Early Hints,
/// RFC 8297), on the thread that waits for the origin. Your own [`RoundTrip`](crate::RoundTrip) may call
/// [`tell`](Self::tell). Interim responses are never stored: a response from the store has none, and of several requests
/// that share a fetch only the first receives them. The server of [`Peer::serve`](crate::Peer::serve) forwards them to
/// HTTP/1.1 clients.
///
/// ```
/// use forwardcache::origin::OnInterim;
/// use forwardcache::Body;
/// use http::Request;
///
/// let mut request = Request::get("https://example.com/").body(Body::empty())?;
/// request.extensions_mut().insert(OnInterim::new(|status, headers| println!("{status} {headers:?}")));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct OnInterim(Callback);

impl OnInterim {
    /// Creates a callback that runs for each interim response. It must be quick and must not block.
    #[must_use]
    pub fn new(callback: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Passes an interim response to the callback: its status and its end-to-end header fields.
    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }
}

impl fmt::Debug for OnInterim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInterim")
    }
}
