//! [`ClientCounts`]: how many of something each client has.

use std::collections::HashMap;

use crate::scheduler::ClientAddress;

/// Counts by client. A client that has none takes no memory.
#[derive(Debug, Default)]
pub(super) struct ClientCounts(HashMap<ClientAddress, usize>);

impl ClientCounts {
    /// Adds one, unless the client has `max` already. Returns whether it was added.
    pub(super) fn add(&mut self, client: ClientAddress, max: usize) -> bool {
        if self.0.get(&client).copied().unwrap_or(0) >= max {
            return false;
        }
        *self.0.entry(client).or_default() += 1;
        true
    }

    /// Removes one.
    pub(super) fn remove(&mut self, client: ClientAddress) {
        if let Some(count) = self.0.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&client);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
