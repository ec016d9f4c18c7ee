//! Distinguishes credentials without keeping them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::policy::CredentialDigest;
use crate::store::Tier;

/// A keyed digest of 128 bits. Equal credentials have equal digests, and a digest reveals nothing else.
///
/// By default it consists of two SipHashes with random keys that never leave this process. After a restart all digests
/// differ, so a persistent store no longer finds the responses of a credential, unless the store has a key.
#[derive(Clone, Default)]
pub(crate) struct KeyedDigest {
    high: RandomState,
    low: RandomState,
    tier: Option<Arc<dyn Tier>>,
}

impl KeyedDigest {
    /// Uses the key of the first tier that has one.
    pub(super) fn with_tiers(tiers: &[Arc<dyn Tier>]) -> Self {
        let tier = tiers.iter().find(|tier| tier.credential_digest(b"").is_some()).cloned();
        Self { tier, ..Self::default() }
    }
}

impl CredentialDigest for KeyedDigest {
    fn digest(&self, credential: &[u8]) -> u128 {
        if let Some(digest) = self.tier.as_ref().and_then(|tier| tier.credential_digest(credential)) {
            return digest;
        }
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
