//! stand-in
use std::fmt;
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(String, usize, usize);
#[derive(Debug)]
pub struct BadTarget(&'static str);
impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for BadTarget {}
impl From<BadTarget> for crate::Error {
    fn from(b: BadTarget) -> Self {
        crate::Error::new(crate::ErrorKind::BadUrl, b.0)
    }
}
impl Target {
    pub fn parse(t: &str) -> Result<Self, BadTarget> {
        if t.len() > 8192 {
            return Err(BadTarget("longer than 8192 bytes"));
        }
        let r = t
            .strip_prefix("http://")
            .or(t.strip_prefix("https://"))
            .ok_or(BadTarget("it is not an absolute http or https URL"))?;
        let s = t.len() - r.len();
        let e = s + r.find(['/', '?']).unwrap_or(r.len());
        if t[s..e].contains('@') {
            return Err(BadTarget("it has userinfo"));
        }
        let mut t = t.to_owned();
        if e == t.len() {
            t.push('/');
        }
        Ok(Self(t, s, e))
    }
    pub fn join(&self, r: &str) -> Option<Self> {
        Self::parse(&if r.starts_with('/') { format!("{}{r}", &self.0[..self.2]) } else { r.to_owned() }).ok()
    }
    pub fn same_origin(&self, o: &Self) -> bool {
        self.0[..self.2] == o.0[..o.2]
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn ring_key(&self) -> &str {
        &self.0
    }
    pub fn uri(&self) -> http::Uri {
        self.0.parse().unwrap()
    }
    pub fn authority(&self) -> &str {
        &self.0[self.1..self.2]
    }
    pub fn host(&self) -> &str {
        self.authority().rsplit_once(':').map_or(self.authority(), |p| p.0)
    }
    pub fn port(&self) -> u16 {
        self.authority().rsplit_once(':').and_then(|p| p.1.parse().ok()).unwrap_or(80)
    }
}
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
pub(crate) fn query_value(q: Option<&str>, n: &str) -> Result<Option<String>, BadTarget> {
    Ok(q.unwrap_or("")
        .split('&')
        .find_map(|p| p.strip_prefix(n)?.strip_prefix('='))
        .map(|v| percent_encoding::percent_decode_str(v).decode_utf8_lossy().into_owned()))
}
