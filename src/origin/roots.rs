//! The trusted root certificates.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{Pem, add_roots};

/// The root certificates of the web, additional root certificates, or both.
#[derive(Debug, Default)]
pub(super) struct Roots {
    own: Vec<CertificateDer<'static>>,
    excludes_web: bool,
}

impl Roots {
    /// Adds the certificates of a PEM text. ureq silently skips a root that it cannot use, so each one is
    /// checked here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the PEM cannot be read or a certificate cannot be used.
    pub(super) fn add(&mut self, pem: &Pem) -> Result<()> {
        self.own.extend(add_roots(&mut RootCertStore::empty(), pem)?);
        Ok(())
    }

    pub(super) fn exclude_web_roots(&mut self) -> Result<()> {
        if self.own.is_empty() {
            let text = "no root certificate is trusted: add one, or trust those of the web";
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        self.excludes_web = true;
        Ok(())
    }

    pub(super) fn into_root_certs(self) -> RootCerts {
        if self.own.is_empty() {
            return RootCerts::WebPki;
        }
        // ureq replaces its default roots if others are given, so both sets are passed.
        let web = if self.excludes_web { &[] } else { webpki_root_certs::TLS_SERVER_ROOT_CERTS };
        let own = self.own.iter().map(|der| Certificate::from_der(der).to_owned());
        web.iter().map(|der| Certificate::from_der(der)).chain(own).into()
    }
}

#[cfg(test)]
mod tests;
