//! A certificate with its chain and private key.

use std::fmt;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::pem::{Pem, bad_option};
use super::provider::provider;
use crate::base::error::Result;

/// The PEM texts or files that an [`Identity`] is read from.
#[derive(Clone, Debug)]
pub(crate) struct IdentitySource {
    pub(crate) certificates: Pem,
    pub(crate) key: Pem,
}

/// The certificate and private key that authenticate this program. Both are checked, so a TLS library accepts them.
pub(crate) struct Identity {
    /// The certificate chain, this program's certificate first, and the signing key.
    pub(crate) certified: CertifiedKey,
    /// The PEM text whose first key is the signing key.
    pub(crate) key_text: Vec<u8>,
    /// The cryptography provider that checked the key and has to be used with it.
    pub(crate) provider: Arc<CryptoProvider>,
}

impl IdentitySource {
    /// Reads the PEM texts or files again and checks the certificates and the key.
    pub(crate) fn read(&self) -> Result<Identity> {
        let (certificates, key) = (self.certificates.place(), self.key.place());
        let chain = self.certificates.certificates("certificate")?;
        for certificate in &chain {
            ParsedCertificate::try_from(certificate).map_err(|error| {
                bad_option(format!("a certificate {certificates} cannot be used")).with_source(error)
            })?;
        }
        let provider = provider();
        let (private, key_text) = self.key.private_key()?;
        let signing = provider.key_provider.load_private_key(private).map_err(|error| {
            bad_option(format!("the private key {key} cannot be used")).with_source(error)
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // rustls accepts such keys too: a private key may not reveal its public half.
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

/// Omits the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.certified.cert.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
