//! Certificates and keys from PEM, and the cryptography provider for TLS.
//!
//! | file | content |
//! |---|---|
//! | `pem` | [`Pem`]: PEM text or a PEM file; reads the certificates and the key in it |
//! | `provider` | the cryptography provider for TLS |
//! | `roots` | adds trusted root certificates to a rustls store |
//! | `identity` | [`Identity`]: a certificate with its chain and private key |

mod identity;
mod pem;
mod provider;
mod roots;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use identity::{Identity, IdentitySource};
pub(crate) use pem::Pem;
#[cfg(any(test, feature = "redis"))]
pub(crate) use provider::provider;
pub(crate) use roots::add_roots;
