//! [`Mirror`]: an origin that a peer serves below a path of its own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::url::CanonicalUrl;

/// An origin that a peer serves below `/mirror/<name>/`, for programs that take a base URL: package managers, scripts,
/// browsers.
///
/// The rest of the path and the query belong to the origin's URL as they stand. `Location`, `Content-Location`, `Link`
/// and `Refresh` lead to the mirror again, or below `/fetch/` if they name another origin.
///
/// As text, a mirror is `NAME=URL`, followed by options that are separated by spaces:
///
/// | option | method |
/// |---|---|
/// | `credentials=FILE` | [`credentials_file`](Self::credentials_file) |
/// | `ignore-client-cache-control` | [`ignore_client_cache_control`](Self::ignore_client_cache_control) |
/// | `rewrite=HOST,...` | [`rewrite`](Self::rewrite) |
///
/// How long its responses are fresh is up to the origin and to the [lifetimes](crate::policy::LifetimeRule) of the peers.
///
/// ```
/// use forwardcache::Peer;
/// use forwardcache::peer::Mirror;
///
/// let index: Mirror = "index=https://index.example/ rewrite=files.example".parse()?;
/// assert_eq!(index.path(), "/mirror/index/");
/// let peer = Peer::builder("http://127.0.0.1:3000").mirror(index).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
pub struct Mirror {
    /// `/mirror/<name>/`.
    path: String,
    base: CanonicalUrl,
    credentials: Option<HeaderValue>,
    ignores_cache_control: bool,
    rewritten: Vec<String>,
}

/// The path of all mirrors.
pub(super) const MIRRORS: &str = "/mirror/";

impl Mirror {
    /// Creates a mirror of all URLs that begin with this one. A URL whose path does not end with `/` gets one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the name is empty or has other characters than letters, digits and `-._~`, or if the
    /// URL is not an absolute `http` or `https` URL without a query.
    pub fn new(name: &str, url: &str) -> Result<Self> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_valid) || name.bytes().all(|byte| byte == b'.') {
            let text = format!("invalid name of a mirror {name:?}: use letters, digits and -._~");
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let invalid = |reason: &dyn fmt::Display| {
            Error::new(ErrorKind::BadOption, format!("invalid URL of the mirror {name}: {reason}"))
        };
        let base = CanonicalUrl::parse(url).map_err(|reason| invalid(&reason))?;
        if base.query().is_some() || url.contains('#') {
            return Err(invalid(&"a query or a fragment is not allowed"));
        }
        let base = match base.as_str() {
            whole if whole.ends_with('/') => base,
            whole => CanonicalUrl::parse(&format!("{whole}/")).map_err(|reason| invalid(&reason))?,
        };
        let path = format!("{MIRRORS}{name}/");
        Ok(Self { path, base, credentials: None, ignores_cache_control: false, rewritten: Vec::new() })
    }

    /// Reads the credentials for the origin from a file with one line, `USER:PASSWORD` for the scheme `Basic` or
    /// `Bearer TOKEN`. They replace the `Authorization` of clients, which need none of their own. Default: the
    /// `Authorization` of the client.
    ///
    /// In private mode, responses to requests with credentials are stored separately for each `Authorization`. In shared
    /// mode they are stored only if the origin allows it (RFC 9111 section 3.5).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the file cannot be read or has another form. The error does not quote the credentials.
    pub fn credentials_file(mut self, file: impl Into<PathBuf>) -> Result<Self> {
        self.credentials = Some(credentials(&file.into())?);
        Ok(self)
    }

    /// Sets whether `Cache-Control` and `Pragma` of clients are ignored. Some programs demand that each response is
    /// validated, such as pip and apt for indexes. With this option, a fresh response is served without the origin, and
    /// a stale one if the origin fails. Default: no.
    #[must_use]
    pub fn ignore_client_cache_control(mut self, ignore: bool) -> Self {
        self.ignores_cache_control = ignore;
        self
    }

    /// Rewrites URLs in bodies: those of this mirror and those of the named hosts, which lead to a mirror or below
    /// `/fetch/` then. In HTML, so do links that begin with one `/`. Use this if an index names its files in one of these ways.
    /// Default: bodies are not changed.
    ///
    /// Rewritten are HTML and JSON of up to 16 MiB, as they are or compressed with gzip, unless the response forbids it
    /// (`Cache-Control: no-transform`) or would become longer than 32 MiB. A rewritten response has a weak `ETag` of its own. The stored response does not
    /// change. This mirror answers requests for ranges with the whole response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if a host is not a valid host, optionally with a port.
    pub fn rewrite(mut self, hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let own = self.base.authority().to_owned();
        let others = hosts.into_iter().map(|host| {
            let host = host.as_ref();
            let url = CanonicalUrl::parse(&format!("https://{host}/")).ok();
            let url = url.filter(|url| url.path() == "/" && url.query().is_none() && !host.is_empty());
            let url = url.ok_or_else(|| {
                let text = format!("invalid host {host:?} in rewrite: specify a host, such as files.example");
                Error::new(ErrorKind::BadOption, text)
            })?;
            Ok(url.authority().to_owned())
        });
        self.rewritten = std::iter::once(Ok(own)).chain(others).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Returns the path of the mirror: `/mirror/<name>/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the URL with which the URLs of this mirror begin. It ends with `/`.
    #[must_use]
    pub fn url(&self) -> &CanonicalUrl {
        &self.base
    }

    pub(super) fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }

    pub(super) fn ignores_cache_control(&self) -> bool {
        self.ignores_cache_control
    }

    /// Returns the authorities whose URLs are rewritten in bodies. Empty if bodies are not changed.
    pub(super) fn rewritten(&self) -> &[String] {
        &self.rewritten
    }

    /// Returns whether a response that is stored for a URL of this mirror can be served without further changes.
    pub(super) fn is_plain(&self) -> bool {
        self.credentials.is_none() && self.rewritten.is_empty()
    }
}

fn credentials(file: &Path) -> Result<HeaderValue> {
    let bad = |text: String| Error::new(ErrorKind::BadOption, text);
    let shown = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| bad(format!("cannot read the credentials in {shown}")).with_source(error))?;
    let line = text.trim();
    let value = match line.strip_prefix("Bearer ") {
        Some(token) => Some(format!("Bearer {}", token.trim())),
        None => line.contains(':').then(|| format!("Basic {}", STANDARD.encode(line))),
    };
    let value =
        value.filter(|_| line.lines().count() == 1).and_then(|value| HeaderValue::try_from(value).ok());
    let mut value = value
        .ok_or_else(|| bad(format!("invalid credentials in {shown}: write USER:PASSWORD or Bearer TOKEN")))?;
    value.set_sensitive(true);
    Ok(value)
}

impl FromStr for Mirror {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |text: String| Error::new(ErrorKind::BadOption, text);
        let mut words = text.split_ascii_whitespace();
        let (name, url) = words.next().and_then(|word| word.split_once('=')).ok_or_else(|| {
            bad(format!("invalid mirror {text:?}: specify NAME=URL, such as pypi=https://pypi.org/"))
        })?;
        let mut mirror = Self::new(name, url)?;
        for word in words {
            mirror = match word.split_once('=') {
                Some(("credentials", file)) => mirror.credentials_file(file)?,
                Some(("rewrite", hosts)) => {
                    mirror.rewrite(hosts.split(',').filter(|host| !host.is_empty()))?
                }
                None if word == "ignore-client-cache-control" => mirror.ignore_client_cache_control(true),
                _ => {
                    let text = format!(
                        "invalid option {word:?} of the mirror {name}: specify credentials=FILE, rewrite=HOST,... or \
                         ignore-client-cache-control"
                    );
                    return Err(bad(text));
                }
            };
        }
        Ok(mirror)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("path", &self.path)
            .field("url", &self.base)
            .field("has_credentials", &self.credentials.is_some())
            .field("ignores_cache_control", &self.ignores_cache_control)
            .field("rewritten", &self.rewritten)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_name_a_url_and_options() {
        let mirror: Mirror =
            "a-1=HTTP://H:80/b rewrite=Files.example,x:8080 ignore-client-cache-control".parse().unwrap();
        assert_eq!((mirror.path(), mirror.url().as_str()), ("/mirror/a-1/", "http://h/b/"));
        assert_eq!(mirror.rewritten(), ["h", "files.example", "x:8080"]);
        assert!(mirror.ignores_cache_control() && !mirror.is_plain());
        let mirror: Mirror = "a=http://h rewrite=".parse().unwrap();
        assert_eq!((mirror.url().as_str(), mirror.rewritten()), ("http://h/", &["h".to_owned()][..]));
        assert!("a=http://h".parse::<Mirror>().unwrap().is_plain());
    }

    #[test]
    fn invalid_text_names_its_fault() {
        for (text, words) in [
            ("", "NAME=URL"),
            ("name", "NAME=URL"),
            ("=http://h/", "name of a mirror"),
            ("a/b=http://h/", "name of a mirror"),
            ("..=http://h/", "name of a mirror"),
            ("a=ftp://h/", "URL of the mirror a"),
            ("a=http://user@h/", "URL of the mirror a"),
            ("a=http://h/?q", "query"),
            ("a=http://h/#f", "fragment"),
            ("a=http://h/ rewrites=x", "\"rewrites=x\""),
            ("a=http://h/ ignore", "\"ignore\""),
            ("a=http://h/ rewrite=x/y", "\"x/y\""),
            ("a=http://h/ rewrite=x@y", "\"x@y\""),
            ("a=http://h/ credentials=/does/not/exist", "/does/not/exist"),
        ] {
            let error = text.parse::<Mirror>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption, "{text}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_come_from_a_file_and_stay_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            Mirror::new("a", "http://h/").unwrap().credentials_file(&file)
        };
        for (text, value) in
            [("user:pass:word\n", "Basic dXNlcjpwYXNzOndvcmQ="), ("Bearer secret\n", "Bearer secret")]
        {
            let mirror = read(text).unwrap();
            assert_eq!(mirror.credentials().unwrap(), value);
            assert!(!format!("{mirror:?}").contains("secret") && !mirror.is_plain());
        }
        for text in ["", "secret", "a:b\nc:secret", "Bearer \u{7f}secret"] {
            let error = read(text).unwrap_err();
            assert!(!error.to_string().contains("secret") && error.kind() == ErrorKind::BadOption, "{text}");
        }
    }
}
