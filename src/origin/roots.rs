//! Which root certificates are trusted.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::error::{Error, ErrorKind, Result};

/// The roots of the web, roots of one's own, or both.
#[derive(Debug, Default)]
pub(super) struct Roots {
    own: Vec<Certificate<'static>>,
    without_web: bool,
}

impl Roots {
    pub(super) fn add_file(&mut self, path: &Path) -> Result<()> {
        let pem = fs::read(path).map_err(|error| {
            bad_option(format!("the root certificates {} cannot be read: {error}", path.display()))
                .with_source(error)
        })?;
        self.add(&pem, &format!("in {}", path.display()))
    }

    pub(super) fn add_pem(&mut self, pem: &[u8]) -> Result<()> {
        self.add(pem, "in the PEM given")
    }

    /// ureq passes over a root that it cannot use, which then shows as a handshake that fails; so each
    /// is tried here.
    fn add(&mut self, pem: &[u8], place: &str) -> Result<()> {
        let mut trial = RootCertStore::empty();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| {
                bad_option(format!("the root certificates {place} are not PEM")).with_source(error)
            })?;
            let PemItem::Certificate(certificate) = item else { continue };
            trial.add(CertificateDer::from(certificate.der())).map_err(|error| {
                bad_option(format!("a root certificate {place} cannot be used: {error}")).with_source(error)
            })?;
            self.own.push(certificate);
        }
        if trial.is_empty() {
            return Err(bad_option(format!("there is no root certificate {place}")));
        }
        Ok(())
    }

    pub(super) fn leave_out_the_web(&mut self) -> Result<()> {
        if self.own.is_empty() {
            return Err(bad_option("without the root certificates of the web others must be given"));
        }
        self.without_web = true;
        Ok(())
    }

    pub(super) fn into_root_certs(self) -> RootCerts {
        if self.own.is_empty() {
            return RootCerts::WebPki;
        }
        // Roots of one's own replace those of the web in ureq, so these are added by hand.
        let web = if self.without_web { &[] } else { webpki_root_certs::TLS_SERVER_ROOT_CERTS };
        web.iter().map(|der| Certificate::from_der(der)).chain(self.own).into()
    }
}

fn bad_option(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadOption, message)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn own_root() -> String {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()
    }

    fn count(roots: Roots) -> usize {
        match roots.into_root_certs() {
            RootCerts::Specific(certificates) => certificates.len(),
            other => panic!("not specific: {other:?}"),
        }
    }

    #[test]
    fn without_roots_of_ones_own_the_web_is_trusted() {
        assert!(matches!(Roots::default().into_root_certs(), RootCerts::WebPki));
    }

    #[test]
    fn own_roots_are_added_to_those_of_the_web_or_replace_them() {
        let mut roots = Roots::default();
        roots.add_pem((own_root() + &own_root()).as_bytes()).unwrap();
        assert_eq!(count(roots), 2 + webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());

        let mut roots = Roots::default();
        roots.add_pem(own_root().as_bytes()).unwrap();
        roots.leave_out_the_web().unwrap();
        assert_eq!(count(roots), 1);
    }

    #[test]
    fn a_file_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(own_root().as_bytes()).unwrap();
        let mut roots = Roots::default();
        roots.add_file(file.path()).unwrap();
        assert_eq!(roots.own.len(), 1);
    }

    #[test]
    fn what_cannot_be_used_is_one_line_that_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        let mut roots = Roots::default();
        for (failure, says) in [
            (roots.add_file(&missing), "missing.pem cannot be read"),
            (roots.add_pem(b"hello"), "there is no root certificate"),
            (roots.add_pem(garbage.as_bytes()), "cannot be used"),
            (roots.add_pem(broken.as_bytes()), "not PEM"),
        ] {
            let error = failure.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption);
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
