//! Varnish with its storage in memory.

use std::fs;
use std::path::Path;

use super::{MEMORY, Origin};
use crate::Result;
use crate::packages;
use crate::processes::Process;

pub(super) fn launch(home: &Path, port: u16, origin: &Origin) -> Result<Process> {
    let rules = format!(
        r#"
vcl 4.1;
backend default {{
    .host = "{}";
    .port = "{}";
}}
sub vcl_deliver {{
    if (obj.hits > 0) {{
        set resp.http.X-Cache = "HIT";
    }} else {{
        set resp.http.X-Cache = "MISS";
    }}
}}
"#,
        origin.address.ip(),
        origin.address.port()
    );
    let file = home.join("rules.vcl");
    fs::write(&file, rules)?;
    let arguments = [
        // Run in the foreground, without a console, as the current user.
        "-F".to_owned(),
        "-T".to_owned(),
        "none".to_owned(),
        "-j".to_owned(),
        "none".to_owned(),
        "-n".to_owned(),
        home.join("work").display().to_string(),
        "-f".to_owned(),
        file.display().to_string(),
        "-a".to_owned(),
        format!("127.0.0.1:{port}"),
        "-s".to_owned(),
        format!("malloc,{MEMORY}b"),
        // Start enough threads for every connection.
        "-p".to_owned(),
        "thread_pools=2".to_owned(),
        "-p".to_owned(),
        "thread_pool_min=150".to_owned(),
        "-p".to_owned(),
        "thread_pool_max=1000".to_owned(),
    ];
    Process::start(&packages::path_of("varnishd")?, arguments, &home.join("log"))
}
