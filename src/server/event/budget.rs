//! The budget of one connection for one turn of the event loop. Pure.

/// Maximum number of bytes that one connection reads and writes in a turn: two pieces of a body, and heads. Transferring
/// them takes about 0.1 ms, for which other clients wait.
pub(super) const MAX_BYTES: usize = (128 << 10) + (4 << 10);

/// Maximum number of steps in a turn. Many small requests in one read cost more than their bytes.
const MAX_STEPS: usize = 64;

/// The rest of the budget of one connection in one turn of the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    number: u64,
    bytes: usize,
    steps: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { number: 0, bytes: MAX_BYTES, steps: MAX_STEPS }
    }
}

impl Budget {
    /// Returns the budget for the turn with this number: the rest of this one, or a new one.
    pub(super) fn for_turn(self, number: u64) -> Self {
        if self.number == number { self } else { Self { number, ..Self::default() } }
    }

    /// Takes a step. Returns `false` if the budget is used up.
    pub(super) fn take_step(&mut self) -> bool {
        let may = self.steps > 0 && self.bytes > 0;
        self.steps -= usize::from(may);
        may
    }

    /// Returns the number of bytes that may still be transferred.
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// Charges transferred bytes to the budget.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lasts_for_one_turn() {
        let mut budget = Budget::default().for_turn(1);
        budget.charge(MAX_BYTES - 1);
        let mut budget = budget.for_turn(1);
        assert!(budget.bytes() == 1 && budget.take_step());
        budget.charge(2);
        assert!(budget.bytes() == 0 && !budget.take_step());
        let mut budget = budget.for_turn(2);
        let steps = (0..2 * MAX_STEPS).filter(|_| budget.take_step()).count();
        assert_eq!((steps, budget.bytes()), (MAX_STEPS, MAX_BYTES));
    }
}
