//! The ring that the options of a client describe.

use std::num::NonZeroU32;

use crate::base::error::{Error, ErrorKind, Result};
use crate::client::members::RingChoice;
use crate::pool::ring::{HashFunction, Ring, RingKind};

/// Maximum number of points on the compatible ring for each unit of a peer's weight.
const MAX_REPLICAS: u32 = 10_000;

/// Combines the ring options; fails if they contradict each other.
pub(super) fn choice(
    kind: RingKind,
    replicas: Option<u32>,
    hash: Option<HashFunction>,
) -> Result<RingChoice> {
    let refused = |text: &str| Err(Error::new(ErrorKind::BadOption, text));
    match kind {
        RingKind::Rendezvous if replicas.is_some() => {
            refused("replicas apply only to the compatible ring: remove them or choose that ring")
        }
        RingKind::Rendezvous if hash.is_some() => {
            refused("a hash applies only to the compatible ring: remove it or choose that ring")
        }
        RingKind::Rendezvous => Ok(RingChoice::Rendezvous),
        RingKind::Compatible if replicas.is_some_and(|replicas| replicas > MAX_REPLICAS) => {
            refused("too many replicas: the compatible ring has at most 10000 for each peer")
        }
        RingKind::Compatible => match NonZeroU32::new(replicas.unwrap_or(Ring::DEFAULT_REPLICAS.get())) {
            Some(replicas) => Ok(RingChoice::Compatible { replicas, hash: hash.unwrap_or_default() }),
            None => refused("no replicas: the compatible ring needs at least one replica for each peer"),
        },
    }
}
