//! Measures a program that runs again and again for one URL: the time of a whole process whose response comes from the
//! cache of an earlier run. `cargo bench --features cli --bench cron [-- PYTHON]` compares the command with requests-cache
//! and hishel, if that Python (default: `python3`) has them:
//!
//! ```sh
//! python3 -m venv /tmp/cron && /tmp/cron/bin/pip install requests-cache 'hishel[httpx]'
//! cargo bench --features cli --bench cron -- /tmp/cron/bin/python
//! ```

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot measure should stop")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

const ROUNDS: usize = 31;

const REQUESTS_CACHE: &str = "
import sys, requests_cache
session = requests_cache.CachedSession(sys.argv[1] + '/requests-cache', cache_control=True)
sys.stdout.buffer.write(session.get(sys.argv[2]).content)
";

const HISHEL: &str = "
import sys, hishel, hishel.httpx
storage = hishel.SqliteStorage(database_path=sys.argv[1] + '/hishel.db')
with hishel.httpx.CacheClient(storage=storage) as client:
    sys.stdout.buffer.write(client.get(sys.argv[2]).content)
";

/// A program, and how it fetches a URL with a cache in a directory.
struct Contender {
    name: &'static str,
    program: PathBuf,
    before: &'static [&'static str],
    /// Whether the program takes the directory and the URL as its last arguments, and prints the body.
    fetches: bool,
    times: Vec<f64>,
}

impl Contender {
    fn new(name: &'static str, program: &Path, before: &'static [&'static str]) -> Self {
        Self { name, program: program.to_owned(), before, fetches: true, times: Vec::new() }
    }

    /// Runs the program, and returns the milliseconds from its start to its end.
    fn run(&self, directory: &Path, url: &str, length: usize) -> f64 {
        let mut command = Command::new(&self.program);
        command.args(self.before);
        if self.fetches {
            command.arg(directory).arg(url);
        }
        let begun = Instant::now();
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        let time = begun.elapsed().as_secs_f64() * 1e3;
        assert!(output.status.success(), "{} failed", self.name);
        assert!(!self.fetches || output.stdout.len() == length, "{} printed another body", self.name);
        time
    }
}

/// Serves bodies of the length in the path, fresh for an hour, and counts the requests.
fn origin() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, count) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            counted.fetch_add(1, Ordering::Relaxed);
            let target = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
            let length: usize = target.split('/').nth(1).unwrap().parse().unwrap();
            let date = httpdate::fmt_http_date(std::time::SystemTime::now());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nDate: {date}\r\nConnection: close\r\n\
                 Content-Type: application/octet-stream\r\nCache-Control: max-age=3600\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &vec![b'x'; length]].concat()).unwrap();
        }
    });
    (url, count)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn contenders(python: &Path) -> Vec<Contender> {
    let ours = Path::new(env!("CARGO_BIN_EXE_forwardcache"));
    let mut all = vec![Contender::new("forwardcache get", ours, &["get", "--store"])];
    let has = |package: &str| {
        let tried =
            Command::new(python).args(["-c", &format!("import {package}")]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    if !has("sys") {
        eprintln!("SKIPPED: requests-cache and hishel: {} cannot be run", python.display());
        return all;
    }
    for (name, package, script) in [
        ("requests-cache", "requests_cache", &["-c", REQUESTS_CACHE] as &[_]),
        ("hishel", "hishel.httpx", &["-c", HISHEL]),
    ] {
        if has(package) {
            all.push(Contender::new(name, python, script));
        } else {
            eprintln!("SKIPPED: {name}: {} has no module {package}", python.display());
        }
    }
    all.push(Contender {
        fetches: false,
        ..Contender::new("Python without a module", python, &["-c", "pass"])
    });
    all
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("a test run measures nothing; run `cargo bench --features cli --bench cron`");
        return;
    }
    let python = arguments.into_iter().find(|argument| !argument.starts_with('-'));
    let python = PathBuf::from(python.unwrap_or_else(|| "python3".to_owned()));
    let (origin, count) = origin();
    for length in [1 << 10, 1 << 20] {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("{origin}/{length}/a");
        let mut contenders = contenders(&python);
        for contender in &contenders {
            contender.run(directory.path(), &url, length);
        }
        let before = count.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            for contender in &mut contenders {
                let time = contender.run(directory.path(), &url, length);
                contender.times.push(time);
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), before, "a run was not a hit");
        println!("hit of {} KiB, median of {ROUNDS} runs", length >> 10);
        let ours = median(&mut contenders[0].times.clone());
        for contender in &mut contenders {
            let time = median(&mut contender.times);
            println!("  {:<24} {time:>8.1} ms {:>8.1} x", contender.name, time / ours);
        }
    }
}
