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
    /// Whether programs that see all origins at the host of the peer are given their cookies.
    pub(super) pass_cookies: bool,
}

impl Allowed {
    pub(crate) fn new(tokens: Option<Tokens>, origins: OriginRules, purge_by_anyone: bool) -> Self {
        Self { tokens, origins: RwLock::new(origins), purge_by_anyone, pass_cookies: false }
    }

    /// The same, with cookies for clients that do not say that they know the origin of a response.
    pub(crate) fn pass_cookies(self, pass_cookies: bool) -> Self {
        Self { pass_cookies, ..self }
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
    pub(crate) fn is_by_a_page(&self, fields: &impl Fields) -> bool {
        self.tokens.is_none()
            && !matches!(fields.look_up(&SEC_FETCH_SITE), PlainField::Absent | PlainField::Once(b"none"))
            && matches!(fields.look_up(&protocol::NO_PAGE), PlainField::Absent)
    }

    /// Whether anybody may ask who is here.
    pub(crate) fn are_none_known(&self) -> bool {
        self.tokens.is_none()
    }

    /// Whether whoever sent these fields is known.
    pub(super) fn knows(&self, fields: &impl Fields) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        matches!(fields.look_up(&PROXY_AUTHORIZATION), PlainField::Once(shown) if tokens.accept(shown))
    }
}

/// The fields of a request, however they were read.
pub(crate) trait Fields {
    /// What they say under this name.
    fn look_up(&self, name: &HeaderName) -> PlainField<'_>;
}

impl Fields for HeaderMap {
    fn look_up(&self, name: &HeaderName) -> PlainField<'_> {
        let mut lines = self.get_all(name).into_iter();
        match (lines.next(), lines.next()) {
            (None, _) => PlainField::Absent,
            (Some(line), None) => PlainField::Once(line.as_bytes()),
            (Some(_), Some(_)) => PlainField::Repeated,
        }
    }
}

impl Fields for PlainRequest<'_> {
    fn look_up(&self, name: &HeaderName) -> PlainField<'_> {
        self.field(name.as_str())
    }
}
