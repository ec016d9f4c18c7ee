//! `forwardcache warm`: the command, a peer and an origin over sockets.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use forwardcache::pool::Tokens;
use serde_json::Value;
use tempfile::TempDir;

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::process::{Process, command, run};
use crate::support::{TEST_TIMEOUT, wait_until};

/// A reply that can be stored.
fn stored(received: &Received) -> Reply {
    Reply::target(received).field("Cache-Control", "max-age=3600")
}

/// A folder for lists.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.text(name)
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn sitemap(urls: &[String]) -> String {
    let entries: String = urls.iter().map(|url| format!("<url><loc>{url}</loc></url>\n")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n{entries}</urlset>"
    )
}

fn index(urls: &[String]) -> String {
    let entries: String = urls.iter().map(|url| format!("<sitemap><loc>{url}</loc></sitemap>")).collect();
    format!("<sitemapindex>{entries}</sitemapindex>")
}

/// The JSON lines about URLs, sorted, and the summary.
fn lines(output: &Output) -> (Vec<Value>, Value) {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().expect("the last line is the summary")["summary"].clone();
    lines.sort_by_key(|line| line["url"].as_str().map(str::to_owned));
    (lines, summary)
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Runs `warm --json` with these arguments and checks its exit code.
fn warm(arguments: &[&str], code: i32) -> (Vec<Value>, Value, String) {
    let output = run([&["warm", "--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    let (lines, summary) = lines(&output);
    (lines, summary, stderr(&output).to_owned())
}

#[test]
fn list_of_lines_fills_the_pool_and_the_summary_counts_each_result() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/private" => Reply::ok("x").field("Cache-Control", "no-store"),
        "/missing" => Reply::status(404).body("missing"),
        "/cut" => Reply::ok("x".repeat(300_000)).cut_after(200_000),
        _ => stored(received),
    });
    let pool = LocalPeer::pool(2);
    let urls = LocalPeer::urls(&pool);
    let peers = ["--peer", &urls[0], "--peer", &urls[1]];
    let (folder, url) = (Folder::new(), |path: &str| origin.url(path));
    let list = format!(
        "# comment\n\n{}\r\n  {}  \n{}\n{}\nno url\n{}\n{}\n{}#fragment\n",
        url("/a"),
        url("/b"),
        url("/private"),
        url("/missing"),
        "ftp://host/",
        url("/cut"),
        url("/a"),
    );
    let list = folder.write("list.txt", &list);
    let (lines, summary, messages) = warm(&[&peers[..], &["-H", "X-One: 1", &list]].concat(), 1);
    let results: Vec<_> = lines
        .iter()
        .map(|line| {
            let path = line["url"].as_str().unwrap().rsplit('/').next().unwrap();
            format!("{path} {} {} {}", line["result"], line["reason"], line["status"]).replace('"', "")
        })
        .collect();
    let expected = ["a stored null 200", "b stored null 200", "cut failed incomplete-body 200"];
    assert_eq!(results[..3], expected);
    assert_eq!(results[3..], ["missing failed 404 404", "private not-stored no-store 200"]);
    assert!(lines.iter().all(|line| urls.iter().any(|peer| line["peer"] == peer.as_str())), "{lines:?}");
    assert_eq!((&summary["urls"], &summary["stored"], &summary["hits"]), (&5.into(), &2.into(), &0.into()));
    assert_eq!(summary["not_stored"].to_string(), r#"{"no-store":1}"#);
    assert_eq!(summary["failed"].to_string(), r#"{"404":1,"incomplete-body":1}"#);
    assert_eq!(summary["invalid"], 2);
    assert!(messages.contains("list.txt, line 7: ") && messages.contains("list.txt, line 8: "), "{messages}");
    assert_eq!(messages.lines().count(), 2, "{messages}");
    assert!(origin.seen().iter().all(|received| received.field("x-one") == Some("1")));

    // The pool has them now, for a client that asks any other way.
    let before = origin.count();
    let output = run([&["get"], &peers[..], &[&url("/a")]].concat());
    assert_eq!((output.stdout.as_slice(), origin.count()), (&b"/a"[..], before));
    let list = folder.write("good.txt", format!("{}\n{}", url("/a"), url("/b")));
    let (_, summary, messages) = warm(&[&peers[..], &[&list]].concat(), 0);
    assert_eq!((&summary["hits"], &summary["stored"], messages.as_str()), (&2.into(), &0.into(), ""));
    assert_eq!(origin.count(), before);
}

#[test]
fn text_output_names_failures_and_ends_with_one_line() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/missing" => Reply::status(404).body("missing"),
        _ => stored(received),
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list = folder.write("list", format!("{}\n{}\n", origin.url("/a"), origin.url("/missing")));
    let output = run(["warm", "--peer", &peer.url(), &list]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("2 URLs in ") && text.ends_with(" bytes\n"), "{text}");
    let counts = ": 0 hits, 0 revalidated, 1 stored, 0 not stored, 1 failed (404: 1); 9 bytes";
    assert!(text.contains(counts) && text.lines().count() == 1, "{text}");
    let failure = format!("forwardcache: {}: status 404\n", origin.url("/missing"));
    assert_eq!(stderr(&output), failure);
    let output = run(["warm", "--silent", "--peer", &peer.url(), &list]);
    assert_eq!((output.stdout.as_slice(), stderr(&output)), (&b""[..], failure.as_str()));
}

#[test]
fn standard_input_and_gzip_are_read() {
    let origin = Origin::start(stored);
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let text = format!("\n\n{}\n", origin.url("/a"));
    let packed = sitemap(&[origin.url("/b"), origin.url("/c?d=1&amp;e=2")]);
    for (name, content, count) in [("text", text.into_bytes(), 1), ("sitemap", gzip(&packed), 2)] {
        let file = folder.write(name, content);
        let command = command(["warm", "--json", "--peer", &peer.url(), "-"]);
        let mut process = Process::start_with(command, Stdio::from(File::open(file).unwrap())).unwrap();
        assert_eq!(process.wait().code(), Some(0), "{}", process.stderr());
        process.wait_for_line(&format!("\"stored\":{count},"));
    }
    assert_eq!(origin.count_of("/c?d=1&e=2"), 1);
    assert_eq!(origin.count(), 3);
}

#[test]
fn index_of_sitemaps_is_fetched_through_the_pool() {
    let origin = Origin::start(move |received| {
        let host = received.field("host").unwrap();
        let url = |path: &str| format!("http://{host}{path}");
        let body = match received.target.as_str() {
            "/index" => index(&["/1.xml.gz", "/2", "/missing", "/index"].map(url)).into_bytes(),
            "/1.xml.gz" => gzip(&sitemap(&[url("/a"), url("/b")])),
            "/2" => sitemap(&[url("/c"), "http://127.0.0.1:1/other".to_owned(), "rel".to_owned()]).into(),
            "/missing" => return Reply::status(404),
            target => target.to_owned().into_bytes(),
        };
        Reply::ok(body).field("Cache-Control", "max-age=60")
    });
    let peer = LocalPeer::start();
    let (lines, summary, messages) = warm(&["--peer", &peer.url(), &origin.url("/index")], 1);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((&summary["stored"], &summary["invalid"]), (&3.into(), &3.into()));
    assert!(messages.contains("/missing: its status is 404"), "{messages}");
    assert!(messages.contains("/2, entry 2: the URL has another origin"), "{messages}");
    assert!(messages.contains("/2, entry 3: "), "{messages}");
    // Each list once, although the index contains itself.
    assert_eq!(origin.count(), 7);
    // The lists are stored too.
    let (_, _, messages) = warm(&["--peer", &peer.url(), "--cross-origin", &origin.url("/2")], 1);
    assert!(messages.contains("entry 3") && !messages.contains("another origin"), "{messages}");
    assert_eq!(origin.count(), 7);
}

#[test]
fn lists_are_limited_in_size_and_nesting() {
    let origin = Origin::start(move |received| {
        let host = received.field("host").unwrap();
        let number: u32 = received.target[1..].parse().unwrap();
        Reply::ok(index(&[format!("http://{host}/{}", number + 1)]))
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let (_, summary, messages) = warm(&["--peer", &peer.url(), &origin.url("/0")], 1);
    assert!(messages.contains("/3, entry 1: more than 3 indexes"), "{messages}");
    assert_eq!((origin.count(), &summary["invalid"]), (4, &1.into()));

    let bomb = format!("<urlset><url><loc>{}</loc></url>{}", origin.url("/9"), " ".repeat(60 << 20));
    let bomb = folder.write("bomb", gzip(&bomb));
    let output = run(["warm", "--peer", &peer.url(), &bomb]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("bomb: ") && stderr(&output).contains("larger than 50 MiB"),
        "{output:?}"
    );
    // The URL before the limit is requested.
    assert_eq!(origin.count_of("/9"), 1);

    let long = format!("{}\n{}\n", origin.url(&format!("/{}", "8".repeat(20_000))), origin.url("/8"));
    let long = folder.write("long", long);
    let (_, summary, messages) = warm(&["--peer", &peer.url(), &long], 1);
    assert!(messages.contains("long, line 1: longer than 16384 bytes"), "{messages}");
    assert_eq!((&summary["urls"], &summary["invalid"]), (&1.into(), &1.into()));
    let list =
        folder.write("list", (10..20).map(|path| origin.url(&format!("/{path}\n"))).collect::<String>());
    let (lines, summary, _) = warm(&["--peer", &peer.url(), "--max-urls", "3", &list], 1);
    assert_eq!((lines.len(), &summary["left_out"]), (3, &7.into()));
}

#[test]
fn requests_to_one_origin_are_limited() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|received| {
        let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
        MOST.fetch_max(running, Ordering::SeqCst);
        // The first requests meet, so that a lower limit would fail too.
        let started = std::time::Instant::now();
        while MOST.load(Ordering::SeqCst) < 3 && started.elapsed() < TEST_TIMEOUT {
            std::thread::yield_now();
        }
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        stored(received)
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list =
        folder.write("list", (0..40).map(|path| origin.url(&format!("/{path}\n"))).collect::<String>());
    let limits = ["--concurrency", "16", "--origin-concurrency", "3"];
    let (_, summary, _) = warm(&[&["--peer", &peer.url()], &limits[..], &[&list]].concat(), 0);
    assert_eq!((&summary["stored"], MOST.load(Ordering::SeqCst)), (&40.into(), 3));
}

#[test]
fn origin_that_asks_for_a_pause_gets_one_and_the_url_is_requested_again() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|received| match COUNT.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(429).field("Retry-After", "1"),
        _ => stored(received),
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list = folder.write("list", format!("{}\n{}\n", origin.url("/a"), origin.url("/b")));
    let one = ["--concurrency", "1", "--peer", &peer.url(), &list];
    let (lines, summary, _) = warm(&one, 0);
    assert_eq!((lines.len(), &summary["stored"], origin.count()), (2, &2.into(), 3));
    assert!(summary["seconds"].as_f64().unwrap() >= 1.0, "{summary}");
}

#[test]
fn signal_ends_the_run_at_once_and_the_journal_continues_it() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| match received.target.as_str() {
            "/2" => stored(received).gate_body(1, &gate),
            _ => stored(received),
        })
    };
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list = folder.write("list", (0..5).map(|path| origin.url(&format!("/{path}\n"))).collect::<String>());
    let journal = folder.text("journal");
    let url = peer.url();
    let arguments = ["warm", "--concurrency", "1", "--json", "--peer", &url, "--resume", &journal, &list];
    for (signal, code, done) in [("INT", Some(130), 2), ("TERM", Some(143), 0), ("KILL", None, 0)] {
        let mut process = Process::spawn(arguments);
        if done > 0 {
            process.wait_for_line(&origin.url("/1"));
        }
        // The request for /2 is in progress, at the origin or at the peer.
        origin.wait_for(3);
        if signal != "KILL" {
            wait_until("the journal is locked", || journal_is_locked(&folder.path("journal")));
        }
        process.signal(signal);
        let started = std::time::Instant::now();
        assert_eq!(process.wait().code(), code, "{signal}: {}", process.stderr());
        assert!(started.elapsed().as_secs() < 5, "{signal}");
        if let Some(code) = code {
            assert!(
                process.stdout().contains(&format!("\"stored\":{done},")),
                "{code}: {}",
                process.stdout()
            );
            assert!(process.stderr().contains("interrupted"), "{code}: {}", process.stderr());
        }
        assert!(folder.path("journal").exists());
    }
    gate.open();
    let output = run(arguments);
    let (lines, summary) = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((lines.len(), &summary["skipped"]), (3, &2.into()), "{summary}");
    assert_eq!((origin.count_of("/0"), origin.count_of("/1"), origin.count_of("/4")), (1, 1, 1));
    // A run that has completed leaves no journal, so the next run starts from the beginning.
    assert!(!folder.path("journal").exists());
    let (_, summary, _) =
        warm(&arguments[3..].iter().copied().filter(|word| *word != "--json").collect::<Vec<_>>(), 0);
    assert_eq!((&summary["hits"], &summary["skipped"]), (&5.into(), &0.into()));
}

fn journal_is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

#[test]
fn killed_run_repeats_nothing_that_is_done_and_failures_are_tried_again() {
    static HEALTHY: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::start(|received| match received.target.as_str() {
        "/missing" => Reply::status(404),
        "/busy" if HEALTHY.load(Ordering::SeqCst) == 0 => Reply::status(500),
        _ => stored(received),
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let mut list = format!("{}\n{}\n", origin.url("/missing"), origin.url("/busy"));
    (0..300).for_each(|path| list += &origin.url(&format!("/{path}\n")));
    let (list, journal) = (folder.write("list", list), folder.text("journal"));
    let url = peer.url();
    let arguments = ["--peer", &url, "--resume", &journal, &list];
    let mut requested = Vec::new();
    for at in [5, 40, 100] {
        let mut process = Process::spawn([&["warm", "--json"], &arguments[..]].concat());
        wait_until("URLs are requested", || process.stdout().lines().count() >= at || !process.is_running());
        if process.is_running() {
            process.kill();
        }
        let printed = process.stdout();
        requested.extend(printed.lines().filter(|line| line.contains("\"stored\"")).map(str::to_owned));
    }
    HEALTHY.store(1, Ordering::SeqCst);
    let (lines, summary, _) = warm(&arguments, 1);
    assert!(requested.len() >= 120 && summary["skipped"].as_u64().unwrap() >= 120, "{summary}");
    let total = lines.len() as u64 + summary["skipped"].as_u64().unwrap();
    assert_eq!(total, 302, "{summary}");
    // A URL that was reported as stored is not requested again.
    for line in &lines {
        let url = line["url"].as_str().unwrap();
        let again = requested.iter().find(|line| line.contains(&format!("\"url\":\"{url}\"")));
        assert!(again.is_none(), "{again:?}");
    }
    for path in ["/busy", "/missing"] {
        assert!(lines.iter().any(|line| line["url"] == origin.url(path).as_str()), "{path}");
    }
    // The only failure left would not go away.
    assert!(!folder.path("journal").exists());
    // A kill interrupts at most four fetches, which the peer cancels and the next run repeats.
    let fetches: usize = (0..300).map(|path| origin.count_of(&format!("/{path}"))).sum();
    assert!((300..=312).contains(&fetches), "{fetches}");
}

#[test]
fn responses_are_kept_in_the_store_without_a_pool() {
    let origin = Origin::start(stored);
    let folder = Folder::new();
    let list =
        folder.write("list", (0..20).map(|path| origin.url(&format!("/{path}\n"))).collect::<String>());
    let store = folder.text("store");
    let (_, summary, _) = warm(&["--store", &store, &list], 0);
    assert_eq!(summary["stored"], 20);
    let (_, summary, _) = warm(&["-L", "--store", &store, &list], 0);
    assert_eq!((&summary["hits"], origin.count()), (&20.into(), 20));
    let output = run(["get", "--offline", "--store", &store, &origin.url("/7")]);
    assert_eq!(output.stdout, b"/7");
    let output = run(["warm", "--store", &list, &list]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
}

#[test]
fn stale_response_in_the_store_is_refreshed_before_the_command_ends() {
    let origin = Origin::start(|received| {
        Reply::target(received).field("Cache-Control", "max-age=0, stale-while-revalidate=3600")
    });
    let folder = Folder::new();
    let (list, store) = (folder.write("list", origin.url("/a")), folder.text("store"));
    warm(&["--store", &store, &list], 0);
    let (lines, ..) = warm(&["--store", &store, &list], 0);
    assert_eq!((&lines[0]["outcome"], origin.count()), (&"stale-while-revalidate".into(), 2));
}

#[test]
fn bodies_that_are_already_stored_are_not_transferred_again() {
    const SIZE: u64 = 16 << 20;
    let origin = Origin::start(|_| Reply::ok("x".repeat(16 << 20)).field("Cache-Control", "max-age=3600"));
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list = folder.write("list", origin.url("/"));
    let (_, summary, _) = warm(&["--peer", &peer.url(), &list], 0);
    assert_eq!((&summary["stored"], &summary["bytes"]), (&1.into(), &SIZE.into()));
    let (_, summary, _) = warm(&["--peer", &peer.url(), &list], 0);
    assert_eq!(summary["hits"], 1);
    assert!(summary["bytes"].as_u64().unwrap() <= 128 << 10, "{summary}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn links_of_the_same_origin_are_followed_to_the_given_depth() {
    let origin = Origin::start(|received| {
        let body = match received.target.as_str() {
            "/" => "<a href=/1>a</a> <a href='http://127.0.0.1:1/other'> <img src='/i.png'>",
            "/1" => "<a href='2'> <a href=/>",
            "/2" => "<a href='/3'>",
            _ => "<a href='/not-a-page'>",
        };
        let kind = if received.target.ends_with("png") { "image/png" } else { "text/html; charset=utf-8" };
        Reply::ok(body).field("Content-Type", kind).field("Cache-Control", "max-age=3600")
    });
    let peer = LocalPeer::start();
    let folder = Folder::new();
    let list = folder.write("list", origin.url("/"));
    for (depth, count) in [("0", 1), ("1", 3), ("2", 4)] {
        let (lines, summary, _) = warm(&["--depth", depth, "--peer", &peer.url(), &list], 0);
        assert_eq!((lines.len(), origin.count()), (count, count), "{depth}: {summary}");
    }
    let (lines, ..) = warm(&["--depth", "9", "--max-urls", "2", "--peer", &peer.url(), &list], 0);
    assert_eq!(lines.len(), 2);

    // A run that is killed between a page and its links continues with the links.
    let journal =
        format!("# forwardcache warm 1\nfound 1 {0}1\nfound 2 {0}2\ndone {0}\ndone {0}1\n", origin.url("/"));
    let journal = folder.write("journal", journal);
    let (lines, summary, _) = warm(&["--depth", "2", "--peer", &peer.url(), "--resume", &journal, &list], 0);
    assert_eq!(
        (lines.len(), &lines[0]["url"], &summary["skipped"]),
        (1, &origin.url("/2").into(), &1.into())
    );
}

#[test]
fn token_reaches_the_pool_and_a_missing_pool_is_a_failure() {
    let origin = Origin::start(stored);
    let peer = LocalPeer::start_with(|builder| builder.tokens(Tokens::new(["secret-of-the-pool"]).unwrap()));
    let folder = Folder::new();
    let (list, token) =
        (folder.write("list", origin.url("/")), folder.write("token", "secret-of-the-pool\n"));
    let (_, summary, _) = warm(&["--peer", &peer.url(), &list], 1);
    assert_eq!(summary["failed"].to_string(), r#"{"unauthorized":1}"#);
    let (_, summary, _) = warm(&["--peer", &peer.url(), "--token-file", &token, &list], 0);
    assert_eq!((&summary["stored"], origin.count()), (&1.into(), 1));
    let url = peer.url();
    drop(peer);
    let (lines, ..) = warm(&["--peer", &url, &list], 1);
    assert!(lines[0]["error"].as_str().unwrap().contains(&url), "{lines:?}");
    assert_eq!(origin.count(), 1);
}
