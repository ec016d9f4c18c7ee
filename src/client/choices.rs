//! What a client may be told to do about peers that fail or are slow.

/// What a client does with a request for which no peer is left: its pool has none, or all of them failed, just
/// now or lately, or the one that answers sends a short body with less than 256 bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoPeerLeft {
    /// It goes to its origin, uncached: a cache that is away must not be a program that is away. It is
    /// fetched past the rules on origins that the peers may have.
    #[default]
    FetchDirectly,
    /// It fails: with the error of the first peer that was asked, or as
    /// [`ErrorKind::NoPeerLeft`](crate::ErrorKind::NoPeerLeft) when none was. What comes slowly is waited for.
    Fail,
}

/// What a client does about peers that are slow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum SlowPeers {
    /// It waits for them.
    #[default]
    Wait,
    /// A GET or HEAD without a body that its peer has not answered within what so many of its answers took is
    /// sent to the next owner as well, and the first answer counts. Of all requests 5 % at most are sent
    /// twice, and a peer that has given fewer than 20 answers is waited for.
    ///
    /// Each request has a helper thread then, of which there are 64 at most.
    Hedge {
        /// The share of answers, above 0 and below 1: 0.95 is usual.
        quantile: f64,
    },
    /// A peer that takes so many times as long as the others, comparing the medians of all, is passed over for
    /// ten seconds. One that takes less than ten milliseconds never is.
    Skip {
        /// How many times, above 1: 5 is a lot.
        factor: f64,
    },
}

impl SlowPeers {
    pub(super) fn is_sound(self) -> bool {
        match self {
            Self::Wait => true,
            Self::Hedge { quantile } => quantile > 0.0 && quantile < 1.0,
            Self::Skip { factor } => factor > 1.0 && factor.is_finite(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_sense() {
        for (choice, is_sound) in [
            (SlowPeers::Wait, true),
            (SlowPeers::Hedge { quantile: 0.95 }, true),
            (SlowPeers::Hedge { quantile: 0.0 }, false),
            (SlowPeers::Hedge { quantile: 1.0 }, false),
            (SlowPeers::Hedge { quantile: f64::NAN }, false),
            (SlowPeers::Skip { factor: 5.0 }, true),
            (SlowPeers::Skip { factor: 1.0 }, false),
            (SlowPeers::Skip { factor: f64::INFINITY }, false),
            (SlowPeers::Skip { factor: f64::NAN }, false),
        ] {
            assert_eq!(choice.is_sound(), is_sound, "{choice:?}");
        }
    }
}
