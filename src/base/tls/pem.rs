//! PEM, and what is in it.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::error::{Error, ErrorKind, Result};

/// Text that was given, or a file that is read when it is needed.
#[derive(Clone)]
pub(crate) enum Pem {
    Given(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    /// All certificates in it, at least one; anything else is passed over. `role` says what they are for,
    /// in the singular.
    pub(crate) fn certificates(&self, role: &str) -> Result<Vec<CertificateDer<'static>>> {
        let text = self.read(&format!("{role}s"))?;
        let found: Vec<_> =
            CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| {
                bad_option(format!("the {role}s {} are not PEM", self.place())).with_source(error)
            })?;
        if found.is_empty() {
            return Err(bad_option(format!("there is no {role} {}", self.place())));
        }
        Ok(found)
    }

    /// The first key in it, and the text that it was found in.
    pub(crate) fn private_key(&self) -> Result<(PrivateKeyDer<'static>, Cow<'_, [u8]>)> {
        let text = self.read("private key")?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let place = self.place();
            // The cause is not kept: it may quote a line, and with it the key.
            bad_option(match error {
                PemError::NoItemsFound => {
                    format!("there is no private key {place}: it must be PKCS#8, PKCS#1 or SEC1, unencrypted")
                }
                _ => format!("the private key {place} is not PEM"),
            })
        })?;
        Ok((key, text))
    }

    fn read(&self, what: &str) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Given(text) => Ok(Cow::Borrowed(text)),
            Self::File(path) => fs::read(path).map(Cow::Owned).map_err(|error| {
                bad_option(format!("the {what} {} cannot be read: {error}", path.display()))
                    .with_source(error)
            }),
        }
    }

    /// Where it is, for an error.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Given(_) => "in the PEM given".to_owned(),
            Self::File(path) => format!("in {}", path.display()),
        }
    }
}

pub(super) fn bad_option(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadOption, message)
}

/// It may hold a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("given"),
            Self::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0";

    fn says(failure: Result<impl Sized>) -> String {
        let error = failure.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert_eq!(error.to_string().lines().count(), 1);
        format!("{error} {error:?}")
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = Pem::File("/no/such/file".into());
        assert!(says(missing.certificates("certificate")).contains("certificates /no/such/file cannot be"));
        assert!(says(missing.private_key()).contains("the private key /no/such/file cannot be read"));
        let empty = Pem::Given(Vec::new());
        assert!(says(empty.certificates("certificate")).contains("there is no certificate in the PEM"));
        assert!(says(empty.private_key()).contains("there is no private key in the PEM given: it must"));
    }

    #[test]
    fn a_key_that_is_encrypted_is_no_key() {
        let section = "ENCRYPTED PRIVATE KEY";
        let text = format!("-----BEGIN {section}-----\n{SECRET}\n-----END {section}-----\n");
        assert!(says(Pem::Given(text.into()).private_key()).contains("unencrypted"));
    }

    #[test]
    fn no_error_quotes_a_key() {
        for text in [
            format!("-----BEGIN PRIVATE KEY-----{SECRET}"),
            format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{SECRET}!\n-----END PRIVATE KEY-----"),
        ] {
            let pem = Pem::Given(text.clone().into());
            let said = says(pem.private_key());
            assert!(said.contains("is not PEM"), "{text}: {said}");
            let numbers = format!("{:?}", SECRET.as_bytes());
            for secret in [SECRET, numbers.trim_matches(['[', ']'])] {
                assert!(!said.contains(secret) && !format!("{pem:?}").contains(secret), "{said}");
            }
        }
    }
}
