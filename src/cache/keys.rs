//! Under which key the answers to a request are stored.

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

/// What of a URL is the key: see [`HttpCacheBuilder::key`](super::HttpCacheBuilder::key).
pub(super) type KeyHook = Arc<dyn Fn(&CanonicalUrl) -> String + Send + Sync>;

/// How keys are made.
pub(crate) struct Keys {
    hook: Option<KeyHook>,
    rules: Rules,
    pub(super) digest: KeyedDigest,
}

impl Keys {
    pub(super) fn new(hook: Option<KeyHook>, rules: &Rules, digest: KeyedDigest) -> Self {
        Self { hook, rules: rules.clone(), digest }
    }

    /// The key under which the answers to a request with these fields are stored.
    ///
    /// In private mode each credential has a partition of its own: a private cache for everyone who shows
    /// another `Authorization`. In shared mode the rules of RFC 9111 section 3.5 say which answers to a
    /// request with a credential are for all.
    pub(crate) fn of(&self, target: &CanonicalUrl, headers: &HeaderMap) -> Key {
        let credential = list::joined(headers, &AUTHORIZATION).filter(|_| !self.rules.is_shared());
        match credential {
            Some(credential) => Key::partitioned(&self.text(target), self.digest.digest(&credential)),
            None => self.public(target),
        }
    }

    /// The key of what is answered to those who show no credential.
    pub(crate) fn public(&self, target: &CanonicalUrl) -> Key {
        Key::new(&self.text(target))
    }

    /// The fields that select the answer to such a request beside those that `Vary` names.
    pub(crate) fn selecting(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        selecting(headers, &self.rules).cloned().collect()
    }

    /// Whether fields that nobody knows select answers.
    pub(crate) fn select_by_unknown(&self) -> bool {
        self.rules.unknown_fields == UnknownFields::Select
    }

    /// Whether a plain request has such a field.
    pub(crate) fn are_selecting(&self, request: &PlainRequest<'_>) -> bool {
        self.select_by_unknown()
            && request.names().any(|name| {
                HeaderName::from_bytes(name.as_bytes()).map_or(true, |name| !is_known(&name, &self.rules))
            })
    }

    /// Whether they are others than the URLs.
    pub(crate) fn are_chosen(&self) -> bool {
        self.hook.is_some()
    }

    fn text<'a>(&self, target: &'a CanonicalUrl) -> Cow<'a, str> {
        match &self.hook {
            // A space would end the text where a partition begins.
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
