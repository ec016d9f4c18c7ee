//! The cryptography provider for TLS.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Returns the program's default rustls provider, or ring if the program installed none. ureq does the same, so both
/// use one provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}
