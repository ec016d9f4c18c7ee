//! Who may ask a peer, and for what.

use http::header::{ORIGIN, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};
use parking_lot::RwLock;

use crate::base::token::Tokens;
use crate::message::nonblocking::{PlainField, PlainRequest};
use crate::origin::access::{Asked, OriginRules};
use crate::pool::protocol;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which requests a peer answers.
#[derive(Debug)]
pub(crate) struct Allowed {
    rights: Rights,
    origins: RwLock<OriginRules>,
    /// Whether programs that see all origins at the host of the peer are given their cookies.
    pub(super) pass_cookies: bool,
}

/// Which tokens give which right.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// For reading, and for everything else as long as there are no operator tokens. Without any, every client may read.
    pub(crate) tokens: Option<Tokens>,
    /// For everything. Where there are some, purging and leaving need one.
    pub(crate) operator_tokens: Option<Tokens>,
    /// Whether every client may purge where there are no tokens.
    pub(crate) purge_by_anyone: bool,
}

/// Whether a request shows what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// It shows a token that gives the right.
    Sufficient,
    /// It shows a token that gives another right.
    Insufficient,
    /// It shows no token, none that is known, or several, and a token is needed.
    Unknown,
    /// No token is needed.
    NotNeeded,
}

impl Allowed {
    pub(crate) fn new(rights: Rights, origins: OriginRules) -> Self {
        Self { rights, origins: RwLock::new(origins), pass_cookies: false }
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

    /// Whether a web page in a browser sent these fields to a peer that every client may read from. A response that is
    /// fetched for a page is of one origin with all other responses of this peer, and the page could read them.
    ///
    /// Browsers say so by `Sec-Fetch-Site`, which no page can set and which is `none` where a user typed the URL; but
    /// only to loopback and over TLS. `Origin` goes along with everything beyond a plain GET: requests that a page could
    /// read, uploads, preflights, WebSockets. A program that passes on what a browser sent says so by another field
    /// that no page can set.
    pub(crate) fn is_by_a_page(&self, fields: &impl Fields) -> bool {
        let is_by_a_browser = || {
            !matches!(fields.look_up(&SEC_FETCH_SITE), PlainField::Absent | PlainField::Once(b"none"))
                || !matches!(fields.look_up(&ORIGIN), PlainField::Absent)
        };
        self.is_open()
            && is_by_a_browser()
            && matches!(fields.look_up(&protocol::NO_PAGE), PlainField::Absent)
    }

    /// Whether every client may read.
    pub(crate) fn is_open(&self) -> bool {
        self.rights.tokens.is_none()
    }

    /// Whether every client may purge where no token is needed for it.
    pub(super) fn purge_by_anyone(&self) -> bool {
        self.rights.purge_by_anyone
    }

    /// Whether these fields give the right to read.
    pub(super) fn may_read(&self, fields: &impl Fields) -> bool {
        self.is_open() || self.shows(fields, |rights| [&rights.tokens, &rights.operator_tokens])
    }

    /// Whether these fields give the right to purge, and to take peers out of the pool.
    pub(super) fn operates(&self, fields: &impl Fields) -> Credential {
        let Rights { tokens, operator_tokens, .. } = &self.rights;
        if tokens.is_none() && operator_tokens.is_none() {
            return Credential::NotNeeded;
        }
        let needed = if operator_tokens.is_some() { operator_tokens } else { tokens };
        if self.shows(fields, |_| [needed, &None]) {
            Credential::Sufficient
        } else if self.shows(fields, |rights| [&rights.tokens, &None]) {
            Credential::Insufficient
        } else {
            Credential::Unknown
        }
    }

    fn shows<'a>(
        &'a self,
        fields: &impl Fields,
        of: impl FnOnce(&'a Rights) -> [&'a Option<Tokens>; 2],
    ) -> bool {
        let PlainField::Once(shown) = fields.look_up(&PROXY_AUTHORIZATION) else { return false };
        // Both are compared, so that the time says nothing.
        of(&self.rights).into_iter().flatten().fold(false, |found, tokens| found | tokens.accept(shown))
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
