//! A 64-bit hash that is the same in all releases and on all machines.

/// An odd factor, so that multiplication is invertible.
const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;

/// The initial state of a hash: 2^64 divided by the golden ratio.
const INITIAL: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the hash of a name or a key. It reads eight bytes at a time, because each request computes it.
///
/// It does not protect against keys that are chosen to collide. No hash that all peers must agree on can.
pub(super) fn hash(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    // The length distinguishes a text from the same text with trailing zeros.
    let initial = INITIAL ^ text.len() as u64;
    let hash = words.iter().fold(initial, |hash, word| absorb(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(absorb(hash, u64::from_le_bytes(last)))
}

/// Mixes a word into a hash. It is a bijection in each argument, so texts that differ in only one word do not collide.
fn absorb(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(FACTOR);
    product ^ (product >> 32)
}

/// Distributes a difference in any bit over all bits: the finalizer of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Combines two hashes: the halves of a 128-bit product. It is cheaper than [`mix`], and sufficient for two hashes that are
/// already well mixed.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the cast takes the lower half")]
pub(super) fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one ^ other) * u128::from(FACTOR);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(""), 0x31ed_3548_bf89_f51d);
        assert_eq!(hash("a"), 0x2ce6_173d_5265_8073);
        assert_eq!(hash("http://10.0.1.1:3000"), 0x675d_0291_780a_ef07);
        assert_eq!(fold(1, 2), 0xdf16_552f_5bca_9d6e);
    }

    #[test]
    fn similar_texts_have_different_hashes() {
        let mut texts: Vec<String> =
            (0..20_000).map(|number| format!("http://example.com/{number}")).collect();
        texts.extend((1..40).map(|length| "\0".repeat(length)));
        let hashes: HashSet<u64> = texts.iter().map(|text| hash(text)).collect();
        assert_eq!(hashes.len(), texts.len());
        // Each of the 64 bits is set in about half of them.
        for bit in 0..64 {
            let set = hashes.iter().filter(|hash| *hash >> bit & 1 == 1).count();
            assert!((9_500..10_500).contains(&set), "bit {bit}: {set}");
        }
    }
}
