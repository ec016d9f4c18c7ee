//! The client to which the work of a thread is charged. A shared resource below the scheduler reads it, such as the resolver, so that
//! one client does not take all of it.

use std::cell::Cell;
use std::net::IpAddr;

thread_local! {
    static CLIENT: Cell<Option<IpAddr>> = const { Cell::new(None) };
}

/// Returns the client to which the work of this thread is charged, if it is known.
pub(crate) fn client() -> Option<IpAddr> {
    CLIENT.get()
}

/// Charges the work of this thread to a client, until the guard is dropped.
#[cfg(feature = "peer")]
pub(crate) fn charge(client: Option<IpAddr>) -> Charged {
    Charged { previous: CLIENT.replace(client) }
}

/// Restores the previous client of the thread when dropped.
#[cfg(feature = "peer")]
pub(crate) struct Charged {
    previous: Option<IpAddr>,
}

#[cfg(feature = "peer")]
impl Drop for Charged {
    fn drop(&mut self) {
        CLIENT.set(self.previous);
    }
}
