//! Reads the header of the PROXY protocol, before TLS and HTTP.

use std::io::{self, Read};

use super::Connection;
use crate::server::event::context::ThreadContext;
use crate::server::event::next::Next;
use crate::server::proxy_protocol::{Header, MAX_HEADER, read_header};

impl Connection {
    /// Reads the header once it is complete. Until then its bytes stay in the socket.
    pub(super) fn read_proxy_header(&mut self, context: &mut ThreadContext) -> Next {
        let socket = self.transport.socket();
        let peeked = match socket.peek(&mut context.input[..MAX_HEADER]) {
            Ok(0) => return Next::Close,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Next::Again,
            Err(error) => return self.connection_lost(&error),
        };
        let (length, client) = match read_header(&context.input[..peeked]) {
            Header::Incomplete if !self.is_read_closed => return Next::Wait,
            Header::Incomplete | Header::Invalid => {
                log::warn!("a connection of {} does not begin with the PROXY protocol", self.remote.ip());
                return Next::Close;
            }
            Header::Complete { length, client } => (length, client),
        };
        // These bytes have arrived, so the read returns all of them.
        if let Err(error) = socket.read_exact(&mut context.input[..length]) {
            return self.connection_lost(&error);
        }
        self.has_proxy_header = false;
        self.remote = client.unwrap_or(self.remote);
        if !self.permit.assign(self.remote.ip()) {
            log::debug!("a connection over the limit of its client is closed");
            return Next::Close;
        }
        self.idle_since = context.now;
        Next::Again
    }
}
