//! How one credential is told from another without being kept.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use crate::policy::CredentialDigest;

/// A keyed digest of 128 bits, of which nobody outside this process knows the key: two SipHashes with
/// random keys. A digest tells equal from different and nothing else; after a restart all are
/// different, so that what a persistent store holds for a credential is not found again.
#[derive(Clone, Default)]
pub(crate) struct KeyedDigest {
    high: RandomState,
    low: RandomState,
}

impl CredentialDigest for KeyedDigest {
    fn digest(&self, credential: &[u8]) -> u128 {
        u128::from(self.high.hash_one(credential)) << 64 | u128::from(self.low.hash_one(credential))
    }
}

impl fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_credentials_agree_within_one_process_only() {
        let digest = KeyedDigest::default();
        assert_eq!(digest.digest(b"secret"), digest.digest(b"secret"));
        assert_ne!(digest.digest(b"secret"), digest.digest(b"secreu"));
        assert_ne!(digest.digest(b"secret"), KeyedDigest::default().digest(b"secret"));
    }
}
