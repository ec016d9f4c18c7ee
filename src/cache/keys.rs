//! Derives the key under which the responses to a request are stored.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::credential::KeyedDigest;
use crate::message::header::list;
use crate::message::nonblocking::PlainRequest;
use crate::message::url::CanonicalUrl;
use crate::policy::{CredentialDigest, Rules, UnknownFields, is_known, selecting};
use crate::store::Key;

/// Maps a URL to its key: see [`HttpCacheBuilder::key`](super::HttpCacheBuilder::key).
pub(super) type KeyHook = Arc<dyn Fn(&CanonicalUrl) -> String + Send + Sync>;

/// Derives keys and the fields that select responses.
pub(crate) struct Keys {
    hook: Option<KeyHook>,
    rules: Rules,
    pub(super) digest: KeyedDigest,
}

impl Keys {
    pub(super) fn new(hook: Option<KeyHook>, rules: &Rules, digest: KeyedDigest) -> Self {
        Self { hook, rules: rules.clone(), digest }
    }

    /// Returns the key of the responses to a request with these fields.
    ///
    /// In private mode each `Authorization` has a partition, which is a private cache for that user. In shared mode
    /// the key is the same for all, and RFC 9111 section 3.5 decides which responses to a request with a credential
    /// are shared.
    pub(crate) fn of(&self, target: &CanonicalUrl, headers: &HeaderMap) -> Key {
        let credential = list::joined(headers, &AUTHORIZATION).filter(|_| !self.rules.is_shared());
        match credential {
            Some(credential) => Key::partitioned(&self.text(target), self.digest.digest(&credential)),
            None => self.public(target),
        }
    }

    /// Returns the key of the responses to requests without a credential.
    pub(crate) fn public(&self, target: &CanonicalUrl) -> Key {
        Key::new(&self.text(target))
    }

    /// Returns the request fields that select the response in addition to those that `Vary` lists.
    pub(crate) fn selecting(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        selecting(headers, &self.rules).cloned().collect()
    }

    /// Whether unknown request fields select responses.
    pub(crate) fn select_by_unknown(&self) -> bool {
        self.rules.unknown_fields == UnknownFields::Vary
    }

    /// Whether a plain request has an unknown field that selects responses.
    pub(crate) fn are_selecting(&self, request: &PlainRequest<'_>) -> bool {
        self.select_by_unknown()
            && request.names().any(|name| {
                HeaderName::from_bytes(name.as_bytes()).map_or(true, |name| !is_known(&name, &self.rules))
            })
    }

    /// Whether a function chooses the keys, which then differ from the URLs.
    pub(crate) fn are_chosen(&self) -> bool {
        self.hook.is_some()
    }

    fn text<'a>(&self, target: &'a CanonicalUrl) -> Cow<'a, str> {
        match &self.hook {
            // A space ends the text of a key, and a partition follows.
            Some(hook) => Cow::Owned(hook(target).replace(' ', "%20")),
            None => Cow::Borrowed(target.as_str()),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}
