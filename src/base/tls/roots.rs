//! Root certificates.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::pem::{Pem, bad_option};
use crate::base::error::Result;

/// Adds the root certificates of a PEM to `store` and returns them.
///
/// Fails if one cannot be used: skipping it would appear later as a failed handshake without a reason.
pub(crate) fn add_roots(store: &mut RootCertStore, pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let roots = pem.certificates("root certificate")?;
    for root in &roots {
        store.add(root.clone()).map_err(|error| {
            bad_option(format!("a root certificate {} cannot be used", pem.place())).with_source(error)
        })?;
    }
    Ok(roots)
}
