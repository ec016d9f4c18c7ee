//! Who may ask a peer, and for what.

use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use parking_lot::RwLock;

use crate::access::{Asked, OriginRules};
use crate::at_once::{PlainField, PlainRequest};
use crate::token::Tokens;

/// What was said of both.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// Anybody may ask, where there are none.
    tokens: Option<Tokens>,
    origins: RwLock<OriginRules>,
}

impl Allowed {
    pub(crate) fn new(tokens: Option<Tokens>, origins: OriginRules) -> Self {
        Self { tokens, origins: RwLock::new(origins) }
    }

    /// The rules of the moment.
    pub(crate) fn origins(&self) -> OriginRules {
        self.origins.read().clone()
    }

    /// Puts these in place of those before.
    pub(crate) fn set_origins(&self, rules: OriginRules) {
        let before = std::mem::replace(&mut *self.origins.write(), rules);
        drop(before);
    }

    /// Whether this may be fetched, and what is stored of it answered with.
    pub(super) fn may_be_asked(&self, asked: &Asked<'_>) -> bool {
        self.origins.read().may_be_asked(asked).is_ok()
    }

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
