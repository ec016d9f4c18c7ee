//! Cancellation of fetches: a token that the fetching thread checks, and that runs hooks when it is cancelled.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// A token that cancels a fetch from another thread.
///
/// A request that the cache sends may carry a token in its extensions. [`Origin`](crate::Origin) shuts down the
/// connection of a cancelled exchange, so a blocked read returns at once. Your own [`RoundTrip`](crate::RoundTrip) can
/// do the same with [`on_cancel`](Self::on_cancel), can check [`is_cancelled`](Self::is_cancelled) between two steps,
/// or can ignore the token.
///
/// Clones share one state. A cancelled token stays cancelled.
///
/// ```
/// use forwardcache::Cancellation;
///
/// let token = Cancellation::new();
/// let hook = token.on_cancel(|| println!("cancelled"));
/// token.cancel();
/// assert!(token.is_cancelled());
/// # drop(hook);
/// ```
#[derive(Clone, Default)]
pub struct Cancellation {
    state: Arc<Mutex<State>>,
}

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    is_cancelled: bool,
    next: u64,
    hooks: Vec<(u64, Hook)>,
}

/// A guard that keeps a hook registered. Dropping the guard removes the hook.
#[must_use = "dropping the guard removes the hook"]
pub struct CancelHook {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl Cancellation {
    /// Creates a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the token and runs the registered hooks on this thread. Further calls do nothing.
    pub fn cancel(&self) {
        let mut state = self.state.lock();
        state.is_cancelled = true;
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().is_cancelled
    }

    /// Returns whether both tokens are clones of one token.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Registers `hook`, which the cancelling thread runs: the hook must be quick and must not block. If the token is
    /// already cancelled, the hook runs at once on this thread. Dropping the returned guard removes the hook.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> CancelHook {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        if state.is_cancelled {
            drop(state);
            hook();
        } else {
            state.hooks.push((number, Box::new(hook)));
        }
        CancelHook { state: Arc::clone(&self.state), number }
    }
}

impl Drop for CancelHook {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let at = state.hooks.iter().position(|(number, _)| *number == self.number);
        let unused = at.map(|at| state.hooks.swap_remove(at));
        drop(state);
        drop(unused);
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

impl fmt::Debug for CancelHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn hooks_run_once_and_removed_hooks_never_run() {
        let count = Arc::new(AtomicUsize::new(0));
        let hook = |by: usize| {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(by, Ordering::Relaxed);
            }
        };
        let token = Cancellation::new();
        let kept = token.clone().on_cancel(hook(1));
        drop(token.on_cancel(hook(10)));
        assert!(!token.is_cancelled());
        token.cancel();
        token.cancel();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let late = token.on_cancel(hook(100));
        assert_eq!(count.load(Ordering::Relaxed), 101);
        drop((kept, late));
    }
}
