//! Digests that a peer or the origin announces for a body, and their check.

use http::Response;
use log::warn;

use super::replayable_request::ReplayableRequest;
use crate::base::error::{ErrorKind, Result};
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::digest::{Expected, announced, checked};
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol;

/// The digests announced for a body, and the peer that sent it.
#[derive(Clone)]
struct AnnouncedDigest {
    expected: Vec<Expected>,
    peer: PeerUrl,
    target: CanonicalUrl,
}

/// Moves the announced digests of the body from the header fields to the response's extensions.
pub(super) fn with_announced_digest(
    response: Response<Body>,
    replayable: &ReplayableRequest,
    peer: &PeerUrl,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let mut expected = announced(&replayable.parts.method, parts.status, &parts.headers);
    expected.extend(protocol::take_digest(&mut parts.headers).map(Expected::from));
    if !expected.is_empty() {
        parts.extensions.insert(AnnouncedDigest {
            expected,
            peer: peer.clone(),
            target: replayable.target.clone(),
        });
    }
    Response::from_parts(parts, body)
}

/// Returns a response whose body fails if it does not match the digest that the peer or the origin announced,
/// even if another peer continued the body. A body in memory is checked at once; for any other body,
/// `on_mismatch` is called when the mismatch is found.
pub(super) fn verified(
    response: Response<Body>,
    on_mismatch: Option<Box<dyn FnOnce() + Send>>,
) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let Some(AnnouncedDigest { expected, peer, target }) = parts.extensions.remove() else {
        return Ok(Response::from_parts(parts, body));
    };
    let (kind, shown, sender) = (ErrorKind::DigestMismatch, redacted(target.as_str()), peer.clone());
    let told = move || {
        warn!("{kind}: the body of {shown} from {sender} does not match its announced digest");
        if let Some(on_mismatch) = on_mismatch {
            on_mismatch();
        }
    };
    let body = checked(body, expected, told).map_err(|error| error.with_url(&target).with_peer(&peer))?;
    Ok(Response::from_parts(parts, body))
}

/// Returns whether a digest of the body was announced.
pub(super) fn has_announced_digest(extensions: &http::Extensions) -> bool {
    extensions.get::<AnnouncedDigest>().is_some()
}
