//! Which clients may use a peer, and which origins may be fetched.

use http::header::{AUTHORIZATION, ORIGIN, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};
use parking_lot::RwLock;

use crate::base::token::Tokens;
use crate::message::nonblocking::{PlainField, PlainRequest};
use crate::origin::access::{OriginRules, UrlParts};
use crate::pool::protocol;

pub(super) static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Decides which requests a peer serves.
#[derive(Debug)]
pub(crate) struct AccessRules {
    rights: Rights,
    origins: RwLock<OriginRules>,
    /// The tokens that this peer shows to other peers.
    shown: Vec<Tokens>,
    /// Whether programs that see all origins under the host of this peer receive `Set-Cookie`.
    pub(super) pass_cookies: bool,
}

/// The rights that tokens grant.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// Tokens for reading, and for all other rights unless there are operator tokens. Without these tokens, every client
    /// may read.
    pub(crate) tokens: Option<Tokens>,
    /// Tokens for all rights. If there are any, purging and leaving require one of them.
    pub(crate) operator_tokens: Option<Tokens>,
    /// Whether every client may purge if there are no tokens.
    pub(crate) purge_by_anyone: bool,
}

/// The result of checking the token of a request for one right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The token grants the right.
    Sufficient,
    /// The token grants only other rights.
    Insufficient,
    /// A token is required, but the request has none, an unknown one, or several.
    Unknown,
    /// No token is required.
    NotNeeded,
}

impl AccessRules {
    pub(crate) fn new(rights: Rights, origins: OriginRules) -> Self {
        Self { rights, origins: RwLock::new(origins), shown: Vec::new(), pass_cookies: false }
    }

    /// Sets whether clients other than those of this crate receive `Set-Cookie`. Default: no.
    pub(crate) fn with_pass_cookies(self, pass_cookies: bool) -> Self {
        Self { pass_cookies, ..self }
    }

    /// Sets the tokens that this peer shows to other peers. Default: none.
    pub(crate) fn with_shown(self, shown: Vec<Tokens>) -> Self {
        Self { shown, ..self }
    }

    /// Returns the current rules for origins.
    pub(crate) fn origins(&self) -> OriginRules {
        self.origins.read().clone()
    }

    /// Replaces the rules for origins.
    pub(crate) fn set_origins(&self, rules: OriginRules) {
        let previous = std::mem::replace(&mut *self.origins.write(), rules);
        drop(previous);
    }

    /// Returns whether the URL may be fetched, and stored responses for it served.
    pub(super) fn allows(&self, asked: &UrlParts<'_>) -> bool {
        self.origins.read().may_request(asked).is_ok()
    }

    /// Returns whether a web page in a browser sent the request to a peer without tokens. Such a peer refuses these
    /// requests: for the browser, all responses of the peer have the same origin, so the page could read them.
    ///
    /// Browsers send `Sec-Fetch-Site`, which a page cannot set and which is `none` for a URL that the user typed, but they
    /// send it only over TLS or to loopback addresses. They send `Origin` with every request that is more than a plain
    /// GET: requests whose response the page can read, uploads, preflights, WebSockets. A program that forwards header
    /// fields of a browser adds another field that a page cannot set.
    pub(crate) fn is_from_web_page(&self, fields: &impl Fields) -> bool {
        self.is_open() && is_caused_by_web_page(fields)
    }

    /// Returns whether every client may read.
    pub(crate) fn is_open(&self) -> bool {
        self.rights.tokens.is_none()
    }

    /// Returns whether every client may purge if purging requires no token.
    pub(super) fn purge_by_anyone(&self) -> bool {
        self.rights.purge_by_anyone
    }

    /// Returns whether a request with these header fields may read.
    pub(super) fn may_read(&self, fields: &impl Fields) -> bool {
        self.is_open() || self.has_token(fields, &PROXY_AUTHORIZATION)
    }

    /// Checks the token of a request for the right to purge and to announce that a peer leaves.
    pub(super) fn operator_credential(&self, fields: &impl Fields) -> Credential {
        let Rights { tokens, operator_tokens, .. } = &self.rights;
        if tokens.is_none() && operator_tokens.is_none() {
            return Credential::NotNeeded;
        }
        let required = if operator_tokens.is_some() { operator_tokens } else { tokens };
        if shows_token(fields, &PROXY_AUTHORIZATION, [required, &None]) {
            Credential::Sufficient
        } else if shows_token(fields, &PROXY_AUTHORIZATION, [tokens, &None]) {
            Credential::Insufficient
        } else {
            Credential::Unknown
        }
    }

    /// Returns whether `Authorization` shows a token of the pool, which no origin may see: one that this peer accepts, or one that
    /// it shows to other peers. A gateway needs none, but a program may show it one that was meant for a peer.
    fn is_for_peer(&self, headers: &HeaderMap) -> bool {
        let Rights { tokens, operator_tokens, .. } = &self.rights;
        let mut lines = headers.get_all(AUTHORIZATION).into_iter();
        lines.any(|line| {
            let sets = self.shown.iter().chain(tokens).chain(operator_tokens);
            sets.fold(false, |found, tokens| found | tokens.accept(line.as_bytes()))
        })
    }

    /// Removes `Authorization` if it shows a token of the pool.
    pub(super) fn remove_own_token(&self, headers: &mut HeaderMap) {
        if self.is_for_peer(headers) {
            headers.remove(AUTHORIZATION);
        }
    }

    /// Returns whether the field with this name contains a token that grants the right to read.
    pub(super) fn has_token(&self, fields: &impl Fields, name: &HeaderName) -> bool {
        shows_token(fields, name, [&self.rights.tokens, &self.rights.operator_tokens])
    }
}

/// Returns whether a web page in a browser caused the request, as far as the browser states it.
pub(super) fn is_caused_by_web_page(fields: &impl Fields) -> bool {
    let is_of_browser =
        !matches!(fields.look_up(&SEC_FETCH_SITE), PlainField::Absent | PlainField::Once(b"none"))
            || !matches!(fields.look_up(&ORIGIN), PlainField::Absent);
    is_of_browser && matches!(fields.look_up(&protocol::NOT_A_PAGE), PlainField::Absent)
}

/// Returns whether the field with this name contains a token of one of the sets.
fn shows_token(fields: &impl Fields, name: &HeaderName, sets: [&Option<Tokens>; 2]) -> bool {
    let PlainField::Once(token) = fields.look_up(name) else { return false };
    // Compare with both sets in any case, so that the time reveals nothing about the tokens.
    sets.into_iter().flatten().fold(false, |found, tokens| found | tokens.accept(token))
}

/// The header fields of a request, in any representation.
pub(crate) trait Fields {
    /// Returns the value of the header field with this name.
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
