//! Root certificates.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::pem::{Pem, bad_option};
use crate::base::error::Result;

/// Has `store` trust the root certificates in this PEM, and says which they are. One that cannot be used is
/// an error: passed over, it would show as a handshake that fails.
pub(crate) fn add_roots(store: &mut RootCertStore, pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let roots = pem.certificates("root certificate")?;
    for root in &roots {
        store.add(root.clone()).map_err(|error| {
            bad_option(format!("a root certificate {} cannot be used: {error}", pem.place()))
                .with_source(error)
        })?;
    }
    Ok(roots)
}
