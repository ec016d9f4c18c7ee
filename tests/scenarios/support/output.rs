//! Captures the output of a child process as it is printed.

use std::io::Read;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::TEST_TIMEOUT;
use super::wire::find;

/// Output read from the pipes of a child process. One thread per pipe reads continuously, so the child never blocks
/// on a full pipe.
pub(crate) struct Output<const PIPES: usize> {
    shared: Arc<Shared<PIPES>>,
    readers: Vec<JoinHandle<()>>,
}

struct Shared<const PIPES: usize> {
    state: Mutex<State<PIPES>>,
    changed: Condvar,
}

struct State<const PIPES: usize> {
    printed: [Vec<u8>; PIPES],
    ended: usize,
}

impl<const PIPES: usize> Output<PIPES> {
    pub(crate) fn of(pipes: [Box<dyn Read + Send>; PIPES]) -> Self {
        let state = Mutex::new(State { printed: std::array::from_fn(|_| Vec::new()), ended: 0 });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let readers = pipes.into_iter().enumerate().map(|(index, pipe)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.read(index, pipe))
        });
        Self { readers: readers.collect(), shared }
    }

    /// Blocks until a pipe contains a complete line with `needle`, and returns the first such line. Returns `None` if
    /// the pipes end without it, or after [`TEST_TIMEOUT`].
    pub(crate) fn wait_for_line(&self, needle: &str) -> Option<String> {
        let mut found = None;
        let mut searched = [0; PIPES];
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(
            &mut state,
            |state| {
                found = state.search(&mut searched, needle);
                found.is_none() && state.ended < PIPES
            },
            TEST_TIMEOUT,
        );
        found
    }

    /// Blocks until every pipe is closed. Returns whether that happened within [`TEST_TIMEOUT`].
    pub(crate) fn wait_for_end(&self) -> bool {
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while_for(&mut state, |state| state.ended < PIPES, TEST_TIMEOUT);
        state.ended == PIPES
    }

    /// Returns the bytes read from this pipe so far.
    pub(crate) fn printed(&self, pipe: usize) -> Vec<u8> {
        self.shared.state.lock().printed[pipe].clone()
    }

    /// Returns the output of this pipe so far as text.
    pub(crate) fn text(&self, pipe: usize) -> String {
        String::from_utf8_lossy(&self.printed(pipe)).into_owned()
    }
}

impl<const PIPES: usize> Drop for Output<PIPES> {
    fn drop(&mut self) {
        // A grandchild may keep a pipe open; in that case the reader threads are not joined.
        if self.wait_for_end() {
            self.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
        }
    }
}

impl<const PIPES: usize> Shared<PIPES> {
    fn read(&self, index: usize, mut pipe: Box<dyn Read + Send>) {
        let mut block = [0; 16 * 1024];
        loop {
            let read = pipe.read(&mut block).unwrap_or(0);
            let mut state = self.state.lock();
            state.printed[index].extend_from_slice(&block[..read]);
            state.ended += usize::from(read == 0);
            drop(state);
            self.changed.notify_all();
            if read == 0 {
                return;
            }
        }
    }
}

impl<const PIPES: usize> State<PIPES> {
    /// Returns the first complete line that contains `needle`, starting where the last search ended.
    fn search(&self, searched: &mut [usize; PIPES], needle: &str) -> Option<String> {
        for (printed, from) in self.printed.iter().zip(searched) {
            while let Some(length) = find(&printed[*from..], b"\n") {
                let line = String::from_utf8_lossy(&printed[*from..*from + length]).into_owned();
                if line.contains(needle) {
                    return Some(line);
                }
                *from += length + 1;
            }
        }
        None
    }
}
