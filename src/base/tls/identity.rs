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
mod tests {
    use super::super::testing::{self, Authority};
    use super::*;
    use crate::base::error::ErrorKind;

    fn read(certificates: &str, key: &str) -> Result<Identity> {
        let given = |text: &str| Pem::Given(text.into());
        IdentitySource { certificates: given(certificates), key: given(key) }.read()
    }

    #[test]
    fn a_chain_and_its_key_are_read() {
        let authority = Authority::new();
        let made = authority.sign("localhost");
        let identity = read(&(made.certificate.clone() + &authority.certificate), &made.key).unwrap();
        assert_eq!(identity.certified.cert.len(), 2);
        assert_eq!(format!("{identity:?}"), "Identity { certificates: 2, .. }");
        // Both in one text, as some write them.
        for both in [&(made.key + &made.certificate), testing::PKCS1, testing::SEC1] {
            assert_eq!(read(both, both).unwrap().certified.cert.len(), 1);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let authority = Authority::new();
        let (one, other) = (authority.sign("localhost"), authority.sign("localhost"));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (certificates, key, says) in [
            (one.certificate.as_str(), other.key.as_str(), "does not belong to the first certificate"),
            // The wrong way round.
            (&(authority.certificate + &one.certificate), &one.key, "does not belong"),
            (&one.key, &one.key, "there is no certificate"),
            (&one.certificate, &one.certificate, "there is no private key"),
            (&one.certificate, no_key, "the private key in the PEM given cannot be used"),
            (garbage, &one.key, "a certificate in the PEM given cannot be used"),
            (&(one.certificate.clone() + garbage), &one.key, "cannot be used"),
        ] {
            let error = read(certificates, key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
