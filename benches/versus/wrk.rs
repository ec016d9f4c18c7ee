//! The load: wrk, with a script that says its figures so that they can be read.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::packages;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asking<'a> {
    /// This path, again and again.
    Same(&'a str),
    /// This path with a number after it, from the one given upwards.
    Distinct(&'a str, u64),
    /// This path with a number after it, any below the one given.
    Among(&'a str, u64),
    /// As `Distinct`, the first requests of all connections spread over that long. An origin that takes a
    /// fixed time would answer all of them in step otherwise, and how many steps fit into a turn is chance.
    Spread(&'a str, u64, Duration),
}

/// What wrk saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) median_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
    /// Heads included.
    pub(crate) bytes: f64,
}

impl Seen {
    /// What a client of this process saw: the microseconds of each request in that many seconds, and the length of each
    /// body.
    pub(crate) fn of(
        mut times: Vec<f64>,
        seconds: f64,
        length: u64,
    ) -> std::result::Result<Self, &'static str> {
        times.sort_by(f64::total_cmp);
        let percentile =
            |percent: usize| times.get(times.len() * percent / 100).copied().ok_or("nothing was answered");
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

/// Asks for that long, over that many connections at a time, by one thread.
///
/// # Errors
///
/// When any answer is an error, any is late, or any connection breaks.
pub(crate) fn run(
    (scheme, address): (&str, SocketAddr),
    asking: Asking<'_>,
    connections: u32,
    seconds: u32,
    folder: &Path,
) -> Result<Seen> {
    let path = match asking {
        Asking::Same(path) => path.to_owned(),
        Asking::Distinct(path, first) | Asking::Spread(path, first, _) => format!("{path}{first}"),
        Asking::Among(path, _) => format!("{path}0"),
    };
    let script = folder.join("wrk.lua");
    fs::write(&script, script_for(address, asking, connections))?;
    // It ends with this process too.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(packages::path_of("wrk")?);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency"]);
    command.args(["--timeout", "10s"]).arg("-s").arg(&script).arg(format!("{scheme}://{address}{path}"));
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).map_err(|error| {
        let complaints = String::from_utf8_lossy(&output.stderr);
        format!("wrk: {error}\n{text}{complaints}").into()
    })
}

fn script_for(address: SocketAddr, asking: Asking<'_>, connections: u32) -> String {
    // Only a script with a function `request` is asked for each of them: the others cost wrk nothing.
    let request = match asking {
        Asking::Same(_) => String::new(),
        Asking::Among(path, count) => format!(
            "request = function()\n\
             \x20 return 'GET {path}' .. math.random(0, {count} - 1) .. ' HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n'\n\
             end\n"
        ),
        Asking::Distinct(path, first) | Asking::Spread(path, first, _) => format!(
            "local number = {first}\n\
             request = function()\n\
             \x20 number = number + 1\n\
             \x20 return 'GET {path}' .. number .. ' HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n'\n\
             end\n"
        ),
    };
    let delay = match asking {
        Asking::Spread(_, _, over) => format!(
            "local begun = 0\n\
             delay = function()\n\
             \x20 begun = begun + 1\n\
             \x20 if begun > {connections} then return 0 end\n\
             \x20 return math.floor(begun * {} / {connections})\n\
             end\n",
            over.as_millis()
        ),
        Asking::Same(_) | Asking::Distinct(..) | Asking::Among(..) => String::new(),
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

fn read(text: &str) -> Result<Seen> {
    let line = text.lines().find_map(|line| line.strip_prefix("versus ")).ok_or("it says no figures")?;
    let figures = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
    let &[requests, microseconds, median, p99, bytes, refused, broken] = &figures[..] else {
        return Err("its figures are others".into());
    };
    // wrk counts 4xx and 5xx, and prints a line about what is neither 2xx nor 3xx; nobody here redirects.
    if refused > 0.0 || broken > 0.0 || text.contains("Non-2xx") {
        return Err(format!("{refused} answers are errors, {broken} connections broke or were late").into());
    }
    if requests < 1.0 {
        return Err("nothing was answered".into());
    }
    Ok(Seen {
        requests,
        requests_per_second: requests / (microseconds / 1e6),
        median_milliseconds: median / 1e3,
        p99_milliseconds: p99 / 1e3,
        bytes,
    })
}
