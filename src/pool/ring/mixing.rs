//! A hash of 64 bits that stays as it is, in every release and on every machine.

/// Odd, so that a product with it loses nothing.
const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;

/// Where a hash begins: 2^64 over the golden ratio.
const BEGIN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a name or a key: eight bytes at a time, since it is on the way of every request.
///
/// It is no defence against keys that were chosen to collide, as no hash is that all have to agree on.
pub(super) fn hash(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    // The length tells a text from the same with zeros at its end.
    let begin = BEGIN ^ text.len() as u64;
    let hash = words.iter().fold(begin, |hash, word| absorb(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(absorb(hash, u64::from_le_bytes(last)))
}

/// One to one in either argument, so that texts which differ in one word alone never collide here.
fn absorb(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(FACTOR);
    product ^ (product >> 32)
}

/// Spreads what differs anywhere over all bits: the end of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Mixes two hashes into one: the halves of a product of 128 bits. It is cheaper than [`mix`], and enough where both are
/// well mixed already.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "it is the lower half")]
pub(super) fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one ^ other) * u128::from(FACTOR);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn it_is_what_it_was() {
        assert_eq!(hash(""), 0x31ed_3548_bf89_f51d);
        assert_eq!(hash("a"), 0x2ce6_173d_5265_8073);
        assert_eq!(hash("http://10.0.1.1:3000"), 0x675d_0291_780a_ef07);
        assert_eq!(fold(1, 2), 0xdf16_552f_5bca_9d6e);
    }

    #[test]
    fn texts_that_are_alike_fall_apart() {
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
