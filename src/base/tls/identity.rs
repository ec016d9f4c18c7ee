//! A certificate with its chain, and the key that belongs to it.

use std::fmt;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::pem::{Pem, bad_option};
use super::provider;
use crate::base::error::Result;

/// Where an [`Identity`] comes from.
#[derive(Clone, Debug)]
pub(crate) struct IdentitySource {
    pub(crate) certificates: Pem,
    pub(crate) key: Pem,
}

/// By what this program proves who it is: checked, so that what takes it over has no reason to refuse it.
pub(crate) struct Identity {
    /// Its own certificate, then those that lead to a root; and what signs for it.
    pub(crate) certified: CertifiedKey,
    /// The PEM whose first key signs.
    pub(crate) key_text: Vec<u8>,
    /// What it was checked with, and has to be used with.
    pub(crate) provider: Arc<CryptoProvider>,
}

impl IdentitySource {
    /// Reads it anew, and checks it.
    pub(crate) fn read(&self) -> Result<Identity> {
        let (certificates, key) = (self.certificates.place(), self.key.place());
        let chain = self.certificates.certificates("certificate")?;
        for certificate in &chain {
            ParsedCertificate::try_from(certificate).map_err(|error| {
                bad_option(format!("a certificate {certificates} cannot be used: {error}")).with_source(error)
            })?;
        }
        let provider = provider();
        let (private, key_text) = self.key.private_key()?;
        let signing = provider.key_provider.load_private_key(private).map_err(|error| {
            bad_option(format!("the private key {key} cannot be used: {error}")).with_source(error)
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // rustls takes those too: a key need not say which is its public half.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(error) => {
                let text =
                    format!("the private key {key} does not belong to the first certificate {certificates}");
                return Err(bad_option(text).with_source(error));
            }
        }
        Ok(Identity { certified, key_text: key_text.into_owned(), provider })
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.certified.cert.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
