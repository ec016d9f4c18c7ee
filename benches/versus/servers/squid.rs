//! Squid as an accelerator, and as a forward proxy for tunnels, with its cache in memory. It runs as a single process, because its workers can share a
//! memory cache only with the help of a background process.

use std::fs;
use std::path::Path;

use super::{MEMORY, Origin};
use crate::Result;
use crate::packages;
use crate::processes::Process;

pub(super) fn launch(home: &Path, port: u16, origin: &Origin) -> Result<Process> {
    let origin = origin.address;
    let role = format!(
        "http_port 127.0.0.1:{port} accel defaultsite={origin} no-vhost\n\
         cache_peer {host} parent {origin_port} 0 no-query no-digest no-netdb-exchange originserver name=origin\n\
         cache_peer_access origin allow all\n",
        host = origin.ip(),
        origin_port = origin.port(),
    );
    start(home, &role)
}

/// Starts a forward proxy for tunnels to any port.
pub(super) fn launch_proxy(home: &Path, port: u16) -> Result<Process> {
    start(home, &format!("http_port 127.0.0.1:{port}\n"))
}

fn start(home: &Path, role: &str) -> Result<Process> {
    let folder = home.display();
    let config = format!(
        "{role}\
         http_access allow all\n\
         visible_hostname versus\n\
         cache_mem {MEMORY} bytes\n\
         maximum_object_size 8 MB\n\
         maximum_object_size_in_memory 4 MB\n\
         memory_cache_shared off\n\
         access_log none\n\
         cache_store_log none\n\
         cache_log {folder}/cache.log\n\
         pid_filename {folder}/squid.pid\n\
         coredump_dir {folder}\n\
         netdb_filename none\n\
         pinger_enable off\n\
         icp_port 0\n\
         shutdown_lifetime 0 seconds\n"
    );
    let file = home.join("squid.conf");
    fs::write(&file, config)?;
    let arguments = ["-N", "-f", &file.display().to_string()];
    Process::start_as("proxy", &packages::path_of("squid")?, arguments, &home.join("log"))
}
