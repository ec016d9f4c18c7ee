//! Reads the first message of a TLS connection, the ClientHello (RFC 8446 sections 4.1.2 and 5.1), as far as it names
//! the server (RFC 6066 section 3). Pure.

/// Number of bytes after which a message is complete or invalid.
pub(crate) const MAX_HELLO: usize = 20 << 10;

/// Maximum length of the message without the headers of its records.
const MAX_MESSAGE: usize = 16 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The first bytes of a connection, read as a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More bytes have to arrive.
    Incomplete,
    Complete {
        /// The name of the server, if the message has one.
        server_name: Option<String>,
    },
    /// These bytes do not begin a TLS connection.
    Invalid,
}

/// Reads the ClientHello at the start of a connection. Records may follow it.
pub(crate) fn read_hello(bytes: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // Every byte that is there must fit.
        let is_start = rest.iter().zip([HANDSHAKE, 3]).all(|(found, wanted)| *found == wanted);
        if !is_start || rest.get(2).is_some_and(|minor| *minor > 4) {
            return Hello::Invalid;
        }
        let Some((&[_, _, _, high, low], after)) = rest.split_first_chunk::<5>() else {
            return Hello::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_MESSAGE || message.len() + length > MAX_MESSAGE {
            return Hello::Invalid;
        }
        let (fragment, is_whole) = match after.split_at_checked(length) {
            Some((fragment, after)) => {
                rest = after;
                (fragment, true)
            }
            None => (after, false),
        };
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Hello::Invalid;
        }
        let announced = message
            .get(1..4)
            .map(|length| length.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)));
        match announced {
            // No other message may follow in the same record.
            Some(announced) if announced > MAX_MESSAGE - 4 || message.len() > announced + 4 => {
                return Hello::Invalid;
            }
            Some(announced) if is_whole && message.len() == announced + 4 => {
                return match server_name(&message[4..]) {
                    Some(server_name) => Hello::Complete { server_name },
                    None => Hello::Invalid,
                };
            }
            _ if !is_whole => return Hello::Incomplete,
            _ => {}
        }
    }
}

/// Returns the server's name in the content of a ClientHello, if there is one. `None` if the content is malformed.
fn server_name(content: &[u8]) -> Option<Option<String>> {
    let mut content = Fields(content);
    content.take(2 + 32)?;
    let session = content.vector(1)?;
    let suites = content.vector(2)?;
    let compressions = content.vector(1)?;
    if session.0.len() > 32 || suites.0.len() < 2 || suites.0.len() % 2 != 0 || compressions.0.is_empty() {
        return None;
    }
    if content.0.is_empty() {
        return Some(None);
    }
    let mut extensions = content.vector(2)?;
    if !content.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = extensions.vector(2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut names = extension.vector(2)?;
        let kind = names.number(1)?;
        let name = names.vector(2)?;
        let is_single = extension.0.is_empty() && names.0.is_empty() && found.is_none();
        if !is_single || kind != usize::from(HOST_NAME) || name.0.is_empty() || !name.0.is_ascii() {
            return None;
        }
        found = Some(String::from_utf8(name.0.to_vec()).ok()?);
    }
    Some(found)
}

/// The rest of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a number of this many bytes.
    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    }

    /// Reads a vector whose length has this many bytes.
    fn vector(&mut self, length: usize) -> Option<Fields<'a>> {
        let length = self.number(length)?;
        self.take(length).map(Fields)
    }
}

#[cfg(test)]
mod tests;
