//! Names the rule that decided whether a stored response answers a request, and its RFC section.

use std::fmt;

use super::reuse::Reuse;
use super::rules::Rules;
use super::validity::{LifetimeSource, Validity};
use crate::base::clock::Moment;
use crate::message::header::cache_control::{RequestDirectives, ResponseDirectives};

/// The rule that decided how a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The method is not GET or HEAD; only these are answered from the store.
    Method,
    /// The request has `If-Match` or `If-Unmodified-Since`, which only the origin can evaluate.
    OriginCondition,
    /// No response is stored for the URL.
    NothingStored,
    /// The stored responses have other values of the request fields that `Vary` names.
    NotSelected,
    /// The stored response is fresh.
    Fresh,
    /// The stored response is stale.
    Stale,
    /// The stored response is stale and may be served while it is refreshed.
    StaleWhileRevalidate,
    /// The stored response is stale, and the request accepts that with `max-stale`.
    RequestMaxStale,
    /// The request has `no-cache`.
    RequestNoCache,
    /// The stored response is older than the request's `max-age`.
    RequestMaxAge,
    /// The stored response stays fresh for less than the request's `min-fresh`.
    RequestMinFresh,
    /// The stored response is fresh and immutable, so the request's `max-age` does not count.
    Immutable,
    /// A directive of the response forbids reuse.
    Response(Flag),
    /// Only a part is stored, and the request needs bytes beyond it.
    Partial,
}

impl Rule {
    /// Returns the RFC section, such as `RFC 9111 section 4.2`.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::Method | Self::NothingStored => "RFC 9111 section 4",
            Self::OriginCondition => "RFC 9110 section 13.1",
            Self::NotSelected => "RFC 9111 section 4.1",
            Self::Fresh => "RFC 9111 section 4.2",
            Self::Stale => "RFC 9111 section 4.2.4",
            Self::StaleWhileRevalidate => "RFC 5861 section 3",
            Self::RequestMaxAge => "RFC 9111 section 5.2.1.1",
            Self::RequestMaxStale => "RFC 9111 section 5.2.1.2",
            Self::RequestMinFresh => "RFC 9111 section 5.2.1.3",
            Self::RequestNoCache => "RFC 9111 section 5.2.1.4",
            Self::Immutable => "RFC 8246 section 2",
            Self::Response(flag) => flag.clause(),
            Self::Partial => "RFC 9111 section 3.3",
        }
    }

    /// Returns the rule behind a decision of [`reuse`](super::reuse::reuse).
    pub(crate) fn behind(
        decision: Reuse,
        validity: &Validity,
        flags: &[Flag],
        request: &RequestDirectives,
        now: impl Into<Moment>,
    ) -> Self {
        let now = now.into();
        let is_too_old = request.max_age.is_some_and(|max_age| validity.age(now) > max_age);
        let is_too_short = request.min_fresh.is_some_and(|min_fresh| validity.remaining(now) < min_fresh);
        match decision {
            Reuse::Fresh if is_too_old => Self::Immutable,
            Reuse::Fresh => Self::Fresh,
            Reuse::StaleAccepted => Self::RequestMaxStale,
            Reuse::StaleWhileRevalidate => Self::StaleWhileRevalidate,
            Reuse::Validate(_) if validity.no_cache => Self::Response(Flag::NoCache),
            Reuse::Validate(_) if request.no_cache => Self::RequestNoCache,
            Reuse::Validate(_) if validity.is_fresh(now) && is_too_short => Self::RequestMinFresh,
            Reuse::Validate(_) if validity.is_fresh(now) => Self::RequestMaxAge,
            // The directive forbids serving stale, even if another rule would allow it.
            Reuse::Validate(_) if validity.must_revalidate => {
                let forbids = flags.iter().copied().find(|flag| flag.forbids_stale());
                Self::Response(forbids.unwrap_or(Flag::MustRevalidate))
            }
            Reuse::Validate(_) => Self::Stale,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Method => "only GET and HEAD are answered from the store",
            Self::OriginCondition => "If-Match and If-Unmodified-Since ask for the origin's state",
            Self::NothingStored => "nothing is stored under this URL",
            Self::NotSelected => "the stored responses are for other values of the request fields in Vary",
            Self::Fresh => "the stored response is fresh",
            Self::Stale => "the stored response is stale",
            Self::StaleWhileRevalidate => {
                "the stored response is stale and may be served while it is refreshed"
            }
            Self::RequestMaxStale => "the stored response is stale, and the request accepts that (max-stale)",
            Self::RequestNoCache => "the request has no-cache",
            Self::RequestMaxAge => "the stored response is older than the request's max-age",
            Self::RequestMinFresh => "the stored response stays fresh for less than the request's min-fresh",
            Self::Immutable => {
                "the stored response is fresh and immutable, so the request's max-age does not count"
            }
            Self::Partial => "only a part is stored, and the request needs bytes beyond it",
            Self::Response(flag) if flag.forbids_stale() => {
                return write!(f, "the stored response is stale and has {flag}");
            }
            Self::Response(flag) => return write!(f, "the stored response has {flag}"),
        };
        f.write_str(text)
    }
}

/// A directive without a number in the `Cache-Control` of a stored response that counts in this cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flag {
    /// `no-cache`: the response is never reused without successful validation.
    NoCache,
    /// `must-revalidate`: the response is never served stale.
    MustRevalidate,
    /// `proxy-revalidate`: like `must-revalidate`, in shared mode.
    ProxyRevalidate,
    /// `s-maxage`, which in shared mode implies `proxy-revalidate`.
    SMaxage,
    /// `private`: the response was generated for one user.
    Private,
    /// `public`: any cache may store the response.
    Public,
    /// `immutable`: the response does not change while it is fresh.
    Immutable,
}

impl Flag {
    /// Returns the name of the directive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCache => "no-cache",
            Self::MustRevalidate => "must-revalidate",
            Self::ProxyRevalidate => "proxy-revalidate",
            Self::SMaxage => "s-maxage",
            Self::Private => "private",
            Self::Public => "public",
            Self::Immutable => "immutable",
        }
    }

    /// Returns the RFC section, such as `RFC 9111 section 5.2.2.4`.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::NoCache => "RFC 9111 section 5.2.2.4",
            Self::MustRevalidate => "RFC 9111 section 5.2.2.2",
            Self::ProxyRevalidate => "RFC 9111 section 5.2.2.8",
            Self::SMaxage => "RFC 9111 section 5.2.2.10",
            Self::Private => "RFC 9111 section 5.2.2.7",
            Self::Public => "RFC 9111 section 5.2.2.9",
            Self::Immutable => "RFC 8246 section 2",
        }
    }

    const fn forbids_stale(self) -> bool {
        matches!(self, Self::MustRevalidate | Self::ProxyRevalidate | Self::SMaxage)
    }

    /// Returns the flags of a stored response.
    pub(crate) fn of(validity: &Validity, directives: &ResponseDirectives, rules: &Rules) -> Vec<Self> {
        let shared = rules.is_shared();
        let all = [
            (Self::NoCache, validity.no_cache),
            (Self::MustRevalidate, directives.must_revalidate),
            (Self::ProxyRevalidate, shared && directives.proxy_revalidate),
            (Self::SMaxage, shared && directives.s_maxage.is_some()),
            (Self::Private, directives.private),
            (Self::Public, directives.public),
            (Self::Immutable, validity.immutable),
        ];
        all.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect()
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl LifetimeSource {
    /// Returns the RFC section, such as `RFC 9111 section 5.2.2.1`.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::SMaxage => "RFC 9111 section 5.2.2.10",
            Self::MaxAge => "RFC 9111 section 5.2.2.1",
            Self::Expires => "RFC 9111 section 5.3",
            Self::Heuristic => "RFC 9111 section 4.2.2",
            Self::Rule | Self::Purge | Self::None => "RFC 9111 section 4.2.1",
        }
    }
}

impl fmt::Display for LifetimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "Expires",
            Self::Heuristic => "heuristic from Last-Modified",
            Self::Rule => "a rule of the operator",
            Self::Purge => "a soft purge",
            Self::None => "no lifetime is specified",
        })
    }
}

#[cfg(test)]
mod tests;
