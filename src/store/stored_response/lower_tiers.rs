//! Responses that a tier below memory holds.

use super::{Content, RemoteBody, StoredResponse};
#[cfg(any(feature = "disk", feature = "redis"))]
use crate::message::pieces::Pieces;

/// The names of all tiers below memory.
pub(super) const NAMES: [&str; 2] = [RemoteBody::DISK, RemoteBody::REDIS];

impl StoredResponse {
    /// Returns the same response with a body that a lower tier holds.
    pub(crate) fn with_remote(self, remote: RemoteBody) -> Self {
        let content = Content::Remote(Box::new((self.field_lines(), remote)));
        Self { content, is_body_counted: false, ..self }
    }

    /// Returns the same response with this body in memory. The ledger counts the body separately unless it is short.
    #[cfg(any(feature = "disk", feature = "redis"))]
    pub(crate) fn with_body(&self, body: Pieces) -> Self {
        let content = Content::new(self.field_lines().to_vec(), body);
        Self { content, is_body_counted: true, ..self.clone() }
    }

    /// Returns the body if a lower tier holds it.
    pub(crate) fn remote(&self) -> Option<&RemoteBody> {
        match &self.content {
            Content::Remote(remote) => Some(&remote.1),
            Content::Together(..) | Content::Apart(_) => None,
        }
    }

    /// Returns the same response, marked as read from this tier for the current request.
    pub(crate) fn read_from(&self, tier: &'static str) -> Self {
        let position = NAMES.iter().zip(1..).find(|(name, _)| **name == tier);
        Self { read_from: position.map_or(0, |(_, number)| number), ..self.clone() }
    }

    /// Returns the name of the tier that has the body or from which the response was read; `None` for memory.
    pub(crate) fn tier(&self) -> Option<&'static str> {
        let read_from = usize::from(self.read_from).checked_sub(1).map(|position| NAMES[position]);
        read_from.or_else(|| Some(self.remote()?.tier))
    }
}
