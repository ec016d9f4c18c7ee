//! The method and the fields of a purge request.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The field for the scope of a purge, see [`Scope`].
pub(super) static SCOPE: HeaderName = HeaderName::from_static("forwardcache-scope");

/// The field for the mode of a purge.
static PURGE_MODE: HeaderName = HeaderName::from_static("forwardcache-purge");

/// The method of a purge request.
const PURGE: &str = "PURGE";

pub(crate) fn purge() -> Method {
    Method::from_bytes(PURGE.as_bytes()).expect("PURGE is a valid method")
}

pub(crate) fn is_purge(method: &Method) -> bool {
    method.as_str() == PURGE
}

/// Which copies a purge removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The copies of all peers. The default, without a field.
    Pool,
    /// The copies in the share of the receiving peer, which forwards the purge to no other peer.
    Own,
    /// The copies in the near cache of the receiving peer. This is sent after all peers have purged their own shares;
    /// before that, a peer that has not yet purged could serve a new copy. Peers of older releases answer 400.
    Near,
}

impl Scope {
    /// Returns the scope of a purge request, or `None` if the field is invalid.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(&SCOPE).into_iter();
        match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
            (None, _) => Some(Self::Pool),
            (Some(b"own"), None) => Some(Self::Own),
            (Some(b"near"), None) => Some(Self::Near),
            _ => None,
        }
    }

    /// Sets the scope of a purge request.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        match self {
            Self::Pool => drop(headers.remove(&SCOPE)),
            Self::Own => drop(headers.insert(&SCOPE, HeaderValue::from_static("own"))),
            Self::Near => drop(headers.insert(&SCOPE, HeaderValue::from_static("near"))),
        }
    }
}

/// Returns whether a purge is soft, or `None` if the field is invalid.
#[cfg_attr(not(feature = "peer"), allow(dead_code))]
pub(crate) fn is_soft_purge(headers: &HeaderMap) -> Option<bool> {
    let mut lines = headers.get_all(&PURGE_MODE).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Some(false),
        (Some(mode), None) if mode.as_bytes().eq_ignore_ascii_case(b"soft") => Some(true),
        _ => None,
    }
}

/// Marks a purge request as soft.
pub(crate) fn ask_for_soft_purge(headers: &mut HeaderMap) {
    headers.insert(&PURGE_MODE, HeaderValue::from_static("soft"));
}
