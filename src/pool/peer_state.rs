//! The health of a peer, as its clients see it.

use crate::base::named::named;

named! {
    /// The state of a peer: `up`, `down`, `draining`, `probing` or `returning`.
    #[non_exhaustive]
    pub enum PeerState: ALL {
        /// It gets requests for the URLs that it owns.
        Up = "up",
        /// It failed, and gets no requests for a while.
        Down = "down",
        /// It announced that it is stopping. It gets no requests until a probe finds it up again.
        Draining = "draining",
        /// Its pause is over, and a background probe checks whether it is up again.
        Probing = "probing",
        /// It is up again, and its share of requests grows from second to second.
        Returning = "returning",
    }
}
