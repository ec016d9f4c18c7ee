//! The shared secret that authenticates clients to a pool: a bearer token (RFC 6750) in `Proxy-Authorization` (RFC 9110
//! section 11.7.2). The peer that checks the field removes it, so origins never see it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use crate::base::error::{Error, ErrorKind, Result};

/// The shared secrets of a pool: one token, or two while it is being changed.
///
/// A peer accepts each of them; a client sends the first. They are compared in constant time and never appear in logs,
/// errors or `Debug` output. A token has 16 to 256 characters: letters, digits, `-._~+/`, and `=` at its end.
///
/// To change a token without an interruption:
///
/// 1. Append the new token to every peer's file, and reload the files.
/// 2. Move the new token to the first line everywhere, and reload.
/// 3. Remove the old token, and reload.
///
/// Clones share the tokens: reloading one reloads all.
///
/// ```
/// use forwardcache::pool::Tokens;
/// use forwardcache::Client;
///
/// let tokens = Tokens::new(["correct-horse-battery"])?;
/// let client = Client::builder().pool(["http://10.0.0.1:3000"]).tokens(tokens.clone()).build()?;
/// assert!(!format!("{tokens:?} {client:?}").contains("horse"));
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    file: Option<PathBuf>,
    /// The values of the header field, including the scheme.
    tokens: RwLock<Vec<HeaderValue>>,
}

/// The maximum number of accepted tokens.
const MAX_TOKENS: usize = 2;

const SCHEME: &[u8] = b"bearer ";

/// The scheme of programs that know only user names and passwords (RFC 7617).
const BASIC: &[u8] = b"basic ";

impl Tokens {
    /// Creates one or two tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if `tokens` is empty or has more than two members, or if one is too short, too long or has
    /// invalid characters. The error does not quote the tokens.
    pub fn new(tokens: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let tokens = checked(tokens, "a token")?;
        Ok(Self { inner: Arc::new(Inner { file: None, tokens: RwLock::new(tokens) }) })
    }

    /// Reads tokens from a file with one token a line. Empty lines are ignored.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does, and if the file cannot be read.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let tokens = read(&path)?;
        Ok(Self { inner: Arc::new(Inner { file: Some(path), tokens: RwLock::new(tokens) }) })
    }

    /// Reads the file again. Does nothing if the tokens do not come from a file.
    ///
    /// # Errors
    ///
    /// Fails as [`from_file`](Self::from_file) does; the tokens do not change then.
    pub fn reload(&self) -> Result<()> {
        let Some(path) = &self.inner.file else { return Ok(()) };
        let tokens = read(path)?;
        let previous = std::mem::replace(&mut *self.inner.tokens.write(), tokens);
        drop(previous);
        Ok(())
    }

    /// Returns whether a `Proxy-Authorization` value contains one of the tokens: as a bearer token, or as the password of
    /// any user in the scheme `Basic`. The comparison takes constant time, so its duration does not reveal how much of a
    /// token is correct.
    pub(crate) fn accept(&self, shown: &[u8]) -> bool {
        let has_scheme =
            |scheme: &[u8]| shown.get(..scheme.len()).is_some_and(|shown| shown.eq_ignore_ascii_case(scheme));
        if has_scheme(BASIC) {
            return basic_password(&shown[BASIC.len()..]).is_some_and(|password| self.contain(&password));
        }
        let secret = shown.get(SCHEME.len()..).unwrap_or_default().trim_ascii();
        has_scheme(SCHEME) & self.contain(secret)
    }

    fn contain(&self, secret: &[u8]) -> bool {
        let tokens = self.inner.tokens.read();
        let found = tokens.iter().fold(subtle::Choice::from(0), |found, token| {
            found | token.as_bytes()[SCHEME.len()..].ct_eq(secret)
        });
        found.into()
    }

    /// Returns the first token as the value of `Proxy-Authorization`, or of `Authorization` at the admin address, marked as
    /// sensitive. `None` if a file without tokens was loaded.
    #[must_use]
    pub fn credential(&self) -> Option<HeaderValue> {
        self.inner.tokens.read().first().cloned()
    }
}

/// Returns the password of credentials in the scheme `Basic`: the text after the first colon.
fn basic_password(credentials: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = STANDARD.decode(credentials.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(colon + 1))
}

fn read(path: &PathBuf) -> Result<Vec<HeaderValue>> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::BadOption, format!("cannot read the tokens in {shown}")).with_source(error)
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    checked(lines, &format!("a token in {shown}"))
}

fn checked(tokens: impl IntoIterator<Item = impl AsRef<str>>, what: &str) -> Result<Vec<HeaderValue>> {
    let bad = |text: String| Error::new(ErrorKind::BadOption, text);
    let tokens: Vec<HeaderValue> = tokens
        .into_iter()
        .map(|token| {
            field(token.as_ref()).ok_or_else(|| {
                let form = "must have 16 to 256 letters, digits or -._~+/, and = only at its end";
                bad(format!("{what} {form}"))
            })
        })
        .collect::<Result<_>>()?;
    match tokens.len() {
        1..=MAX_TOKENS => Ok(tokens),
        0 => Err(bad(format!("{what} is missing"))),
        count => Err(bad(format!("{what}: at most {MAX_TOKENS} tokens are allowed, not {count}"))),
    }
}

fn field(text: &str) -> Option<HeaderValue> {
    let bare = text.trim_end_matches('=');
    let is_well_formed = (16..=256).contains(&text.len())
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
    let mut field = HeaderValue::try_from(format!("Bearer {text}")).ok().filter(|_| is_well_formed)?;
    field.set_sensitive(true);
    Some(field)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("file", &self.inner.file)
            .field("count", &self.inner.tokens.read().len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
