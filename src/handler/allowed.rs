//! Who may ask a peer, and for what.

use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;

use crate::access::OriginRules;
use crate::at_once::{PlainField, PlainRequest};
use crate::token::Tokens;

/// What was said of both.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// Anybody may ask, where there are none.
    pub(crate) tokens: Option<Tokens>,
    pub(crate) origins: OriginRules,
    /// Whether those may purge too whom nobody knows. Where there are tokens, everybody is known.
    pub(crate) purge_by_anyone: bool,
}

impl Allowed {
    /// Whether whoever sent these fields is known.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let mut lines = headers.get_all(PROXY_AUTHORIZATION).into_iter();
        lines.next().is_some_and(|shown| tokens.accept(shown.as_bytes())) && lines.next().is_none()
    }

    /// The same of a plain request.
    pub(super) fn knows_plainly(&self, request: &PlainRequest<'_>) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        matches!(request.field("proxy-authorization"), PlainField::Once(shown) if tokens.accept(shown))
    }
}
