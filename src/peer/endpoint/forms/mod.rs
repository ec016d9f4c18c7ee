//! The forms in which a program names the URL, and how it sees URLs in responses. Pure.
//!
//! | form | request target | URLs in the response |
//! |---|---|---|
//! | [`Form::Pool`] | `/proxy?q=<escaped URL>`, from a client of the pool | as the origin sent them |
//! | [`Form::Query`] | the same, from any other program | absolute |
//! | [`Form::Prefix`] | `/fetch/<URL>` | below `/fetch/` |
//! | [`Form::Mirror`] | `/mirror/<name>/<rest of the URL>` | below the mirror, another mirror, or `/fetch/` |
//! | [`Form::Absolute`] | the URL | as the origin sent them |
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`Form`], and the URL that a target names |
//! | `links` | header fields that an origin sets for its own host |
//! | `body_links` | URLs in bodies |

pub(super) mod body_links;
pub(super) mod links;

use std::borrow::Cow;
use std::sync::Arc;

use super::tunnel::Tunnels;
use crate::message::url::{CanonicalUrl, has_scheme, reference};
use crate::peer::mirror::{MIRRORS, Mirror};

/// The path of prefix form.
pub(crate) const FETCH: &str = "/fetch/";

/// The form in which a program asked for a URL.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Pool,
    Query,
    Prefix,
    Mirror(Arc<Mirror>),
    Absolute,
}

/// The mirrors of a peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirrors(Arc<[Arc<Mirror>]>);

impl Mirrors {
    pub(crate) fn new(mirrors: Vec<Mirror>) -> Self {
        Self(mirrors.into_iter().map(Arc::new).collect())
    }

    /// Returns the mirror whose path begins this one, and the rest of the path.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<(&Arc<Mirror>, &'a str)> {
        self.0.iter().find_map(|mirror| Some((mirror, path.strip_prefix(mirror.path())?)))
    }

    /// Returns the path under which a program that uses this mirror sees a URL.
    fn path_of(&self, url: &CanonicalUrl, used: &Mirror) -> String {
        let below = |mirror: &Mirror| {
            // A mirror refuses the URLs that are not below it for every server.
            let rest =
                url.as_str().strip_prefix(mirror.url().as_str()).filter(|_| is_below(url, mirror.url()))?;
            Some(format!("{}{rest}", mirror.path()))
        };
        let found = below(used).or_else(|| self.0.iter().find_map(|mirror| below(mirror)));
        found.unwrap_or_else(|| format!("{FETCH}{url}"))
    }
}

/// The options of the forms for programs that do not know the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwarding {
    pub(crate) mirrors: Mirrors,
    /// Whether browsers may run the pages that they receive in prefix form.
    pub(crate) allow_pages: bool,
    /// Whether this peer is only a gateway, without a share of the pool: it then serves no other peer.
    pub(crate) is_gateway: bool,
    pub(crate) tunnels: Tunnels,
}

/// A URL that a program asks for in one of the forms for programs that do not know the pool.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(super) form: Form,
    pub(super) target: CanonicalUrl,
}

/// Returns the URL that the path and the query of a target name: in prefix form or below a mirror. `None` if the path
/// has neither form.
///
/// # Errors
///
/// The reason in one line if the URL cannot be fetched.
pub(super) fn named(path_and_query: &str, mirrors: &Mirrors) -> Option<Result<Named, String>> {
    if let Some(url) = path_and_query.strip_prefix(FETCH) {
        return Some(match url {
            "" => Err(format!("the URL is missing: request {FETCH} followed by the URL, as it stands")),
            url => CanonicalUrl::parse(&with_colons(url))
                .map(|target| Named { form: Form::Prefix, target })
                .map_err(|invalid| format!("cannot fetch the URL after {FETCH}: {invalid}")),
        });
    }
    if !path_and_query.starts_with(MIRRORS) {
        return None;
    }
    let Some((mirror, rest)) = mirrors.find(path_and_query) else {
        return Some(Err("this peer has no such mirror: its path is /mirror/, a name and /".to_owned()));
    };
    Some(match CanonicalUrl::parse(&format!("{}{rest}", mirror.url())) {
        // Dot segments must not lead out of the mirror, which may have credentials.
        Ok(target) if is_below(&target, mirror.url()) => {
            Ok(Named { form: Form::Mirror(Arc::clone(mirror)), target })
        }
        Ok(_) => Err(format!("the path leads out of the mirror {}", mirror.path())),
        Err(invalid) => Err(format!("cannot fetch the URL below {}: {invalid}", mirror.path())),
    })
}

/// Returns whether a URL is one of a mirror of this URL, also for servers that take an escaped slash or a backslash for a slash, or
/// that remove parameters of path segments.
fn is_below(url: &CanonicalUrl, base: &CanonicalUrl) -> bool {
    if !url.as_str().starts_with(base.as_str()) {
        return false;
    }
    if !may_be_ambiguous(url.path()) {
        return true;
    }
    let path = url.path().replace("%2F", "/").replace("%5C", "/").replace("/..;", "/../;");
    let origin = url.origin();
    CanonicalUrl::parse(&format!("{}{}", origin.as_str().trim_end_matches('/'), path))
        .is_ok_and(|seen| seen.as_str().starts_with(base.as_str()))
}

/// Returns whether some servers may find other dot segments in a path than RFC 3986.
fn may_be_ambiguous(path: &str) -> bool {
    path.contains("..") && (path.contains(';') || path.contains('%') || path.contains('\\'))
}

/// Returns the URL with `:` for `%3A` before its path. Some programs escape the colons of each path that they request, such
/// as pip.
fn with_colons(url: &str) -> Cow<'_, str> {
    let escaped = ["http%3A//", "https%3A//"]
        .into_iter()
        .find(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let Some(scheme) = escaped else { return Cow::Borrowed(url) };
    let rest = &url[scheme.len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.replace("%3A", ":").replace("%3a", ":");
    Cow::Owned(format!("{}//{authority}{path}", scheme.replace("%3A//", ":")))
}

/// Writes the URL that a plain target names, if it can be the key of a stored response that needs no rewriting of its
/// body. Returns whether the form is [`Form::Absolute`].
pub(super) fn plain_url(target: &str, mirrors: &Mirrors, url: &mut Vec<u8>) -> Option<bool> {
    url.clear();
    if let Some(rest) = target.strip_prefix(FETCH) {
        url.extend_from_slice(rest.as_bytes());
        return Some(false);
    }
    if target.starts_with(MIRRORS) {
        let (mirror, rest) = mirrors.find(target)?;
        if !mirror.is_plain() || may_be_ambiguous(rest) {
            return None;
        }
        url.extend_from_slice(mirror.url().as_str().as_bytes());
        url.extend_from_slice(rest.as_bytes());
        return Some(false);
    }
    url.extend_from_slice(target.as_bytes());
    (!target.starts_with('/')).then_some(true)
}

impl Form {
    /// Returns the reference by which the program reaches a URL that an origin named by this value, relative or not.
    fn reference(&self, value: &[u8], target: &CanonicalUrl, mirrors: &Mirrors) -> Seen {
        let text = reference(value);
        let scheme = text.split([':', '/', '?', '#']).next().unwrap_or_default();
        let is_absolute = text[scheme.len()..].starts_with(':');
        let (before, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let Some(url) = target.join(before) else {
            // A relative reference would lead to the peer. Some programs take `http:/path` for relative.
            let is_http = ["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http));
            let has_host = || {
                let rest = text[scheme.len()..].strip_prefix("://");
                rest.is_some_and(|rest| !rest.starts_with(['/', '\\', '?', '#']) && !rest.is_empty())
            };
            let leads_elsewhere = has_scheme(before) && is_absolute && (!is_http || has_host());
            return if leads_elsewhere { Seen::Unchanged } else { Seen::Nowhere };
        };
        let seen = match self {
            Self::Pool | Self::Absolute => return Seen::Unchanged,
            Self::Query if is_absolute => return Seen::Unchanged,
            Self::Query => url.to_string(),
            Self::Prefix => format!("{FETCH}{url}"),
            Self::Mirror(mirror) => mirrors.path_of(&url, mirror),
        };
        Seen::As(format!("{seen}{fragment}"))
    }
}

/// How a program sees a reference of an origin.
#[derive(Debug)]
enum Seen {
    /// As the origin wrote it: it leads to another host than the peer.
    Unchanged,
    /// As this reference.
    As(String),
    /// It has no meaning for the program, which would take it for a reference to the peer.
    Nowhere,
}

#[cfg(test)]
mod tests;
