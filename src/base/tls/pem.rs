//! PEM text: certificates and private keys.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::error::{Error, ErrorKind, Result};

/// PEM text, or the path of a PEM file that is read on each use.
#[derive(Clone)]
pub(crate) enum Pem {
    Given(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    /// Returns all certificates, at least one, and skips other sections. `role` names their purpose in errors, in the
    /// singular.
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

    /// Returns the first private key and the text that contains it.
    pub(crate) fn private_key(&self) -> Result<(PrivateKeyDer<'static>, Cow<'_, [u8]>)> {
        let text = self.read("private key")?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let place = self.place();
            // The cause is dropped because it may quote a line of the key.
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
                bad_option(format!("the {what} {} cannot be read", path.display())).with_source(error)
            }),
        }
    }

    /// Returns the location of the PEM for an error message.
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

/// Omits the text, which may contain a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("given"),
            Self::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
