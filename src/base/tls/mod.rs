//! Certificates and keys from PEM, and the cryptography provider for TLS.
//!
//! | file | content |
//! |---|---|
//! | `pem` | [`Pem`]: PEM text or a PEM file; reads the certificates and the key in it |
//! | `roots` | adds trusted root certificates to a rustls store |
//! | `identity` | [`Identity`]: a certificate with its chain and private key |

mod identity;
mod pem;
mod roots;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub(crate) use identity::{Identity, IdentitySource};
pub(crate) use pem::Pem;
pub(crate) use roots::add_roots;

/// Returns the program's default rustls provider, or ring if the program installed none. ureq does the same, so both
/// use one provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}
