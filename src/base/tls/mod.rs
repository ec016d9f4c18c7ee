//! Certificates and keys from PEM, and the cryptography that TLS is done with.
//!
//! | file | what it holds |
//! |---|---|
//! | `pem` | [`Pem`]: text that was given, or a file; the certificates and the key in it |
//! | `roots` | root certificates, each of which is known to be usable |
//! | `identity` | [`Identity`]: a certificate with its chain, and the key that belongs to it |

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

/// What encrypts and signs: what the program chose for all of rustls, or else ring. ureq does the same, so
/// that there is one in the program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}
