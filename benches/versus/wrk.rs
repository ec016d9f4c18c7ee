//! The load generator: wrk, with a script that prints its results in a parseable form.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::packages;

/// The requests to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestPattern<'a> {
    /// The same path repeatedly.
    Same(&'a str),
    /// The same target repeatedly, which may be an absolute URL.
    Script(&'a str),
    /// The path followed by a number that increases from the given one.
    Distinct(&'a str, u64),
    /// The path followed by a random number below the given one.
    Among(&'a str, u64),
    /// Like `Distinct`, with the first requests of all connections spread over this time. Otherwise an origin with a
    /// fixed latency answers all of them in step, and the number of steps per measurement varies randomly.
    Spread(&'a str, u64, Duration),
}

/// The results of wrk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadResult {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) median_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
    /// Including heads.
    pub(crate) bytes: f64,
}

impl LoadResult {
    /// Computes the results of clients in this process from the microseconds of each request, the duration in
    /// seconds and the length of each body.
    pub(crate) fn of(
        mut times: Vec<f64>,
        seconds: f64,
        length: u64,
    ) -> std::result::Result<Self, &'static str> {
        times.sort_by(f64::total_cmp);
        let percentile =
            |percent: usize| times.get(times.len() * percent / 100).copied().ok_or("no responses");
        let requests = times.len() as f64;
        Ok(Self {
            requests,
            requests_per_second: requests / seconds,
            median_milliseconds: percentile(50)? / 1e3,
            p99_milliseconds: percentile(99)? / 1e3,
            bytes: requests * length as f64,
        })
    }
}

/// Runs the load for this time over this many connections, on one thread.
///
/// # Errors
///
/// If a response is an error or late, or if a connection breaks.
pub(crate) fn run(
    (scheme, address): (&str, SocketAddr),
    pattern: RequestPattern<'_>,
    connections: u32,
    seconds: u32,
    folder: &Path,
) -> Result<LoadResult> {
    let path = match pattern {
        RequestPattern::Same(path) => path.to_owned(),
        // The script has the target.
        RequestPattern::Script(_) => "/".to_owned(),
        RequestPattern::Distinct(path, first) | RequestPattern::Spread(path, first, _) => {
            format!("{path}{first}")
        }
        RequestPattern::Among(path, _) => format!("{path}0"),
    };
    let script = folder.join("wrk.lua");
    fs::write(&script, script_for(address, pattern, connections))?;
    // The kernel ends wrk with this process.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(packages::path_of("wrk")?);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency"]);
    command.args(["--timeout", "10s"]).arg("-s").arg(&script).arg(format!("{scheme}://{address}{path}"));
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).map_err(|error| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("wrk: {error}\n{text}{stderr}").into()
    })
}

fn script_for(address: SocketAddr, pattern: RequestPattern<'_>, connections: u32) -> String {
    // wrk calls `request` for each request if the script defines it, so omit it for a constant path.
    let request = match pattern {
        RequestPattern::Same(_) => String::new(),
        RequestPattern::Script(target) => format!(
            "local whole = 'GET {target} HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n'\n\
             request = function()\n\
             \x20 return whole\n\
             end\n"
        ),
        RequestPattern::Among(path, count) => format!(
            "request = function()\n\
             \x20 local number = math.random(0, {count} - 1)\n\
             \x20 return 'GET {path}' .. number .. ' HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n'\n\
             end\n"
        ),
        RequestPattern::Distinct(path, first) | RequestPattern::Spread(path, first, _) => format!(
            "local number = {first}\n\
             request = function()\n\
             \x20 number = number + 1\n\
             \x20 return 'GET {path}' .. number .. ' HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n'\n\
             end\n"
        ),
    };
    let delay = match pattern {
        RequestPattern::Spread(_, _, over) => format!(
            "local begun = 0\n\
             delay = function()\n\
             \x20 begun = begun + 1\n\
             \x20 if begun > {connections} then return 0 end\n\
             \x20 return math.floor(begun * {} / {connections})\n\
             end\n",
            over.as_millis()
        ),
        RequestPattern::Same(_)
        | RequestPattern::Script(_)
        | RequestPattern::Distinct(..)
        | RequestPattern::Among(..) => String::new(),
    };
    request
        + &delay
        + "done = function(summary, latency)\n\
           \x20 local errors = summary.errors\n\
           \x20 local broken = errors.connect + errors.read + errors.write + errors.timeout\n\
           \x20 print(string.format('versus %d %d %d %d %d %d %d', summary.requests, summary.duration,\n\
           \x20   latency:percentile(50), latency:percentile(99), summary.bytes, errors.status, broken))\n\
           end\n"
}

fn read(text: &str) -> Result<LoadResult> {
    let line =
        text.lines().find_map(|line| line.strip_prefix("versus ")).ok_or("no results in the output")?;
    let figures = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
    let &[requests, microseconds, median, p99, bytes, refused, broken] = &figures[..] else {
        return Err("unexpected results in the output".into());
    };
    // wrk counts 4xx and 5xx as errors and prints "Non-2xx" for other statuses except 3xx; the servers send no
    // redirects.
    if refused > 0.0 || broken > 0.0 || text.contains("Non-2xx") {
        return Err(format!("{refused} error responses, {broken} connection errors or timeouts").into());
    }
    if requests < 1.0 {
        return Err("no responses".into());
    }
    Ok(LoadResult {
        requests,
        requests_per_second: requests / (microseconds / 1e6),
        median_milliseconds: median / 1e3,
        p99_milliseconds: p99 / 1e3,
        bytes,
    })
}
