//! Limits retries after a busy peer: a token bucket that requests fill.

use std::sync::atomic::{AtomicU32, Ordering};

/// Unit: a tenth of a token. Not zero, so that a program that sends a single request can retry it.
const AT_FIRST: u32 = 10 * TOKEN;
const MOST: u32 = 100 * TOKEN;
const TOKEN: u32 = 10;

/// A bucket that starts with ten tokens; each request adds a tenth of one, up to 100 tokens.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(AT_FIRST))
    }
}

impl RetryBudget {
    pub(super) fn add_request(&self) {
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| (held < MOST).then_some(held + 1));
    }

    /// Takes a token; returns `false` if there is none.
    pub(super) fn take(&self) -> bool {
        let take = |held: u32| held.checked_sub(TOKEN);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_starts_with_ten_tokens_and_gains_one_per_ten_requests() {
        let budget = RetryBudget::default();
        assert!((0..10).all(|_| budget.take()) && !budget.take());
        (0..25).for_each(|_| budget.add_request());
        assert!(budget.take() && budget.take() && !budget.take());
        (0..10_000).for_each(|_| budget.add_request());
        assert_eq!((0..).take_while(|_| budget.take()).count(), 100);
    }
}
