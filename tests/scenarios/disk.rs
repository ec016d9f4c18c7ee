//! Real processes with a store on disk: what survives them, and what becomes of a disk that fails.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::process::run;
use crate::support::random::Random;
use crate::support::raw::{Connection, Response};
use crate::support::{TEST_TIMEOUT, wait_for_growth, wait_until};

const MIB: usize = 1 << 20;

/// A body that says for which target and by which request it was made, in each of its lines.
fn marked(target: &str, number: usize, length: usize) -> Vec<u8> {
    let line = format!("{target} {number}\n").into_bytes();
    line.iter().copied().cycle().take(length.max(line.len())).collect()
}

/// Whether these bytes are one such body of the target, whatever its number, or the beginning of one.
fn is_marked(target: &str, body: &[u8]) -> bool {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let line = &body[..body.len().min(end + 1)];
    let start = format!("{target} ").into_bytes();
    // Megabytes are compared in pieces: without optimization, each byte alone takes too long.
    let lines = line.repeat(1 + 4096 / line.len().max(1));
    line.iter().zip(&start).all(|(one, other)| one == other)
        && body.chunks(lines.len().max(1)).all(|piece| piece == &lines[..piece.len()])
}

/// `/LENGTH/...` has a body of so many bytes, which may be stored for an hour.
fn bodies() -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |received: &Received| {
        let length = received.target.split('/').nth(1).unwrap().parse().unwrap();
        let number = count.fetch_add(1, Ordering::Relaxed);
        Reply::ok(marked(&received.target, number, length)).field("Cache-Control", "max-age=3600")
    })
}

fn start(folder: &Path, options: &[&str]) -> PeerProcess {
    let store = folder.to_str().unwrap();
    PeerProcess::start_as("127.0.0.1:0", &[&["--store", store], options].concat())
}

fn get_with(peer: &PeerProcess, url: &str, fields: &str) -> Response {
    send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), fields)
}

fn get(peer: &PeerProcess, url: &str) -> Response {
    get_with(peer, url, "")
}

fn is_hit(response: &Response) -> bool {
    response.field("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// Ends a process as a service manager does, and waits for its end.
fn stop(peer: &mut PeerProcess) {
    peer.process.terminate();
    assert_eq!(peer.process.wait().code(), Some(0));
}

/// All files of the store.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let each = entries.flatten().map(|entry| entry.path());
    each.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What they take of the disk.
fn taken(folder: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let blocks = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.blocks() * 512);
    usize::try_from(files(folder).into_iter().map(blocks).sum::<u64>()).unwrap()
}

#[test]
fn what_was_stored_is_served_after_a_restart_without_asking_the_origin() {
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let urls: Vec<String> =
        [10, 20_000, 300_000, 3_000_000].map(|length| origin.url(&format!("/{length}/a"))).to_vec();
    let mut peer = start(folder.path(), &["--memory", "8MiB"]);
    let first: Vec<Vec<u8>> = urls.iter().map(|url| get(&peer, url).body).collect();
    for _ in 0..2 {
        stop(&mut peer);
        peer.restart();
        for (url, body) in urls.iter().zip(&first) {
            let answer = get(&peer, url);
            assert!(is_hit(&answer) && answer.body == *body, "{url}: {:?}", answer.headers);
            assert!(answer.field("cache-status").unwrap().contains("detail=disk"));
        }
    }
    assert_eq!(origin.count(), urls.len());
    assert_eq!(peer.process.stderr(), "");
}

#[test]
fn a_purge_is_there_after_the_process_was_killed() {
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let mut peer = start(folder.path(), &[]);
    let (one, two) = (origin.url("/10/one"), origin.url("/100000/two"));
    get(&peer, &one);
    get(&peer, &two);
    stop(&mut peer);
    peer.restart();
    let target = format!("/proxy?q={}", escaped(&one));
    assert_eq!(send(peer.address, "PURGE", &target, "").status, 200);
    peer.restart();
    assert!(is_hit(&get(&peer, &two)) && !is_hit(&get(&peer, &one)));
}

/// How many bytes a process has read from files and sockets, itself or by the system on its behalf.
fn bytes_read(peer: &PeerProcess) -> usize {
    let counts = fs::read_to_string(format!("/proc/{}/io", peer.process.id())).unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn a_body_larger_than_memory_streams_to_the_disk_and_is_read_in_parts() {
    const LENGTH: usize = 80 * MIB;
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| {
            let body = marked(&received.target, 0, LENGTH);
            Reply::ok(body).field("Cache-Control", "max-age=3600").gate_body(LENGTH / 2, &gate)
        })
    };
    let folder = TempDir::new().unwrap();
    let mut peer = start(folder.path(), &["--memory", "32MiB", "--disk", "400MiB"]);
    let url = origin.url("/large");
    let expected = marked("/large", 0, LENGTH);
    thread::scope(|scope| {
        let first = scope.spawn(|| get(&peer, &url).body);
        origin.wait_for(1);
        // The second one joins when half of it is on the disk, and its beginning not in memory any more.
        wait_for_growth("half of it is on the disk", LENGTH / 2 - MIB, || {
            gate.keep();
            taken(folder.path())
        });
        let second = scope.spawn(|| get(&peer, &url).body);
        gate.open();
        assert!(first.join().unwrap() == expected);
        assert!(second.join().unwrap() == expected);
    });
    assert_eq!(origin.count(), 1);
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string(format!("/proc/{}/status", peer.process.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let most: usize = most.trim_matches([' ', '\t', 'k', 'B']).parse::<usize>().unwrap() << 10;
        assert!(most < 100 * MIB, "{most}");
    }
    for _ in 0..2 {
        let before = bytes_read(&peer);
        let end = get_with(&peer, &url, "Range: bytes=-1000\r\n");
        assert!(end.status == 206 && end.body == expected[LENGTH - 1000..], "{:?}", end.headers);
        // What precedes the range is not read.
        let read = bytes_read(&peer) - before;
        assert!(read < 4 * MIB, "{read}");
        let whole = get(&peer, &url);
        assert!(is_hit(&whole) && whole.body == expected);
        stop(&mut peer);
        peer.restart();
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_was_altered_cut_or_deleted_behind_its_back_is_asked_of_the_origin_again() {
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let urls: Vec<String> = (0..3).map(|number| origin.url(&format!("/100000/{number}"))).collect();
    let mut peer = start(folder.path(), &[]);
    urls.iter().for_each(|url| drop(get(&peer, url)));
    stop(&mut peer);
    let bodies = files(&folder.path().join("bodies"));
    assert_eq!(bodies.len(), 3);
    let mut altered = fs::read(&bodies[0]).unwrap();
    altered[50_000] ^= 1;
    fs::write(&bodies[0], altered).unwrap();
    fs::File::options().write(true).open(&bodies[1]).unwrap().set_len(10).unwrap();
    fs::remove_file(&bodies[2]).unwrap();
    peer.restart();
    for url in &urls {
        let answer = get(&peer, url);
        let target = url.strip_prefix(&origin.url("")).unwrap();
        assert!(answer.status == 200 && !is_hit(&answer) && is_marked(target, &answer.body));
    }
    assert_eq!(origin.count(), 6);
}

/// An origin of one body, which it also sends in parts. Without a tag, nothing proves that they belong together.
fn body_in_parts(whole: Vec<u8>, tag: Option<&'static str>) -> Origin {
    Origin::start(move |received: &Received| {
        let length = whole.len();
        let range = received.field("range").map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse::<usize>().unwrap(), last.parse().unwrap_or(length - 1))
        });
        let reply = match range {
            None => Reply::ok(whole.clone()),
            Some((first, last)) => Reply::status(206)
                .field("Content-Range", format!("bytes {first}-{last}/{length}"))
                .body(&whole[first..=last]),
        };
        let reply = reply.field("Cache-Control", "max-age=3600");
        if let Some(tag) = tag { reply.field("ETag", tag) } else { reply }
    })
}

/// Changes a byte of the only file in a store, which may be open.
fn damage(folder: &Path, at: usize) {
    let files = files(&folder.join("bodies"));
    assert_eq!(files.len(), 1);
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[at] ^= 1;
    fs::write(&files[0], bytes).unwrap();
}

#[test]
fn a_body_that_is_damaged_after_its_beginning_is_completed_by_the_origin() {
    let whole = marked("/a", 0, 2_000_000);
    for tag in [Some("\"1\""), None] {
        let origin = body_in_parts(whole.clone(), tag);
        let (folder, url) = (TempDir::new().unwrap(), origin.url("/a"));
        let mut peer = start(folder.path(), &["--memory", "4MiB"]);
        get(&peer, &url);
        stop(&mut peer);
        peer.restart();
        // First by a thread of the store, then by an event loop that has the file open.
        for is_open in [false, true] {
            if is_open {
                assert!(is_hit(&get(&peer, &url)));
            }
            for range in ["", "Range: bytes=100000-1799999\r\n"] {
                let asked = origin.count();
                damage(folder.path(), 1_500_000);
                let answer = get_with(&peer, &url, range);
                let expected = if range.is_empty() { &whole[..] } else { &whole[100_000..1_800_000] };
                assert!(is_hit(&answer) && answer.body == expected, "{tag:?} {} bytes", answer.body.len());
                assert_eq!(origin.count(), asked + 1);
                // The damaged entry is gone. Without a tag, the whole was fetched and is stored.
                let is_stored = is_hit(&get(&peer, &url));
                assert!(if tag.is_some() { !is_stored } else { !range.is_empty() || is_stored });
                stop(&mut peer);
                peer.restart();
                if is_open {
                    get(&peer, &url);
                }
            }
        }
    }
}

#[test]
fn a_damaged_body_is_cut_if_the_origin_has_another_one() {
    let whole = marked("/a", 0, 2_000_000);
    let (folder, changed) = (TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
    let origin = {
        let (whole, changed) = (whole.clone(), Arc::clone(&changed));
        Origin::start(move |_| {
            let mut whole = whole.clone();
            whole[1_000_000] ^= u8::from(changed.load(Ordering::Relaxed));
            Reply::ok(whole).field("Cache-Control", "max-age=3600")
        })
    };
    let (mut peer, url) = (start(folder.path(), &["--memory", "4MiB"]), origin.url("/a"));
    get(&peer, &url);
    stop(&mut peer);
    peer.restart();
    damage(folder.path(), 1_500_000);
    changed.store(true, Ordering::Relaxed);
    let answer = get(&peer, &url);
    assert!(is_hit(&answer) && answer.cut.is_some() && whole.starts_with(&answer.body));
    assert!(answer.body.len() < 1_500_000 && origin.count() == 2, "{} bytes", answer.body.len());
    // The next request gets the new one, as a whole.
    let answer = get(&peer, &url);
    assert!(answer.cut.is_none() && answer.body.len() == whole.len() && answer.body != whole);
}

#[test]
fn a_damaged_part_is_fetched_anew() {
    const LENGTH: usize = 3_000_000;
    let whole = marked("/a", 0, LENGTH);
    // In the first block, and in a later one, while the rest is fetched.
    for damaged in [10, 1_500_000] {
        let is_cut = Arc::new(AtomicBool::new(true));
        let complete = body_in_parts(whole.clone(), Some("\"1\""));
        let origin = {
            let (is_cut, whole) = (Arc::clone(&is_cut), whole.clone());
            let complete = complete.address();
            Origin::start(move |received: &Received| {
                if is_cut.swap(false, Ordering::Relaxed) {
                    let reply = Reply::ok(whole[..2_000_000].to_vec()).announcing(LENGTH as u64);
                    return reply.field("Cache-Control", "max-age=3600").field("ETag", "\"1\"");
                }
                let mut connection = Connection::open(complete);
                let range = received.field("range").map(|range| format!("Range: {range}\r\n"));
                let range = range.unwrap_or_default();
                connection.write(format!("GET /a HTTP/1.1\r\nHost: a\r\n{range}\r\n"));
                let answer = connection.read_response();
                let fields = ["cache-control", "etag", "content-range"];
                let passed = answer.headers.iter().filter(|(name, _)| fields.contains(&name.as_str()));
                passed
                    .fold(Reply::status(answer.status), |reply, (name, value)| {
                        reply.field(name.as_str(), value)
                    })
                    .body(answer.body)
            })
        };
        let (folder, url) = (TempDir::new().unwrap(), origin.url("/a"));
        let mut peer = start(folder.path(), &["--memory", "4MiB"]);
        assert!(get(&peer, &url).cut.is_some());
        stop(&mut peer);
        peer.restart();
        damage(folder.path(), damaged);
        let answer = get(&peer, &url);
        assert!(answer.status == 200 && answer.body == whole, "{damaged}: {} bytes", answer.body.len());
        let asked: Vec<_> = origin.seen().iter().map(|seen| seen.field("range").map(str::to_owned)).collect();
        assert_eq!(asked.len(), if damaged == 10 { 2 } else { 3 }, "{asked:?}");
        assert!(damaged != 10 || asked[1].is_none(), "{asked:?}");
        // The damaged part is gone.
        stop(&mut peer);
        peer.restart();
        assert!(get(&peer, &url).body == whole);
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_said_and_the_peer_serves_without_it() {
    let origin = bodies();
    let serves = |folder: &Path, reason: &str| {
        let peer = start(folder, &[]);
        peer.process.wait_for_line("serving without it");
        let said = peer.process.stderr();
        assert!(said.contains("cannot use the store") && said.contains(reason), "{said}");
        let url = origin.url("/10/a");
        get(&peer, &url);
        assert!(is_hit(&get(&peer, &url)));
    };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no directory").unwrap();
    serves(&file, "cannot be made");
    serves(Path::new("/proc/forwardcache"), "cannot be made");
    stop(&mut start(&folder.path().join("store"), &[]));
    // Damaged, or of another kind.
    fs::write(folder.path().join("store/index.redb"), vec![1; 50_000]).unwrap();
    serves(&folder.path().join("store"), "index");
}

#[test]
fn the_bound_holds_while_more_comes_than_fits() {
    const CAPACITY: usize = 32 * MIB;
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let mut peer = start(folder.path(), &["--memory", "8MiB", "--disk", "32MiB"]);
    for number in 0..150 {
        let length = [500, 20_000, 400_000, 3_000_000][number % 4];
        assert_eq!(get(&peer, &origin.url(&format!("/{length}/{number}"))).status, 200);
        let taken = taken(folder.path());
        assert!(taken <= CAPACITY, "{taken} after {number}");
    }
    stop(&mut peer);
    peer.restart();
    let kept = (0..150).filter(|number| {
        let length = [500, 20_000, 400_000, 3_000_000][number % 4];
        is_hit(&get_with(
            &peer,
            &origin.url(&format!("/{length}/{number}")),
            "Cache-Control: only-if-cached\r\n",
        ))
    });
    assert!(kept.count() > 5);
}

/// How often the process is killed: a sample, or as often as `FORWARDCACHE_KILLS` says.
fn kills() -> usize {
    std::env::var("FORWARDCACHE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Kills a process again and again under load; says each time how many responses that were stored for some seconds it
/// still has, and how many it has not.
fn kill(capacity: usize, mut check: impl FnMut(usize, usize)) {
    let seed = std::env::var("FORWARDCACHE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    eprintln!("FORWARDCACHE_SEED={seed}");
    let mut random = Random::new(seed);
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let disk = format!("{}MiB", capacity / MIB);
    let mut peer = start(folder.path(), &["--memory", "8MiB", "--disk", &disk]);
    let target = |random: &mut Random| {
        // The largest is written to the disk while it arrives.
        let length = *random.one_of(&[100, 5_000, 40_000, 200_000, 2_500_000]);
        format!("/{length}/{}", random.below(30))
    };
    for round in 0..kills() {
        let is_over = AtomicBool::new(false);
        // When each target was last seen whole.
        let seen = Mutex::new(HashMap::new());
        // At times long enough for something to be on the disk for certain.
        let life = Duration::from_millis(if round % 20 == 0 { 4000 } else { 0 } + random.next() % 1000);
        let address = peer.address;
        let seeds: Vec<u64> = (0..3).map(|_| random.next()).collect();
        thread::scope(|scope| {
            for seed in seeds {
                let (origin, is_over, seen) = (&origin, &is_over, &seen);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    while !is_over.load(Ordering::Relaxed) {
                        let target = target(&mut random);
                        let Some(response) = try_get(address, &origin.url(&target)) else { continue };
                        assert!(is_marked(&target, &response.body), "round {round}, {target}");
                        if response.cut.is_none() && response.status == 200 {
                            seen.lock().entry(target).or_insert_with(Instant::now);
                        }
                    }
                });
            }
            let until = Instant::now() + life;
            while Instant::now() < until {
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
            peer.process.signal("KILL");
            is_over.store(true, Ordering::Relaxed);
        });
        let killed = Instant::now();
        peer.restart();
        let (mut kept, mut lost) = (0, 0);
        for (target, at) in seen.into_inner() {
            let answer = get_with(&peer, &origin.url(&target), "Cache-Control: only-if-cached\r\n");
            let is_kept = answer.status == 200;
            assert!(!is_kept || is_marked(&target, &answer.body), "round {round}, {target}");
            if killed.saturating_duration_since(at) > Duration::from_secs(3) {
                kept += usize::from(is_kept);
                lost += usize::from(!is_kept);
            }
        }
        check(kept, lost);
        let taken = taken(folder.path());
        // The files of its last transaction, which no row names, are removed soon.
        assert!(taken <= capacity + capacity / 16, "round {round}: {taken}");
        wait_until("the bound holds", || self::taken(folder.path()) <= capacity);
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_has_all_but_the_last_seconds() {
    let mut all_kept = 0;
    kill(1024 * MIB, |kept, lost| {
        all_kept += kept;
        assert_eq!(lost, 0);
    });
    assert!(all_kept > 0);
}

#[test]
fn a_process_that_is_killed_while_it_evicts_serves_no_wrong_byte_and_keeps_its_bound() {
    kill(48 * MIB, |_, _| ());
}

/// A file system of its own, where one may be mounted: that needs rights that not every machine gives to tests.
#[cfg(target_os = "linux")]
struct Mounted(TempDir);

#[cfg(target_os = "linux")]
impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let mount = std::process::Command::new("mount").args(arguments).arg(folder.path()).output();
        let is_mounted = mount.is_ok_and(|mount| mount.status.success());
        if !is_mounted {
            eprintln!("no file system can be mounted here");
        }
        is_mounted.then_some(Self(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_is_read_only_or_another_users_is_said() {
    let says = |folder: &Path, reason: &str| {
        let peer = start(folder, &[]);
        peer.process.wait_for_line("serving without it");
        assert!(peer.process.stderr().contains(reason), "{}", peer.process.stderr());
    };
    if let Some(mounted) = Mounted::new("size=1m,ro") {
        says(mounted.0.path(), "cannot be written to");
    }
    let folder = TempDir::new().unwrap();
    if std::os::unix::fs::chown(folder.path(), Some(54_321), None).is_ok() {
        says(folder.path(), "belongs to the user 54321");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_what_is_stored_and_nothing_else() {
    let Some(mounted) = Mounted::new("size=12m") else { return };
    let origin = bodies();
    let started = Instant::now();
    let store = mounted.0.path().join("store");
    let mut peer = start(&store, &["--memory", "8MiB", "--disk", "1GiB"]);
    for number in 0..60 {
        let length = [1_000, 100_000, 3_000_000][number % 3];
        let target = format!("/{length}/{number}");
        let answer = get(&peer, &origin.url(&target));
        assert!(
            answer.status == 200 && answer.body.len() == length && is_marked(&target, &answer.body),
            "{target}: {} with {} bytes, {:?} {:?}\n{}",
            answer.status,
            answer.body.len(),
            answer.cut,
            answer.headers,
            peer.process.stderr()
        );
    }
    let said = peer.process.stderr();
    let warnings = said.lines().filter(|line| line.contains("the store on disk cannot")).count();
    // At most one a minute.
    let most = usize::try_from(started.elapsed().as_secs() / 60).unwrap() + 1;
    assert!((1..=most).contains(&warnings), "{said}");
    drop(said);
    peer.process.kill();
}

/// The response, as far as it came; `None` where there is none.
fn try_get(address: std::net::SocketAddr, url: &str) -> Option<Response> {
    let socket = std::net::TcpStream::connect(address).ok()?;
    drop(socket);
    std::panic::catch_unwind(|| {
        let mut connection = Connection::open(address);
        connection.write(format!("GET /proxy?q={} HTTP/1.1\r\nHost: {address}\r\n\r\n", escaped(url)));
        connection.read_response()
    })
    .ok()
}

#[test]
fn two_processes_share_a_directory_and_see_each_others_responses_and_purges() {
    let (folder, origin) = (TempDir::new().unwrap(), bodies());
    let (one, two) = (start(folder.path(), &[]), start(folder.path(), &[]));
    let url = |number: usize| origin.url(&format!("/{}/{number}", [10, 100_000][number % 2]));
    let is_cached =
        |peer: &PeerProcess, url: &str| is_hit(&get_with(peer, url, "Cache-Control: only-if-cached\r\n"));
    for number in 0..10 {
        get(if number % 3 == 0 { &one } else { &two }, &url(number));
    }
    wait_until("each has all", || {
        (0..10).all(|number| is_cached(&one, &url(number)) && is_cached(&two, &url(number)))
    });
    assert_eq!(origin.count(), 10);
    // Both have it in memory now.
    let target = format!("/proxy?q={}", escaped(&url(4)));
    assert_eq!(send(one.address, "PURGE", &target, "").status, 200);
    wait_until("the purge is seen", || !is_cached(&two, &url(4)));
    assert!(is_cached(&one, &url(5)) && is_cached(&two, &url(5)));
    get(&two, &url(4));
    assert_eq!(origin.count(), 11);
    wait_until("the new response is seen", || is_cached(&one, &url(4)));
    assert!(one.process.stderr().is_empty() && two.process.stderr().is_empty());
}

/// `/LENGTH/...` has a body of so many bytes, in which each 8 bytes are their position: no two parts of it are equal.
fn positions() -> Origin {
    Origin::start(|received: &Received| {
        let length = received.target.split('/').nth(1).unwrap().parse().unwrap();
        Reply::ok(numbered(length)).field("Cache-Control", "max-age=3600").field("ETag", "\"1\"")
    })
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64).flat_map(u64::to_be_bytes).take(length).collect()
}

/// A peer that has these responses on its disk, with their files open, and only one of them in memory.
fn with_open_files(folder: &Path, urls: &[&str]) -> PeerProcess {
    let mut peer = start(folder, &["--memory", "8MiB"]);
    urls.iter().for_each(|url| drop(get(&peer, url)));
    stop(&mut peer);
    peer.restart();
    for url in urls {
        let found = get(&peer, url);
        assert!(found.field("cache-status").unwrap().contains("detail=disk"), "{:?}", found.headers);
    }
    peer
}

/// A connection whose receive buffer holds some KiB.
fn slow_connection(address: std::net::SocketAddr) -> std::net::TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect_timeout(&address.into(), TEST_TIMEOUT).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    socket.into()
}

/// Reads the head of a response, byte by byte, and returns its `Content-Length`.
fn read_head(socket: &mut std::net::TcpStream) -> usize {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap()
}

#[test]
fn client_that_reads_slowly_gets_each_byte_of_a_hit_from_disk_once() {
    const LENGTH: usize = 5 * MIB + 12_345;
    let (folder, origin) = (TempDir::new().unwrap(), positions());
    let urls = [origin.url(&format!("/{LENGTH}/large")), origin.url("/70000/small")];
    let peer = with_open_files(folder.path(), &[&urls[0], &urls[1]]);
    let request = |method: &str, url: &str| {
        format!("{method} /proxy?q={} HTTP/1.1\r\nHost: {}\r\n\r\n", escaped(url), peer.address)
    };
    let (large, small) = (numbered(LENGTH), numbered(70_000));
    let mut slow = slow_connection(peer.address);
    // One after the other on the same connection: a byte too many or too few shows in the next response.
    let [first, second, third] =
        [("GET", &urls[0]), ("HEAD", &urls[0]), ("GET", &urls[1])].map(|(method, url)| request(method, url));
    slow.write_all([first, second, third].concat().as_bytes()).unwrap();
    let mut other = Connection::open(peer.address);
    let (mut body, mut part) = (vec![0; read_head(&mut slow)], 0);
    assert_eq!(body.len(), LENGTH);
    for piece in body.chunks_mut(30_011) {
        slow.read_exact(piece).unwrap();
        part += 1;
        // Meanwhile others are served, and the file is removed when a third of it is read.
        other.write(request("GET", &urls[1]));
        assert!(other.read_response().body == small, "{part}");
        if part == 60 {
            let target = format!("/proxy?q={}", escaped(&urls[0]));
            assert_eq!(send(peer.address, "PURGE", &target, "").status, 200);
        }
    }
    assert!(body == large);
    // The second was purged meanwhile, and has no body; the third is a hit again.
    assert_eq!(read_head(&mut slow), LENGTH);
    assert_eq!(read_head(&mut slow), small.len());
    let mut body = vec![0; small.len()];
    slow.read_exact(&mut body).unwrap();
    assert!(body == small);
    assert_eq!(peer.process.stderr(), "");
}

#[test]
fn ranges_over_block_borders_of_a_hit_from_disk_are_exact() {
    const LENGTH: usize = 700_001;
    const BLOCK: usize = 64 << 10;
    let (folder, origin) = (TempDir::new().unwrap(), positions());
    let url = origin.url(&format!("/{LENGTH}/ranges"));
    let peer = with_open_files(folder.path(), &[&url]);
    let whole = numbered(LENGTH);
    let mut connection = Connection::open(peer.address);
    let mut ask = |range: &str| {
        let target = escaped(&url);
        connection.write(format!(
            "GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={range}\r\n\r\n"
        ));
        let response = connection.read_response();
        assert!(response.status == 206 && is_hit(&response), "{range}: {:?}", response.headers);
        response.body
    };
    let borders = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK - 1, 4 * BLOCK, 10 * BLOCK + 7, LENGTH - 1];
    for from in borders {
        for to in borders.into_iter().filter(|to| *to >= from) {
            assert!(ask(&format!("{from}-{to}")) == whole[from..=to], "{from}-{to}");
        }
        assert!(ask(&format!("{from}-")) == whole[from..], "{from}-");
        assert!(from == 0 || ask(&format!("-{from}")) == whole[LENGTH - from..], "-{from}");
    }
    let (one, two) = (BLOCK - 9..=3 * BLOCK, 5 * BLOCK..=5 * BLOCK + 20_000);
    let ranges = format!("{}-{},{}-{}", one.start(), one.end(), two.start(), two.end());
    let parts = ask(&ranges);
    let contains = |part: &[u8]| {
        let start = parts.windows(64).position(|bytes| bytes == &part[..64]).unwrap();
        parts[start..].starts_with(part)
    };
    assert!(contains(&whole[one]) && contains(&whole[two]));
    // A client that leaves in the middle harms no other.
    let mut leaving = slow_connection(peer.address);
    let target = escaped(&url);
    leaving
        .write_all(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(read_head(&mut leaving), LENGTH);
    drop(leaving);
    let old = send(peer.address, "GET", &format!("/proxy?q={target}"), "Connection: close\r\n");
    assert!(old.body == whole && is_hit(&old));
    assert_eq!((origin.count(), peer.process.stderr()), (1, String::new()));
}

#[test]
fn running_peer_serves_what_a_run_of_the_command_has_validated_in_its_directory() {
    let origin = Origin::start(|received: &Received| {
        let reply = match received.field("if-none-match") {
            Some(_) => Reply::status(304),
            // A date in the past makes the response stale when it arrives.
            None => Reply::ok("stored").field("Date", "Wed, 01 Jan 2020 00:00:00 GMT"),
        };
        reply.field("Cache-Control", "max-age=3600").field("ETag", "\"1\"")
    });
    let folder = TempDir::new().unwrap();
    let (url, store) = (origin.url("/a"), folder.path().to_str().unwrap());
    let peer = start(folder.path(), &[]);
    assert_eq!(get(&peer, &url).body, b"stored");
    wait_until("the peer has written it", || {
        let listed = run(["store", "ls", "--store", store]);
        String::from_utf8(listed.stdout).unwrap().contains(&url)
    });
    let output = String::from_utf8(run(["get", "-i", "--store", store, &url]).stdout).unwrap();
    assert!(output.contains("fwd=stale; fwd-status=304"), "{output}");
    assert_eq!(origin.count(), 2);
    let mut found = None;
    wait_until("the peer has learnt it", || {
        let response = get_with(&peer, &url, "Cache-Control: only-if-cached\r\n");
        let is_found = response.status == 200;
        found = Some(response);
        is_found
    });
    let (found, again) = (found.unwrap(), get(&peer, &url));
    assert!(found.field("cache-status").unwrap().ends_with("detail=disk"), "{found:?}");
    assert!(again.body == b"stored" && again.field("cache-status").unwrap().contains("; hit"), "{again:?}");
    assert_eq!(origin.count(), 2);
}
