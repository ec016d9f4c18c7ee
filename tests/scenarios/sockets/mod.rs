//! Unix sockets, sockets of the service manager, the PROXY protocol, and restarts without an interruption.
//!
//! | module | subject |
//! |---|---|
//! | `unix` | several sockets, Unix sockets, sockets that the service manager hands over |
//! | `proxy_protocol` | the client that a proxy names |
//! | `gateway` | the same for a gateway |
//! | `restart` | a process hands its sockets to its successor |

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::local::escaped;
use crate::support::TEST_TIMEOUT;

mod gateway;
mod proxy_protocol;
mod restart;
mod unix;

/// Sends a request on a stream and returns everything that follows, up to the end of the connection.
fn exchange(mut stream: impl Read + Write, request: impl AsRef<[u8]>) -> String {
    stream.write_all(request.as_ref()).expect("the request can be written");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("the response can be read");
    String::from_utf8_lossy(&response).into_owned()
}

fn get(url: &str) -> String {
    format!("GET /proxy?q={} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", escaped(url))
}

/// Plays the service manager that processes notify.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn start(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("the path is free");
        socket.set_read_timeout(Some(TEST_TIMEOUT)).expect("the timeout is not zero");
        Self { socket, path }
    }

    /// Returns the next notification.
    fn receive(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("a notification arrives");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}
