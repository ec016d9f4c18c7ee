//! Takes turns among waiting connections, by client. Pure.

use std::collections::{HashMap, VecDeque};

use crate::scheduler::ClientAddress;

/// A queue of connections that gives each client the same number of turns, however many connections the
/// client has.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// Each client with waiting connections, once.
    clients: VecDeque<ClientAddress>,
    waiting: HashMap<ClientAddress, VecDeque<usize>>,
    count: usize,
}

impl RoundRobin {
    /// Returns the number of waiting connections.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a connection of the client.
    pub(super) fn push(&mut self, client: ClientAddress, connection: usize) {
        let connections = self.waiting.entry(client).or_default();
        if connections.is_empty() {
            self.clients.push_back(client);
        }
        connections.push_back(connection);
        self.count += 1;
    }

    /// Removes and returns the next connection.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let client = self.clients.pop_front()?;
        let connections = self.waiting.get_mut(&client)?;
        let connection = connections.pop_front();
        self.count -= 1;
        if connections.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.clients.push_back(client);
        }
        connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_the_same_number_of_turns() {
        let [one, other, third] = [1, 2, 3].map(|number| ClientAddress::of([10, 0, 0, number].into()));
        let mut round_robin = RoundRobin::default();
        (0..4).for_each(|number| round_robin.push(one, number));
        round_robin.push(other, 10);
        let first = [round_robin.pop(), round_robin.pop()];
        round_robin.push(third, 20);
        round_robin.push(other, 11);
        let rest: Vec<usize> = std::iter::from_fn(|| round_robin.pop()).collect();
        assert_eq!(first, [Some(0), Some(10)]);
        assert_eq!(rest, [1, 20, 11, 2, 3]);
        assert!(round_robin.len() == 0 && round_robin.waiting.is_empty());
    }
}
