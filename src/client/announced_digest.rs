//! Digests that a peer or the origin announces for a body, and their check.

use http::Response;
use log::warn;

use super::replayable_request::ReplayableRequest;
use crate::base::error::{ErrorKind, Result, redacted};
use crate::message::body::Body;
use crate::message::digest::{Expected, announced, checked};
use crate::message::url::CanonicalUrl;
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol;

/// What a body has to be, and who sent it.
#[derive(Clone)]
struct Announced {
    expected: Vec<Expected>,
    peer: PeerUrl,
    target: CanonicalUrl,
}

/// The response, with what its peer and the origin say of its body kept beside it.
pub(super) fn expecting(
    response: Response<Body>,
    asked: &ReplayableRequest,
    peer: &PeerUrl,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let mut expected = announced(&asked.parts.method, parts.status, &parts.headers);
    expected.extend(protocol::take_digest(&mut parts.headers).map(Expected::from));
    if !expected.is_empty() {
        parts.extensions.insert(Announced { expected, peer: peer.clone(), target: asked.target.clone() });
    }
    Response::from_parts(parts, body)
}

/// The response, whose body fails where it is not the one that the peer, or the origin, says that it sends: also where
/// the end of it came from another. `on_mismatch` is told of one that is read later.
pub(super) fn whole(
    response: Response<Body>,
    on_mismatch: Option<Box<dyn FnOnce() + Send>>,
) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    let Some(Announced { expected, peer, target }) = parts.extensions.remove() else {
        return Ok(Response::from_parts(parts, body));
    };
    let (kind, shown, sender) = (ErrorKind::DigestMismatch, redacted(target.as_str()), peer.clone());
    let told = move || {
        warn!("{kind} {shown} the body that {sender} sent has another digest than was announced");
        if let Some(on_mismatch) = on_mismatch {
            on_mismatch();
        }
    };
    let body = checked(body, expected, told).map_err(|error| error.with_url(&target).with_peer(&peer))?;
    Ok(Response::from_parts(parts, body))
}

/// Whether a digest of its body was announced.
pub(super) fn is_announced(extensions: &http::Extensions) -> bool {
    extensions.get::<Announced>().is_some()
}
