//! By what a pool knows who may ask: a shared secret, shown in `Proxy-Authorization` (RFC 9110 section 11.7.2)
//! as a bearer token (RFC 6750). The field ends at the peer that checks it, so no origin ever sees it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use crate::base::error::{Error, ErrorKind, Result};

/// The secrets by which a pool knows who may ask it: one, and during a change a second.
///
/// All of them are accepted; the first is what is shown to peers. They are compared in constant time, and
/// stand in no log, no error and no debug form. A token has 16 to 256 characters: letters, digits,
/// `-._~+/`, and `=` at its end.
///
/// To change a token without an interruption: write the new one behind the old one and let every peer read
/// the file anew, then put the new one first everywhere, then take the old one out.
///
/// Cloning is cheap and gives the same tokens: what is reloaded by one is reloaded for all.
///
/// ```
/// use forwardcache::{Client, Tokens};
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
    /// Each as it stands in the field.
    tokens: RwLock<Vec<HeaderValue>>,
}

/// How many are accepted at a time.
const MOST: usize = 2;

const SCHEME: &[u8] = b"bearer ";

impl Tokens {
    /// One or two tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] when there is none, when there are more, or when one is too short or has
    /// characters that a token cannot have. The error does not show them.
    pub fn new(tokens: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let tokens = checked(tokens, "a token")?;
        Ok(Self { inner: Arc::new(Inner { file: None, tokens: RwLock::new(tokens) }) })
    }

    /// From a file with one token a line; empty lines do not count.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when the file cannot be read.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let tokens = read(&path)?;
        Ok(Self { inner: Arc::new(Inner { file: Some(path), tokens: RwLock::new(tokens) }) })
    }

    /// Reads the file anew; tokens that came from no file stay as they are.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file); nothing is changed then.
    pub fn reload(&self) -> Result<()> {
        let Some(path) = &self.inner.file else { return Ok(()) };
        let tokens = read(path)?;
        let former = std::mem::replace(&mut *self.inner.tokens.write(), tokens);
        drop(former);
        Ok(())
    }

    /// Whether this field value shows one of them. How long it takes says nothing about how much of a
    /// token was right.
    pub(crate) fn accept(&self, shown: &[u8]) -> bool {
        let is_bearer = shown.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let secret = shown.get(SCHEME.len()..).unwrap_or_default().trim_ascii();
        let tokens = self.inner.tokens.read();
        let found = tokens.iter().fold(subtle::Choice::from(0), |found, token| {
            found | token.as_bytes()[SCHEME.len()..].ct_eq(secret)
        });
        is_bearer & bool::from(found)
    }

    /// The field value that shows the first of them.
    pub(crate) fn credential(&self) -> Option<HeaderValue> {
        self.inner.tokens.read().first().cloned()
    }
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
                let form = "has 16 to 256 letters, digits or -._~+/, and = at its end only";
                bad(format!("{what} {form}"))
            })
        })
        .collect::<Result<_>>()?;
    match tokens.len() {
        1..=MOST => Ok(tokens),
        0 => Err(bad(format!("{what} is missing"))),
        count => Err(bad(format!("{what} and at most one other: there are {count}"))),
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
mod tests {
    use std::io::Write;

    use super::*;

    const OLD: &str = "an-old-token-of-ours";
    const NEW: &str = "a+new/token.of~ours==";

    #[test]
    fn what_is_accepted_is_what_was_agreed_on() {
        let tokens = Tokens::new([OLD, NEW]).unwrap();
        for shown in [OLD, NEW] {
            for scheme in ["Bearer", "bearer", "BEARER"] {
                assert!(tokens.accept(format!("{scheme} {shown}").as_bytes()));
            }
        }
        for shown in
            ["", "Bearer", "Bearer ", OLD, "Basic an-old-token-of-ours", "Bearer an-old-token-of-our"]
        {
            assert!(!tokens.accept(shown.as_bytes()), "{shown}");
        }
        assert!(!tokens.accept(b"Bearer an-old-token-of-oursx"));
        assert!(!tokens.accept(b"Bearer a"));
        assert_eq!(tokens.credential().unwrap(), format!("Bearer {OLD}"));
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_without_being_shown() {
        let long = "a".repeat(257);
        for bad in [
            "",
            "too-short",
            "a token with spaces",
            "an=equals-sign-inside",
            "caf\u{e9}-caf\u{e9}-caf\u{e9}-x",
            &long,
        ] {
            let error = Tokens::new([bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption);
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        assert!(Tokens::new([OLD; 3]).is_err());
        assert!(Tokens::new(Vec::<String>::new()).is_err());
        let shown = format!("{:?}", Tokens::new([OLD]).unwrap());
        assert!(!shown.contains(OLD), "{shown}");
    }

    #[test]
    fn a_file_is_read_anew_and_a_bad_one_changes_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{OLD}\n").unwrap();
        let tokens = Tokens::from_file(file.path()).unwrap();
        let same = tokens.clone();
        let shows = |token: &str| same.accept(format!("Bearer {token}").as_bytes());
        assert!(shows(OLD) && !shows(NEW));
        fs::write(file.path(), format!("{NEW}\n  {OLD}\r\n")).unwrap();
        tokens.reload().unwrap();
        assert!(shows(OLD) && shows(NEW));
        for bad in ["", "\n\n", "short\n", "one-token-of-three\nthe-second-of-three\nthe-third-of-them\n"] {
            fs::write(file.path(), bad).unwrap();
            let error = tokens.reload().unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()), "{error}");
            assert!(shows(OLD) && shows(NEW));
        }
        assert!(Tokens::from_file("/no/such/file").is_err());
    }
}
