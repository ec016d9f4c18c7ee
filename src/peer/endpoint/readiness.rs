//! Decides whether a peer is ready for requests. A peer can be alive but not ready.

/// The state of a peer that decides about its readiness.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    /// The peer is leaving the pool.
    pub(crate) is_leaving: bool,
    /// None of its servers accepts connections any more.
    pub(crate) is_stopping: bool,
    /// A fetch has waited for a thread longer than half of its limit.
    pub(crate) is_behind: bool,
    /// The memory in use exceeds the limit, and evicting stored responses cannot free enough.
    pub(crate) is_out_of_memory: bool,
}

impl Readiness {
    /// Returns the reason why the peer is not ready, or `None` if it is.
    pub(crate) fn obstacle(self) -> Option<&'static str> {
        [
            (self.is_leaving, "this peer is leaving the pool"),
            (self.is_stopping, "the server of this peer is shutting down"),
            (self.is_out_of_memory, "the memory limit is reached, and nothing is left to evict"),
            (self.is_behind, "fetches wait too long for a thread"),
        ]
        .into_iter()
        .find_map(|(applies, reason)| applies.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_a_reason() {
        let ready = Readiness::default();
        assert_eq!(ready.obstacle(), None);
        for (readiness, word) in [
            (Readiness { is_leaving: true, is_behind: true, ..ready }, "leaving"),
            (Readiness { is_stopping: true, ..ready }, "shutting down"),
            (Readiness { is_behind: true, ..ready }, "wait"),
            (Readiness { is_out_of_memory: true, ..ready }, "memory"),
        ] {
            assert!(readiness.obstacle().unwrap().contains(word), "{readiness:?}");
        }
    }
}
