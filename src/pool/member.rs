//! A member of a pool: the base URL of a peer and its weight.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::base::error::{Error, ErrorKind};
use crate::pool::peer_url::{InvalidPeerUrl, PeerUrl};

/// A peer of a pool, and its weight.
///
/// A peer with weight 3 owns three times as many keys as a peer with the default weight of 1. All members of a pool
/// must agree on the weights, as on the peers.
///
/// The text form is the base URL, followed by a space and `weight=N` if the weight is not 1:
///
/// ```
/// use forwardcache::pool::Member;
///
/// let member = Member::parse("http://10.0.1.1:3000/ weight=3")?;
/// assert_eq!(member.url().as_str(), "http://10.0.1.1:3000");
/// assert_eq!(member.weight().get(), 3);
/// assert_eq!(member.to_string(), "http://10.0.1.1:3000 weight=3");
///
/// let member = Member::parse("http://10.0.1.2:3000")?;
/// assert_eq!(member.weight().get(), 1);
/// assert_eq!(member.to_string(), "http://10.0.1.2:3000");
/// # Ok::<(), forwardcache::pool::InvalidMember>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    url: PeerUrl,
    weight: NonZeroU32,
}

impl Member {
    /// The greatest weight, 1,000. The cost of a ring grows with the weights.
    pub const MAX_WEIGHT: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not zero");

    /// Creates a member with this URL and a weight of 1.
    #[must_use]
    pub fn new(url: PeerUrl) -> Self {
        Self { url, weight: NonZeroU32::MIN }
    }

    /// Returns the same peer with this weight.
    ///
    /// # Errors
    ///
    /// [`InvalidMember::Weight`] if the weight exceeds [`MAX_WEIGHT`](Self::MAX_WEIGHT).
    pub fn with_weight(self, weight: NonZeroU32) -> Result<Self, InvalidMember> {
        if weight > Self::MAX_WEIGHT {
            return Err(InvalidMember::Weight);
        }
        Ok(Self { weight, ..self })
    }

    /// Parses `URL` or `URL weight=N`, with optional whitespace around them.
    ///
    /// # Errors
    ///
    /// [`InvalidMember`] if the URL is invalid, the weight is not a whole number from 1 to
    /// [`MAX_WEIGHT`](Self::MAX_WEIGHT), or more text follows.
    pub fn parse(text: &str) -> Result<Self, InvalidMember> {
        let mut words = text.split_ascii_whitespace();
        let member = Self::new(PeerUrl::parse(words.next().unwrap_or_default()).map_err(InvalidMember::Url)?);
        let Some(option) = words.next() else { return Ok(member) };
        let weight = option.strip_prefix("weight=").ok_or(InvalidMember::Option)?;
        // `parse` would also accept a sign.
        if !weight.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidMember::Weight);
        }
        let member = member.with_weight(weight.parse().map_err(|_| InvalidMember::Weight)?)?;
        match words.next() {
            Some(_) => Err(InvalidMember::Option),
            None => Ok(member),
        }
    }

    /// Returns the base URL of the peer.
    #[must_use]
    pub fn url(&self) -> &PeerUrl {
        &self.url
    }

    /// Returns the weight: how many times as many keys the peer owns as a peer of weight 1.
    #[must_use]
    pub fn weight(&self) -> NonZeroU32 {
        self.weight
    }
}

impl From<PeerUrl> for Member {
    fn from(url: PeerUrl) -> Self {
        Self::new(url)
    }
}

impl FromStr for Member {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        Self::parse(text)
    }
}

/// Writes the text form that [`Member::parse`] accepts, without the weight if it is 1.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.url, f)?;
        if self.weight > NonZeroU32::MIN {
            write!(f, " weight={}", self.weight)?;
        }
        Ok(())
    }
}

/// Describes why a text is not a member of a pool.
///
/// The message is one line and shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidMember {
    /// The URL is not the base URL of a peer.
    Url(InvalidPeerUrl),
    /// The weight is not a whole number from 1 to [`Member::MAX_WEIGHT`].
    Weight,
    /// The text after the URL is not a single weight.
    Option,
}

impl fmt::Display for InvalidMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(bad) => fmt::Display::fmt(bad, f),
            Self::Weight => {
                write!(f, "the weight of a peer must be a whole number from 1 to {}", Member::MAX_WEIGHT)
            }
            Self::Option => f.write_str("only weight=N may follow the URL of a peer"),
        }
    }
}

impl std::error::Error for InvalidMember {}

impl From<InvalidPeerUrl> for InvalidMember {
    fn from(bad: InvalidPeerUrl) -> Self {
        Self::Url(bad)
    }
}

impl From<InvalidMember> for Error {
    fn from(bad: InvalidMember) -> Self {
        match bad {
            InvalidMember::Url(bad) => bad.into(),
            other => Self::new(ErrorKind::BadPeer, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
