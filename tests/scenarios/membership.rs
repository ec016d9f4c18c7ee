//! Pool membership from a list that is maintained elsewhere: a file or DNS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use forwardcache::Client;
use forwardcache::client::Membership;
use forwardcache::pool::{FileDiscovery, Member};
use tempfile::TempDir;

use crate::local::{LocalPeer, send};
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command, run};

/// The URL under which the peer is known in the pool; it listens on another address.
const OWN: &str = "http://a.example:3000";

/// A list of peers in a file.
struct PeerList {
    folder: TempDir,
}

impl PeerList {
    fn new(text: &str) -> Self {
        let list = Self { folder: tempfile::tempdir().unwrap() };
        list.replace(text);
        list
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("peers")
    }

    /// Atomically replaces the file.
    fn replace(&self, bytes: impl AsRef<[u8]>) {
        let new = self.folder.path().join("peers.new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn remove(&self) {
        fs::remove_file(self.path()).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts a peer that reads its pool from this file, with logging enabled.
fn serve(path: &Path, more: &[&str]) -> Process {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--self-url", OWN, "--peers-file", text(path)];
    let mut command = command(arguments.iter().chain(more));
    command.env("RUST_LOG", "info");
    Process::start(command).unwrap()
}

/// Disables polling: the peer reads its list only on `SIGHUP`.
const NO_POLLING: &[&str] = &["--peers-interval", "3600"];

fn count(process: &Process, needle: &str) -> usize {
    process.stderr().lines().filter(|line| line.contains(needle)).count()
}

fn assert_clean_exit(mut process: Process) {
    process.terminate();
    assert!(process.wait().success());
}

#[test]
fn changed_list_is_applied_automatically() {
    let list = PeerList::new(&format!("# us\n{OWN}\n"));
    let process = serve(&list.path(), &[]);
    process.wait_for_line("as a pool of one");
    list.replace(format!("{OWN}\nhttp://b.example:3000 weight=3\n"));
    let message = process.wait_for_line("joined: http://b.example:3000 weight=3");
    assert!(message.contains("the pool has 2 members now"), "{message}");
    list.replace(format!("{OWN} weight=2\nhttp://c.example:3000\n"));
    let message = process.wait_for_line("joined: http://c.example:3000");
    assert!(
        message.ends_with(
            "left: http://b.example:3000 weight=3; now with another weight: http://a.example:3000 weight=2"
        ),
        "{message}"
    );
    // Errors are logged without a signal too.
    list.remove();
    process.wait_for_line("the pool stays as it is: the list of peers in");
    list.replace(format!("{OWN} weight=2\nhttp://c.example:3000\n"));
    process.wait_for_line("the list of peers can be read again");
    assert_eq!((count(&process, "the pool has"), count(&process, "the pool stays as it is")), (2, 1));
    assert_clean_exit(process);
}

#[test]
fn invalid_list_is_rejected_with_a_reason() {
    let good = format!("{OWN}\nhttp://b.example:3000\n");
    let list = PeerList::new(&good);
    let mut process = serve(&list.path(), NO_POLLING);
    process.wait_for_line("one of a pool of 2");
    let cut = format!("{OWN}\nhttp://b.example:30");
    let bad_line = format!("{OWN}\nhttp://b.example:3000\nb.example\n");
    let secret = format!("{OWN}\nhttp://user:hidden@b.example:3000\n");
    let two_weights = format!("{OWN}\nhttp://b.example:3000\n{OWN} weight=2\n");
    for (bytes, expected) in [
        (&b""[..], "is empty"),
        (b"# no peers\n\n", "is empty"),
        (cut.as_bytes(), "line 2 is the last one and has no line end: it may be half written"),
        (bad_line.as_bytes(), "line 3: "),
        (secret.as_bytes(), "line 2: "),
        (two_weights.as_bytes(), "line 3 gives the peer of line 1 another weight"),
        (b"http://a.example:3000 weight=many\n", "line 1: the weight of a peer"),
        (b"\0\0\0\0\0\0\0\0\n", "line 1: "),
        (b"\xff\xfe\n", "it is not valid UTF-8"),
    ] {
        list.replace(bytes);
        process.signal("HUP");
        let needle =
            format!("the pool stays as it is: the list of peers in {}: {expected}", list.path().display());
        let needle = if expected == "is empty" { "the list of peers is empty" } else { &needle };
        process.wait_for_line(needle);
    }
    list.remove();
    process.signal("HUP");
    process.wait_for_line("cannot be read: No such file or directory");
    fs::create_dir(list.path()).unwrap();
    process.signal("HUP");
    process.wait_for_line("it is not a regular file");
    fs::remove_dir(list.path()).unwrap();

    // None of these lists has changed the pool.
    list.replace(format!("http://b.example:3000/\n{OWN}\n{OWN}\n"));
    process.signal("HUP");
    process.wait_for_line("the list of peers was read again: no change");
    let message = process.wait_for_line("it counts once");
    assert!(message.contains("line 3 names http://a.example:3000 as line 2 does"), "{message}");
    assert_eq!(count(&process, "the pool has"), 1);
    assert!(!process.stderr().contains("hidden"));
    assert_clean_exit(process);
}

#[test]
fn peer_missing_from_the_list_warns_and_keeps_serving() {
    let origin = Origin::start(|_| Reply::ok("from the origin"));
    let list = PeerList::new(&format!("{OWN}\n"));
    let mut process = serve(&list.path(), NO_POLLING);
    let line = process.wait_for_line("serving on http://");
    let address =
        line.split(' ').nth(2).and_then(|url| url.strip_prefix("http://")).unwrap().parse().unwrap();
    list.replace("http://b.example:3000\n");
    process.signal("HUP");
    process.wait_for_line("this peer (http://a.example:3000) is not in the new list of peers");
    let target = format!("/proxy?q={}", crate::local::escaped(&origin.url("/a")));
    let answer = send(address, "GET", &target, "");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"from the origin"[..]));
    assert_clean_exit(process);
}

#[test]
fn invalid_list_fails_at_startup() {
    let list = PeerList::new("");
    let path = list.path();
    let refused = |arguments: &[&str]| {
        let output = run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(2), 1), "{arguments:?}: {message}");
        message
    };
    let serving = ["serve", "--listen", "127.0.0.1:0", "--self-url", OWN];
    let with = |more: &[&'static str]| [&serving[..], more].concat();
    let file = |path: &Path| {
        let mut arguments = with(&["--peers-file"]);
        let path = text(path).to_owned();
        arguments.push(&path);
        refused(&arguments)
    };
    assert!(file(&path).contains("the list of peers is empty"));
    list.replace("http://b.example:3000\nnonsense\n");
    assert!(file(&path).contains("line 2"));
    list.replace(format!("{OWN}\nhttp://b.exa"));
    assert!(file(&path).contains("half written"));
    list.replace("http://b.example:3000\n");
    assert!(file(&path).contains("this peer (http://a.example:3000) is not in the list of peers"));
    list.remove();
    assert!(file(&path).contains("cannot be read: No such file"));

    assert!(refused(&with(&["--peers-dns", "pool.example"])).contains("write NAME:PORT"));
    assert!(refused(&with(&["--peers-dns", "http://user:hidden@h:1"])).contains("user name"));
    assert!(refused(&with(&["--peers-interval", "5"])).contains("--peers-"));
    for two in [
        ["--peer", OWN, "--peers-file", "peers"],
        ["--peer", OWN, "--peers-dns", "pool.example:3000"],
        ["--peers-file", "peers", "--peers-dns", "pool.example:3000"],
    ] {
        assert!(refused(&with(&two)).contains("cannot be used with"));
        assert!(refused(&[&["get", "http://h/"][..], &two].concat()).contains("cannot be used with"));
    }
    assert!(refused(&["owner", "http://h/"]).contains("--peers-file"));
    assert!(refused(&["owner", "--peers-file", text(&path), "http://h/"]).contains("No such file"));
}

#[test]
fn dns_addresses_become_peers() {
    let own = ["--listen", "127.0.0.1:0", "--self-url", "http://127.0.0.1:3999"];
    let mut command = command(["serve", "--peers-dns", "localhost:3999"].iter().chain(&own));
    command.env("RUST_LOG", "info");
    let mut process = Process::start(command).unwrap();
    process.wait_for_line("serving on http://127.0.0.1:");
    process.signal("HUP");
    process.wait_for_line("the list of peers was read again: no change");
    assert_clean_exit(process);

    let owner = run(["owner", "--peers-dns", "https://localhost:3999", "http://h/"]);
    let message = String::from_utf8(owner.stdout).unwrap();
    assert!(
        ["https://127.0.0.1:3999\t", "https://[::1]:3999\t"].iter().any(|url| message.starts_with(url)),
        "{message}"
    );
    let unknown = run(["owner", "--peers-dns", "no-such-name.invalid:3999", "http://h/"]);
    let message = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!((unknown.status.code(), message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains("the peers at http://no-such-name.invalid:3999: the name"), "{message}");
}

#[test]
fn client_commands_accept_a_peers_file() {
    let origin = Origin::start(Reply::target);
    let pool = LocalPeer::pool(2);
    let list = PeerList::new(&format!("{}\n{}\n", pool[0].url(), pool[1].url()));
    let path = list.path();
    for number in 0..4 {
        let target = format!("/{number}");
        let url = origin.url(&target);
        let answer = run(["get", "--peers-file", text(&path), &url]);
        assert_eq!((answer.status.code(), &answer.stdout[..]), (Some(0), target.as_bytes()));
        let owner = run(["owner", "--peers-file", text(&path), &url]);
        let why = String::from_utf8(run(["why", "--peers-file", text(&path), &url]).stdout).unwrap();
        let owner = String::from_utf8(owner.stdout).unwrap();
        let owner = owner.split('\t').next().unwrap();
        assert!(why.contains(&format!("owner     {owner}\n")) && why.contains("verdict   hit"), "{why}");
    }
    let by_address = run(["get", "--peers-dns", &pool[0].address().to_string(), &origin.url("/dns")]);
    assert_eq!(&by_address.stdout[..], b"/dns");
}

#[test]
fn pool_follows_its_file_while_in_use() {
    let origin = Origin::start(Reply::target);
    let pool = LocalPeer::pool(2);
    let list = PeerList::new(&format!("{}\n", pool[0].url()));
    let client = Client::builder().build().unwrap();
    let mut membership = Membership::new(&client, FileDiscovery::new(list.path())).interval(Duration::MAX);
    membership.refresh(SystemTime::now()).unwrap();
    let watch = membership.watch().unwrap();
    let asked = |at: usize| pool[at].peer.stats().counts().origin_requests;
    let get = |target: &str| client.get(&origin.url(target)).send().unwrap().into_body().into_text().unwrap();
    assert_eq!((get("/a"), asked(0), asked(1)), ("/a".to_owned(), 1, 0));
    list.replace(format!("{}\n", pool[1].url()));
    let change = watch.refresh().unwrap();
    assert_eq!((change.joined.len(), change.left.len()), (1, 1));
    assert_eq!((get("/a"), asked(0), asked(1)), ("/a".to_owned(), 1, 1));
    list.replace("");
    watch.refresh().unwrap_err();
    assert_eq!((get("/a"), asked(0), asked(1)), ("/a".to_owned(), 1, 1));
}

#[test]
fn concurrent_membership_changes_do_not_fail_requests() {
    const THREADS: usize = 50;
    const FETCHES: usize = 20;
    let origin =
        Origin::start(|received| Reply::ok(received.target.repeat(100)).field("Cache-Control", "max-age=60"));
    let pool = LocalPeer::pool(4);
    let client = Client::builder().pool([pool[0].url()]).build().unwrap();
    let (fetching, begin) = (AtomicUsize::new(THREADS), Barrier::new(2 * THREADS));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (client, pool, fetching, begin) = (&client, &pool, &fetching, &begin);
            scope.spawn(move || {
                begin.wait();
                for change in number.. {
                    // Every subset of the four peers except the empty one, with each weight.
                    let (set, weight) = (1 + change % 15, 1 + change % 3);
                    let chosen = pool.iter().enumerate().filter(|(at, _)| set & (1 << at) > 0);
                    let member =
                        |peer: &LocalPeer| format!("{} weight={weight}", peer.url()).parse().unwrap();
                    let members: Vec<Member> = chosen.map(|(_, peer)| member(peer)).collect();
                    client.set_members(members).unwrap();
                    assert!(!client.members().is_empty());
                    if fetching.load(Ordering::SeqCst) == 0 {
                        break;
                    }
                    thread::yield_now();
                }
            });
        }
        for number in 0..THREADS {
            let (client, origin, fetching, begin) = (&client, &origin, &fetching, &begin);
            scope.spawn(move || {
                /// Counts the thread as finished even if it panics; otherwise the others would wait forever.
                struct Done<'a>(&'a AtomicUsize);
                impl Drop for Done<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let _done = Done(fetching);
                begin.wait();
                for fetch in 0..FETCHES {
                    let target = format!("/{}", (number + fetch) % 30);
                    let response = client.get(&origin.url(&target)).send().unwrap();
                    assert_eq!(response.status(), 200);
                    assert_eq!(response.into_body().into_text().unwrap(), target.repeat(100));
                }
            });
        }
    });
    // Each peer fetches a URL at most once, no matter how often it becomes and ceases to be the owner.
    for number in 0..30 {
        let count = origin.count_of(&format!("/{number}"));
        assert!((1..=4).contains(&count), "/{number}: {count}");
    }
}
