#![allow(missing_docs)]
//! stand-in
use std::num::NonZeroU32;
#[derive(Clone, Debug, Default)]
pub struct HashFunction;
#[derive(Debug)]
pub struct Ring(Vec<(u32, String)>);
impl Ring {
    pub fn with(peers: impl IntoIterator<Item = impl Into<String>>, r: NonZeroU32, _: HashFunction) -> Self {
        let mut v: Vec<_> = peers
            .into_iter()
            .map(Into::into)
            .flat_map(|p: String| {
                (0..r.get()).map(move |i| (crc32fast::hash(format!("{i}{p}").as_bytes()), p.clone()))
            })
            .collect();
        v.sort();
        Self(v)
    }
    pub fn owner(&self, k: &str) -> Option<&str> {
        let h = crc32fast::hash(k.as_bytes());
        self.0.iter().find(|p| p.0 >= h).or(self.0.first()).map(|p| p.1.as_str())
    }
}
