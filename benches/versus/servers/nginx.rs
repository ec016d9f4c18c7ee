//! nginx with `proxy_cache`, with the cache in memory.
//!
//! `tcp_nopush`, which is often combined with `sendfile`, is off: on loopback it delays the end of a response of 64
//! KiB by about 40 ms until the client's acknowledgement, which reduces nginx to a tenth of its rate.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use super::{DISK, MEMORY, Origin, free_bytes};
use crate::Result;
use crate::packages;
use crate::processes::Process;

/// Starts an nginx that passes requests on to this server, without a cache.
pub(super) fn launch_passing(home: &Path, port: u16, to: SocketAddr) -> Result<Process> {
    let config = format!(
        r#"
    upstream peer {{
        server {to};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://peer;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host {to};
        }}
    }}
"#
    );
    start(home, &config)
}

pub(super) fn launch(
    home: &Path,
    port: u16,
    origin: &Origin,
    certificate: Option<&Path>,
    is_on_disk: bool,
) -> Result<Process> {
    let folder = home.display();
    let most = if is_on_disk { DISK } else { MEMORY }.min(free_bytes(home)? / 2);
    let (address, scheme) = (origin.address, origin.scheme());
    let tls = origin.authority().map_or(String::new(), |file| {
        format!(
            "proxy_ssl_server_name on;
            proxy_ssl_name localhost;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {};
            proxy_ssl_protocols TLSv1.2 TLSv1.3;",
            file.display()
        )
    });
    let (ssl, served) = certificate.map_or((String::new(), ""), |file| {
        let file = file.display();
        let text = format!(
            "ssl_certificate {file};
        ssl_certificate_key {file};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_session_cache shared:sessions:10m;"
        );
        (text, " ssl")
    });
    let config = format!(
        r#"
    sendfile on;
    open_file_cache max=10000 inactive=600s;
    open_file_cache_valid 600s;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=cache:64m max_size={most} inactive=1h use_temp_path=off;
    upstream origin {{
        server {address};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port}{served} backlog=4096;
        {ssl}
        location / {{
            proxy_pass {scheme}://origin;
            {tls}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache cache;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
"#
    );
    start(home, &config)
}

/// Starts an nginx with these directives in the block `http`.
pub(super) fn start(home: &Path, directives: &str) -> Result<Process> {
    let folder = home.display();
    // nginx recommends one worker process per core.
    let workers = thread::available_parallelism()?;
    let config = format!(
        r#"
daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    {directives}
}}
"#
    );
    let file = home.join("nginx.conf");
    fs::write(&file, config)?;
    let arguments = ["-e", "stderr", "-p", &folder.to_string(), "-c", &file.display().to_string()];
    Process::start(&packages::path_of("nginx")?, arguments, &home.join("log"))
}
