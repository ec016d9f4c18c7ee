//! How much one connection may do before the others have their turn. Pure.

/// How many bytes are read and written for one connection in a turn of the loop at most. A quiet client waits for as
/// long as they take, some 0.1 ms.
pub(super) const BYTES: usize = 128 << 10;

/// How many steps are taken for it: requests that come at once cost more than their bytes.
const STEPS: usize = 64;

/// What is left of the budget of one connection in one turn of the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    number: u64,
    bytes: usize,
    steps: usize,
}

impl Default for Turn {
    fn default() -> Self {
        Self { number: 0, bytes: BYTES, steps: STEPS }
    }
}

impl Turn {
    /// The budget in the turn of this number: what is left of it, or a new one.
    pub(super) fn at(self, number: u64) -> Self {
        if self.number == number { self } else { Self { number, ..Self::default() } }
    }

    /// Whether another step may be taken, which is counted then.
    pub(super) fn takes_a_step(&mut self) -> bool {
        let may = self.steps > 0 && self.bytes > 0;
        self.steps -= usize::from(may);
        may
    }

    /// How many bytes may still be moved.
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// So many bytes were read or written.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lasts_for_one_turn_however_often_the_connection_is_advanced_in_it() {
        let mut turn = Turn::default().at(1);
        turn.moved(BYTES - 1);
        let mut turn = turn.at(1);
        assert!(turn.bytes() == 1 && turn.takes_a_step());
        turn.moved(2);
        assert!(turn.bytes() == 0 && !turn.takes_a_step());
        let mut turn = turn.at(2);
        let steps = (0..2 * STEPS).filter(|_| turn.takes_a_step()).count();
        assert_eq!((steps, turn.bytes()), (STEPS, BYTES));
    }
}
