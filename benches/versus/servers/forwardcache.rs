//! The release build of this crate's command.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{DISK, MEMORY, Origin};
use crate::Result;
use crate::processes::Process;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_forwardcache");

/// The memory of a server whose responses are mostly on disk.
const ON_DISK: u64 = 16 << 20;

/// Raises the limit of connections per address, since the load comes from a single address.
const CONNECTIONS: [&str; 2] = ["--max-connections-per-address", "20000"];

pub(super) fn launch(
    home: &Path,
    port: u16,
    origin: &Origin,
    certificate: Option<&Path>,
    is_on_disk: bool,
) -> Result<Process> {
    let mut arguments = vec!["serve".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
    arguments.push("--http-proxy".to_owned());
    let memory = if is_on_disk { ON_DISK } else { MEMORY };
    arguments.extend(["--memory".to_owned(), format!("{}MiB", memory >> 20)]);
    if is_on_disk {
        arguments.extend(["--store".to_owned(), home.join("store").display().to_string()]);
        arguments.extend(["--disk".to_owned(), format!("{}MiB", DISK >> 20)]);
    }
    let help = Command::new(BINARY).args(["serve", "--help"]).output()?;
    if String::from_utf8_lossy(&help.stdout).contains(CONNECTIONS[0]) {
        arguments.extend(CONNECTIONS.map(str::to_owned));
    }
    if let Some(file) = origin.authority() {
        arguments.extend(["--cacert".to_owned(), file.display().to_string()]);
    }
    if let Some(file) = certificate {
        let file = file.display().to_string();
        arguments.extend(["--tls-cert".to_owned(), file.clone(), "--tls-key".to_owned(), file]);
    }
    Process::start(Path::new(BINARY), arguments, &home.join("log"))
}

/// Starts a peer with an access log in a file.
pub(super) fn launch_logging(home: &Path, port: u16) -> Result<Process> {
    let (listen, memory) = (format!("127.0.0.1:{port}"), format!("{}MiB", MEMORY >> 20));
    let log = home.join("access.log").display().to_string();
    let arguments = ["serve", "--listen", &listen, "--memory", &memory, "--access-log", &log];
    let arguments = arguments.iter().chain(&CONNECTIONS).map(|argument| (*argument).to_owned());
    Process::start(Path::new(BINARY), arguments, &home.join("log"))
}

/// Starts a gateway to a peer, without a near cache.
pub(super) fn launch_gateway(home: &Path, port: u16, peer: SocketAddr) -> Result<Process> {
    let (listen, peer) = (format!("127.0.0.1:{port}"), format!("http://{peer}"));
    let arguments = ["gateway", "--listen", &listen, "--peer", &peer, "--near-memory", "0"];
    Process::start(
        Path::new(BINARY),
        arguments.iter().map(|argument| (*argument).to_owned()),
        &home.join("log"),
    )
}

/// Starts a forward proxy for tunnels to these ports.
pub(super) fn launch_proxy(home: &Path, port: u16, ports: &[u16]) -> Result<Process> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["serve", "--listen", &listen, "--http-proxy", "--connect-ports", &ports.join(",")];
    let arguments = arguments.iter().chain(&CONNECTIONS).map(|argument| (*argument).to_owned());
    Process::start(Path::new(BINARY), arguments, &home.join("log"))
}

/// Returns the path on a peer for a path of an origin, `http://host:port`.
pub(crate) fn path(origin: &str, path: &str) -> String {
    let url = format!("{origin}{path}");
    format!("/proxy?q={}", url.replace(':', "%3A").replace('/', "%2F"))
}
