//! How a body in transit is kept, and what stores it.

use std::sync::Arc;

use crate::base::cancellation::Cancellation;
use crate::base::memory_limit::Ledger;
use crate::message::digest::Digest;
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::{Spill, StoredBytes};

/// How much is read from the source at a time, in bytes.
pub(super) const PIECE: usize = 64 * 1024;

/// Stores a whole body with its SHA-256 digest and releases the followers. Dropped without a call if the body does
/// not become whole.
pub(crate) type Commit = Box<dyn FnOnce(Arrived, Digest) + Send>;

/// Stores the beginning of a body. Never waits for the disk.
pub(crate) type KeepBeginning = Arc<dyn Fn(Arrived) + Send + Sync>;

/// What has arrived of a body.
pub(crate) enum Arrived {
    /// It is in memory.
    Pieces(Pieces),
    /// It is in a file: its bytes, its length, and its number in the store.
    Spilled(Arc<dyn StoredBytes>, u64, u64),
    /// The same, of a file that is still written.
    Growing(Arc<dyn StoredBytes>, u64, u64),
}

/// Opens a file for a body in transit, given its length if known; `None` without such a file.
pub(crate) type BeginSpill = Box<dyn FnOnce(Option<u64>) -> Option<Arc<dyn Spill>> + Send>;

/// Opens the file of a stored beginning, to add the rest of the body; `None` if it cannot be continued. May block.
pub(crate) type ContinueSpill = Box<dyn FnOnce() -> Option<Arc<dyn Spill>> + Send>;

/// How a body is kept, and what stores it.
pub(crate) struct Keeping {
    /// The longest body that is kept, in bytes. A longer body passes through.
    pub(crate) limit: u64,
    /// The largest missing rest, in bytes, that is still fetched after the last reader has left.
    pub(crate) worth_finishing: u64,
    /// Counts the memory of the body.
    pub(crate) ledger: Arc<Ledger>,
    /// Cancelled when the last reader has left and the body is not worth finishing.
    pub(crate) cancellation: Cancellation,
    /// Takes a body that exceeds the limit or the memory.
    pub(crate) spill: Option<BeginSpill>,
    pub(crate) commit: Commit,
    /// Stores the beginning of a body whose transfer is interrupted.
    pub(crate) beginning: Option<KeepBeginning>,
    /// The length of the stored beginning that the body continues, and what opens its file.
    pub(crate) stored: Option<(u64, ContinueSpill)>,
}
