//! Rendezvous hashing is what it was, and what an implementation says that has nothing in common with the library's.
//!
//! `vectors/rendezvous.json` holds `urls`, and `pools`: peers with their weights, and the first three owners of every
//! URL in turn. The file was made by a program in another language. Another release that gave other owners would split
//! a pool while it is updated.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use forwardcache::Rendezvous;
use serde_json::Value;

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;

/// By bytes: the words of the text, the last one padded with zeros, each multiplied into the hash.
fn hash(text: &str) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ text.len() as u64;
    for word in 0..=text.len() / 8 {
        let byte =
            |at: usize| u64::from(text.as_bytes().get(word * 8 + at).copied().unwrap_or(0)) << (8 * at);
        hash = (hash ^ (0..8).map(byte).sum::<u64>()).wrapping_mul(FACTOR);
        hash ^= hash >> 32;
    }
    mix(hash)
}

/// All peers, sorted by their scores and names.
fn sorted<'a>(peers: &[(&'a str, u32)], key: &str) -> Vec<&'a str> {
    let score = |&(peer, weight): &(&'a str, u32)| {
        let product = u128::from(mix(!hash(peer)) ^ hash(key)) * u128::from(FACTOR);
        let mixed = u64::try_from((product >> 64) ^ (product & u128::from(u64::MAX))).unwrap();
        let distance = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        (-(-distance).ln_1p() / f64::from(weight), peer)
    };
    let mut scores: Vec<(f64, &str)> = peers.iter().map(score).collect();
    scores.sort_by(|one, other| one.partial_cmp(other).unwrap());
    scores.into_iter().map(|(_, peer)| peer).collect()
}

#[test]
fn every_url_has_the_same_owners() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/rendezvous.json")).unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let urls = texts(&vectors["urls"]);
    let pools = vectors["pools"].as_array().unwrap();
    assert!(!urls.is_empty() && !pools.is_empty());
    for pool in pools {
        let weight = |peer: &Value| u32::try_from(peer["weight"].as_u64().unwrap()).unwrap();
        let peers = pool["peers"].as_array().unwrap().iter();
        let peers: Vec<(&str, u32)> =
            peers.map(|peer| (peer["url"].as_str().unwrap(), weight(peer))).collect();
        let ring =
            Rendezvous::new(peers.iter().map(|(peer, weight)| (*peer, NonZeroU32::new(*weight).unwrap())));
        let rows = pool["owners"].as_array().unwrap();
        assert_eq!(rows.len(), urls.len());
        for (url, row) in urls.iter().zip(rows) {
            let owners: Vec<&str> = ring.owners(url).collect();
            assert_eq!(owners, sorted(&peers, url), "{url}");
            assert_eq!(
                owners.iter().take(3).collect::<Vec<_>>(),
                texts(row).iter().collect::<Vec<_>>(),
                "{url}"
            );
            assert_eq!(ring.owner(url), Some(owners[0]), "{url}");
        }
    }
}
