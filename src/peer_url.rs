#![allow(missing_docs)]
//! stand-in
use crate::target::Target;
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerUrl(String);
#[derive(Debug)]
pub struct BadPeerUrl;
impl From<BadPeerUrl> for crate::Error {
    fn from(_: BadPeerUrl) -> Self {
        crate::Error::new(crate::ErrorKind::BadPeer, "bad peer")
    }
}
impl PeerUrl {
    pub fn parse(t: &str) -> Result<Self, BadPeerUrl> {
        if t.starts_with("http") { Ok(Self(t.trim_end_matches('/').to_owned())) } else { Err(BadPeerUrl) }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn authority(&self) -> &str {
        self.0.split("://").nth(1).unwrap()
    }
    pub fn request_url(&self, path: &str, t: &Target) -> http::Uri {
        format!(
            "{}{path}?q={}",
            self.0,
            percent_encoding::utf8_percent_encode(t.as_str(), percent_encoding::NON_ALPHANUMERIC)
        )
        .parse()
        .unwrap()
    }
}
impl std::fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
