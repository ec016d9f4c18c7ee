//! Interrupted transfers: the beginning of a body is stored as a part (RFC 9111 section 3.3), and the fetch of the rest
//! continues its file (section 3.4).

use std::sync::Arc;

use http::StatusCode;

use super::engine::Inner;
use super::flight::Head;
use super::guarded_store::Place;
use super::tombstones::Fetch;
use crate::cache::fill::{Arrived, ContinueSpill, KeepBeginning};
use crate::message::pieces::Pieces;
use crate::policy::{Part, strong_tag};
use crate::store::{RemoteBody, StoredResponse};

impl Inner {
    /// Returns what stores the beginning of a whole response with this length if its transfer is interrupted; `None`
    /// if no later fetch could complete it. It never takes the place of a whole response.
    pub(super) fn beginning_of_whole(
        &self,
        head: &Arc<Head>,
        selected: Option<&Arc<StoredResponse>>,
        length: Option<u64>,
        fetch: &Arc<Fetch>,
    ) -> Option<KeepBeginning> {
        let complete = length?;
        let may_keep = head.status == StatusCode::OK
            && selected.is_none()
            && self.near.is_none()
            && strong_tag(&head.headers).is_some();
        may_keep.then(|| self.beginning(head, Part { start: 0, end: complete, complete }, fetch))
    }

    /// Returns what stores the beginning of this part. Its end is that of the whole transfer.
    pub(super) fn beginning(&self, head: &Arc<Head>, part: Part, fetch: &Arc<Fetch>) -> KeepBeginning {
        let (store, head, fetch) = (self.store.clone(), Arc::clone(head), Arc::clone(fetch));
        Arc::new(move |arrived| {
            let (pieces, remote, place) = match arrived {
                Arrived::Pieces(pieces) => (pieces, None, Place::Memory),
                Arrived::Spilled(source, length, number) => {
                    (Pieces::new(), Some(RemoteBody::on_disk(length, source)), Place::File(number))
                }
                Arrived::Growing(source, length, number) => {
                    (Pieces::new(), Some(RemoteBody::on_disk(length, source)), Place::GrowingFile(number))
                }
            };
            let length = remote.as_ref().map_or(pieces.len() as u64, |remote| remote.length);
            let stored = head.to_part(Part { end: part.start + length, ..part }, pieces, fetch.sequence());
            let stored = match remote {
                Some(remote) => stored.with_remote(remote),
                None => stored,
            };
            store.insert_beginning(&fetch, &Arc::new(stored), place);
        })
    }

    /// Returns the length of the stored beginning that a response continues, and what opens its file.
    pub(super) fn continued(
        &self,
        fetch: &Fetch,
        beginning: &Arc<StoredResponse>,
        length: Option<u64>,
    ) -> Option<(u64, ContinueSpill)> {
        let open = self.store.continue_spill(fetch.key(), beginning, length)?;
        Some((beginning.body_length() as u64, open))
    }
}
