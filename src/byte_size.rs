//! stand-in
#[derive(Clone, Copy, Debug)]
pub struct ByteSize(u64);
#[derive(Debug)]
pub struct BadSize;
impl std::fmt::Display for BadSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad size")
    }
}
impl std::error::Error for BadSize {}
impl ByteSize {
    pub fn bytes(self) -> u64 {
        self.0
    }
}
impl std::str::FromStr for ByteSize {
    type Err = BadSize;
    fn from_str(s: &str) -> Result<Self, BadSize> {
        s.parse().map(Self).map_err(|_| BadSize)
    }
}
