//! The ring assigns the same owners as the implementation that generated `vectors/ring.json`.
//!
//! The file contains `urls` and `rings`: the peers as listed, the number of replicas, and the owner of each URL in
//! order (empty if there is no owner). `url_forms` contains keys with their CRC-32.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use forwardcache::pool::{HashFunction, Ring};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/ring.json")).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn every_url_has_the_same_owner() {
    let vectors = vectors();
    let urls = texts(&vectors["urls"]);
    let rings = vectors["rings"].as_array().unwrap();
    assert!(!urls.is_empty() && !rings.is_empty());
    for row in rings {
        let peers = texts(&row["peers"]);
        let replicas = u32::try_from(row["replicas"].as_u64().unwrap()).unwrap();
        let ring = Ring::with(peers.clone(), NonZeroU32::new(replicas).unwrap(), HashFunction::default());
        let owners: Vec<&str> = urls.iter().map(|url| ring.owner(url).unwrap_or_default()).collect();
        assert_eq!(owners, texts(&row["owners"]), "{replicas} replicas of {peers:?}");
        if replicas == Ring::DEFAULT_REPLICAS.get() {
            let default = Ring::new(peers);
            assert!(urls.iter().all(|url| default.owner(url) == ring.owner(url)));
        }
    }
}

#[test]
fn the_default_hash_is_the_same() {
    let hash = HashFunction::default();
    for form in vectors()["url_forms"].as_array().unwrap() {
        let key = form["hash_key"].as_str().unwrap();
        assert_eq!(u64::from(hash.hash(key.as_bytes())), form["crc32"].as_u64().unwrap(), "{key}");
    }
}
