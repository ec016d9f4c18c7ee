//! A body that holds the permit of its fetch.

use std::io::{self, Read};

use super::shared::Permit;
use crate::message::body::Body;

/// A body that holds a permit.
struct PermitBody {
    body: Body,
    permit: Option<Permit>,
}

/// Wraps a body so that it returns the permit when it ends, fails or is dropped.
pub(super) fn with_permit(body: Body, permit: Permit) -> Body {
    if body.as_bytes().is_some() || body.is_empty() {
        return body;
    }
    body.map_reader(|body| PermitBody { body, permit: Some(permit) })
}

impl Read for PermitBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer);
        let is_over = match &read {
            Ok(0) => !buffer.is_empty(),
            // A reader that knows the length does not read once more to see the end.
            Ok(_) => self.body.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        if is_over {
            self.permit = None;
        }
        read
    }
}
