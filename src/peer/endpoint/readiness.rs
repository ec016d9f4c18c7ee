//! Whether a peer should be sent requests, which is another question than whether it is alive.

/// By what it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    /// The peer is about to end.
    pub(crate) is_leaving: bool,
    /// None of its servers takes connections any more.
    pub(crate) is_stopping: bool,
    /// A fetch has waited for a thread for more than half as long as it may.
    pub(crate) is_behind: bool,
    /// More memory is held than the limit, and the store cannot give enough back.
    pub(crate) is_out_of_memory: bool,
}

impl Readiness {
    /// Why no requests should be sent; `None` where they should. Pure.
    pub(crate) fn obstacle(self) -> Option<&'static str> {
        [
            (self.is_leaving, "this peer is about to end"),
            (self.is_stopping, "the server of this peer is shutting down"),
            (self.is_out_of_memory, "the memory limit is reached, and nothing is left to evict"),
            (self.is_behind, "fetches wait for a thread for too long"),
        ]
        .into_iter()
        .find_map(|(is_so, reason)| is_so.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_a_reason_and_none_is_ready() {
        let ready = Readiness::default();
        assert_eq!(ready.obstacle(), None);
        for (readiness, word) in [
            (Readiness { is_leaving: true, is_behind: true, ..ready }, "about to end"),
            (Readiness { is_stopping: true, ..ready }, "shutting down"),
            (Readiness { is_behind: true, ..ready }, "wait"),
            (Readiness { is_out_of_memory: true, ..ready }, "memory"),
        ] {
            assert!(readiness.obstacle().unwrap().contains(word), "{readiness:?}");
        }
    }
}
