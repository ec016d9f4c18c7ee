//! Whose turn is next among connections that wait for one. Pure.

use std::collections::{HashMap, VecDeque};

use crate::scheduler::Client;

/// Connections in the order in which they came, one of each client after the other: however many connections a client
/// has, every client has as many turns as the others.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Each client once that has connections waiting.
    clients: VecDeque<Client>,
    waiting: HashMap<Client, VecDeque<usize>>,
    count: usize,
}

impl Rotation {
    /// How many connections wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A connection of that client waits from now on.
    pub(super) fn push(&mut self, client: Client, connection: usize) {
        let own = self.waiting.entry(client).or_default();
        if own.is_empty() {
            self.clients.push_back(client);
        }
        own.push_back(connection);
        self.count += 1;
    }

    /// The next one, which waits no more.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let client = self.clients.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let connection = own.pop_front();
        self.count -= 1;
        if own.is_empty() {
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
    fn each_client_has_its_turn_however_many_connections_another_has() {
        let [one, other, third] = [1, 2, 3].map(|number| Client::of([10, 0, 0, number].into()));
        let mut rotation = Rotation::default();
        (0..4).for_each(|number| rotation.push(one, number));
        rotation.push(other, 10);
        let first = [rotation.pop(), rotation.pop()];
        rotation.push(third, 20);
        rotation.push(other, 11);
        let rest: Vec<usize> = std::iter::from_fn(|| rotation.pop()).collect();
        assert_eq!(first, [Some(0), Some(10)]);
        assert_eq!(rest, [1, 20, 11, 2, 3]);
        assert!(rotation.len() == 0 && rotation.waiting.is_empty());
    }
}
