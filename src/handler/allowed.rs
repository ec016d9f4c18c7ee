//! Who may ask a peer, and for what.

use http::header::PROXY_AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use parking_lot::RwLock;

use crate::access::{Asked, OriginRules};
use crate::at_once::{PlainField, PlainRequest};
use crate::protocol;
use crate::token::Tokens;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What was said of both.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// Anybody may ask, where there are none.
    tokens: Option<Tokens>,
    origins: RwLock<OriginRules>,
    /// Whether those may purge too whom nobody knows. Where there are tokens, everybody is known.
    pub(super) purge_by_anyone: bool,
}

impl Allowed {
    pub(crate) fn new(tokens: Option<Tokens>, origins: OriginRules, purge_by_anyone: bool) -> Self {
        Self { tokens, origins: RwLock::new(origins), purge_by_anyone }
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

    /// Whether a page of the web, which a browser runs, has sent them, where nothing but being here says who may ask.
    /// What is fetched for a page would be of one origin with what is fetched for all others, and the page could
    /// read it.
    ///
    /// Browsers tell so by a field that no page can set; where somebody typed the URL, it is `none`. A program that
    /// passes on what a browser sent it says so by another such field.
    pub(crate) fn is_by_a_page(&self, headers: &HeaderMap) -> bool {
        self.tokens.is_none()
            && headers.get(&SEC_FETCH_SITE).is_some_and(|site| site != "none")
            && !headers.contains_key(&protocol::NO_PAGE)
    }

    /// Whether anybody may ask who is here.
    pub(crate) fn are_none_known(&self) -> bool {
        self.tokens.is_none()
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
