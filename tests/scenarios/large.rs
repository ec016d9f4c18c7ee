//! Bodies larger than memory: they stream to the disk while clients read them, and what an interrupted transfer leaves is
//! completed.
//!
//! `FORWARDCACHE_LARGE_MIB` sets the size of the large downloads; their figures are printed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::nginx::Nginx;
use crate::support::origin::Gate;

const MIB: u64 = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(300);

/// A block of a body: no two that are next to each other are equal.
fn block(number: u64) -> [u8; 4096] {
    let mut block = [0; 4096];
    for (at, word) in (0_u64..).zip(block.chunks_exact_mut(8)) {
        word.copy_from_slice(&(number << 16 | at).to_be_bytes());
    }
    block
}

/// The `Range` and the number of body bytes of each request.
type Served = Mutex<Vec<(Option<String>, u64)>>;

/// An origin of one large body, which it makes while it sends it. It knows `Range` and `If-Range`.
struct LargeOrigin {
    address: SocketAddr,
    served: Arc<Served>,
}

impl LargeOrigin {
    /// With this length, which is slow from a position on until the gate opens. The first `cuts` responses end there.
    fn start(length: u64, slow_from: u64, gate: &Gate, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, served) = (listener.local_addr().unwrap(), Arc::<Served>::default());
        let (gate, all, left) = (gate.clone(), Arc::clone(&served), Arc::new(AtomicUsize::new(cuts)));
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (gate, all, left) = (gate.clone(), Arc::clone(&all), Arc::clone(&left));
                thread::spawn(move || {
                    // A peer that goes away ends the connection.
                    let _ = serve(&socket, length, slow_from, &gate, &all, &left);
                });
            }
        });
        Self { address, served }
    }

    fn url(&self) -> String {
        format!("http://{}/large", self.address)
    }
}

fn serve(
    mut socket: &TcpStream,
    length: u64,
    slow_from: u64,
    gate: &Gate,
    served: &Served,
    cuts: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let field =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    let range = field("range").filter(|_| field("if-range").is_none_or(|tag| tag == "\"large\""));
    let bounds = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (start, end) = match bounds {
        Some((start, end)) => (start.parse().unwrap(), end.parse().map_or(length, |end: u64| end + 1)),
        None => (0, length),
    };
    let status = if bounds.is_some() {
        format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{length}", end - 1)
    } else {
        "200 OK".to_owned()
    };
    let fields = "Cache-Control: max-age=3600\r\nETag: \"large\"\r\nConnection: close";
    let left = end - start;
    write!(socket, "HTTP/1.1 {status}\r\nContent-Length: {left}\r\n{fields}\r\n\r\n")?;
    let number = {
        let mut served = served.lock();
        served.push((range.clone(), 0));
        served.len() - 1
    };
    let is_cut = cuts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let mut at = start;
    let mut buffer = Vec::with_capacity(64 << 10);
    while at < end {
        if at >= slow_from && is_cut {
            return Ok(());
        }
        if at >= slow_from && !gate.is_open() {
            thread::sleep(Duration::from_millis(20));
        }
        buffer.clear();
        let until = if at < slow_from { end.min(slow_from) } else { end };
        while buffer.len() < 64 << 10 && at < until {
            let block = block(at / 4096);
            let from = usize::try_from(at % 4096).unwrap();
            let to = usize::try_from((until - at).min(4096 - from as u64)).unwrap() + from;
            buffer.extend_from_slice(&block[from..to]);
            at += (to - from) as u64;
        }
        socket.write_all(&buffer)?;
        served.lock()[number].1 += buffer.len() as u64;
    }
    Ok(())
}

/// A client that checks each byte of the body while it reads.
struct Reader {
    socket: TcpStream,
    head: String,
    at: u64,
    end: u64,
}

impl Reader {
    fn open(peer: SocketAddr, url: &str, fields: &str) -> Self {
        let mut socket = TcpStream::connect(peer).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(socket, "GET /proxy?q={} HTTP/1.1\r\nHost: {peer}\r\n{fields}\r\n", escaped(url)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let range = head.lines().find_map(|line| line.strip_prefix("content-range: bytes "));
        let at = range.map_or(0, |range| range.split_once('-').unwrap().0.parse().unwrap());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let end = at + length.parse::<u64>().unwrap();
        Self { socket, head, at, end }
    }

    /// Reads up to this many bytes of the body, each of which is the right one; returns how many there were.
    fn read(&mut self, most: u64) -> u64 {
        let most = most.min(self.end - self.at);
        let (mut buffer, mut count) = (vec![0; 64 << 10], 0);
        while count < most {
            let room = usize::try_from(most - count).unwrap_or(usize::MAX).min(buffer.len());
            let Ok(read @ 1..) = self.socket.read(&mut buffer[..room]) else { break };
            let mut bytes = &buffer[..read];
            while !bytes.is_empty() {
                let (expected, from) = (block(self.at / 4096), usize::try_from(self.at % 4096).unwrap());
                let length = bytes.len().min(4096 - from);
                assert!(bytes[..length] == expected[from..from + length], "wrong bytes at {}", self.at);
                (bytes, self.at) = (&bytes[length..], self.at + length as u64);
            }
            count += read as u64;
        }
        count
    }

    fn read_all(&mut self) {
        self.read(u64::MAX);
        assert_eq!(self.at, self.end);
    }
}

fn start(folder: &Path, options: &[&str]) -> PeerProcess {
    let store = folder.to_str().unwrap();
    PeerProcess::start_as("127.0.0.1:0", &[&["--store", store], options].concat())
}

/// Waits until a condition holds, for as long as a download of many gigabytes may take. Leaves the processor to others
/// between the checks.
fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What the bodies take of the disk.
fn stored(folder: &Path) -> u64 {
    let folders = fs::read_dir(folder.join("bodies")).unwrap().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// The most that was resident of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(peer: &PeerProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", peer.process.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim_matches([' ', '\t', 'k', 'B']).parse::<u64>().unwrap() << 10
}

/// Returns the memory limit of a peer and the length of a download: this many MiB through 16 MiB of memory, or 5 GiB through
/// 64 MiB with `FORWARDCACHE_LARGE_MIB=5120`.
fn sizes(mib: u64) -> (&'static str, u64) {
    let size = std::env::var("FORWARDCACHE_LARGE_MIB").map(|text| text.parse::<u64>().unwrap());
    size.map_or(("16MiB", mib * MIB), |size| ("64MiB", size * MIB))
}

/// Requests 1,000 bytes from several places near the end of a body, which the store has, and returns the times that it took,
/// the shortest first.
fn time_ends(peer: &PeerProcess, url: &str, length: u64) -> Vec<Duration> {
    let mut latencies: Vec<Duration> = (0..5_u64)
        .map(|number| {
            let start = length - (number + 1) * 100_000;
            let asked = Instant::now();
            let fields = format!("Range: bytes={start}-{}\r\n", start + 999);
            let mut end = Reader::open(peer.address, url, &fields);
            assert_eq!((end.at, end.read(1000)), (start, 1000));
            asked.elapsed()
        })
        .collect();
    latencies.sort();
    assert!(latencies[2] < Duration::from_millis(500), "{latencies:?}");
    latencies
}

#[test]
fn a_download_is_stored_while_it_streams_and_a_range_of_its_end_is_there_at_once() {
    let (memory, length) = sizes(300);
    let (gate, folder) = (Gate::new(), TempDir::new_in(folder()).unwrap());
    let origin = LargeOrigin::start(length, length / 2, &gate, 0);
    let peer = start(folder.path(), &["--memory", memory, "--disk", "20GiB"]);
    let url = origin.url();
    let begun = Instant::now();
    thread::scope(|scope| {
        let first = scope.spawn(|| Reader::open(peer.address, &url, "").read_all());
        poll("half of it is on the disk", || stored(folder.path()) >= length / 2 - MIB);
        let second = scope.spawn(|| {
            let mut reader = Reader::open(peer.address, &url, "");
            // Its beginning is not in memory any more.
            assert_eq!(reader.read(MIB), MIB);
            gate.open();
            reader.read(u64::MAX);
            assert_eq!(reader.at, length);
        });
        first.join().unwrap();
        second.join().unwrap();
    });
    let streaming = begun.elapsed();
    assert_eq!(origin.served.lock().len(), 1);
    let latencies = time_ends(&peer, &url, length);
    let begun = Instant::now();
    Reader::open(peer.address, &url, "").read_all();
    let reading = begun.elapsed();
    assert_eq!(origin.served.lock().len(), 1);
    let rate = |time: Duration| length as f64 / time.as_secs_f64() / MIB as f64;
    #[cfg(target_os = "linux")]
    {
        let resident = resident(&peer);
        eprintln!(
            "{} MiB: {:.0} MiB/s to two readers while it comes, {:.0} MiB/s from the disk, {} MiB resident at most, \
             a range of the end within {:?} to {:?}",
            length / MIB,
            rate(streaming),
            rate(reading),
            resident / MIB,
            latencies[0],
            latencies[4]
        );
        assert!(resident < 100 * MIB, "{resident}");
    }
}

/// Where large files are: on a disk rather than in memory, if the test is told of one.
fn folder() -> std::path::PathBuf {
    std::env::var_os("FORWARDCACHE_LARGE_DIR").map_or_else(std::env::temp_dir, Into::into)
}

#[test]
fn a_transfer_that_the_origin_cut_is_completed_after_a_restart() {
    const LENGTH: u64 = 60 * MIB;
    let (gate, folder) = (Gate::new(), TempDir::new().unwrap());
    let origin = LargeOrigin::start(LENGTH, 40 * MIB, &gate, 1);
    let mut peer = start(folder.path(), &["--memory", "16MiB", "--disk", "1GiB"]);
    let mut cut = Reader::open(peer.address, &origin.url(), "");
    assert!(cut.read(u64::MAX) <= 40 * MIB);
    peer.process.terminate();
    peer.process.wait();
    peer.restart();
    gate.open();
    // What is there is served without the origin.
    let mut part = Reader::open(peer.address, &origin.url(), "Range: bytes=1000000-2000000\r\n");
    assert!(part.head.contains(" 206 ") && part.head.contains("; hit"), "{}", part.head);
    part.read_all();
    assert_eq!(origin.served.lock().len(), 1);
    // A client that has 10 MiB of it continues, as `curl -C -` does.
    let mut rest = Reader::open(peer.address, &origin.url(), &format!("Range: bytes={}-\r\n", 10 * MIB));
    assert!(rest.head.contains(" 206 "), "{}", rest.head);
    rest.read_all();
    assert_eq!(rest.at, LENGTH);
    let served = origin.served.lock().clone();
    let start = served[1].0.as_deref().unwrap().strip_prefix("bytes=").unwrap();
    let start: u64 = start.strip_suffix('-').unwrap().parse().unwrap();
    assert!(served.len() == 2 && start > 39 * MIB && served[1].1 == LENGTH - start, "{served:?}");
    let mut whole = Reader::open(peer.address, &origin.url(), "");
    assert!(whole.head.contains(" 200 ") && whole.head.contains("; hit"), "{}", whole.head);
    whole.read_all();
    assert_eq!(origin.served.lock().len(), 2);
}

/// Whether the index has a response. The peer needs `--admin`.
fn has_a_key(peer: &PeerProcess) -> bool {
    let line = peer.process.wait_for_line("metrics on http://");
    let admin = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let metrics = String::from_utf8(send(admin, "GET", "/metrics", "").body).unwrap();
    metrics.lines().any(|line| line == "forwardcache_cache_keys{tier=\"disk\"} 1")
}

/// The bytes of a large body, for a file.
struct Blocks {
    at: u64,
    rest: std::io::Cursor<[u8; 4096]>,
}

impl Read for Blocks {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.position() == 4096 {
            self.at += 1;
            self.rest = std::io::Cursor::new(block(self.at));
        }
        self.rest.read(out)
    }
}

#[test]
fn a_download_from_nginx_is_shared_and_continued_after_a_kill() {
    let (memory, length) = sizes(60);
    let (nginx, folder) = (Nginx::start(), TempDir::new_in(folder()).unwrap());
    let mut blocks = Blocks { at: 0, rest: std::io::Cursor::new(block(0)) };
    nginx.write_from("/limited/large", &mut (&mut blocks).take(length));
    // The origin takes at least three seconds.
    let url = nginx.url(&format!("/limited/large?rate={}", (length / 3).min(120 * MIB)));
    let mut peer = start(folder.path(), &["--memory", memory, "--disk", "20GiB", "--admin", "127.0.0.1:0"]);
    let is_stored = |part: u64, of: u64| stored(folder.path()) > length * part / of;
    thread::scope(|scope| {
        let mut first = Reader::open(peer.address, &url, "");
        scope.spawn(move || first.read(u64::MAX));
        poll("a third of it is on the disk", || is_stored(1, 3));
        let mut second = Reader::open(peer.address, &url, "");
        scope.spawn(move || assert!(second.read(u64::MAX) > length / 3));
        poll("two thirds of it are on the disk", || is_stored(2, 3) && has_a_key(&peer));
        #[cfg(target_os = "linux")]
        assert!(resident(&peer) < 100 * MIB, "{}", resident(&peer));
        peer.process.signal("KILL");
    });
    peer.restart();
    let mut part = Reader::open(peer.address, &url, "Range: bytes=1000000-2000000\r\n");
    assert!(part.head.contains(" 206 ") && part.head.contains("; hit"), "{}", part.head);
    part.read_all();
    let begun = Instant::now();
    let mut whole = Reader::open(peer.address, &url, "");
    assert!(whole.head.contains("; fwd=partial"), "{}", whole.head);
    whole.read_all();
    let completing = begun.elapsed();
    let mut hit = Reader::open(peer.address, &url, "");
    assert!(hit.head.contains("; hit"), "{}", hit.head);
    hit.read_all();
    let latencies = time_ends(&peer, &url, length);
    nginx.settle();
    let served = nginx.served();
    // GET /limited/large?rate=N HTTP/1.1 BYTES "bytes=N-" "ENTITY TAG"
    let fields: Vec<_> = served[1].split(' ').collect();
    let start = fields[4].trim_matches('"').strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
    let start: u64 = start.parse().unwrap();
    assert!(served.len() == 2 && fields[5].starts_with('"'), "{served:?}");
    assert!(start > 0 && fields[3] == (length - start).to_string(), "{served:?}");
    #[cfg(target_os = "linux")]
    {
        let resident = resident(&peer);
        eprintln!(
            "{} MiB: continued at {} MiB within {completing:?}, {} MiB resident at most, a range of the end within {:?} to {:?}",
            length / MIB,
            start / MIB,
            resident / MIB,
            latencies[0],
            latencies[4]
        );
        assert!(resident < 100 * MIB, "{resident}");
    }
}

#[test]
fn a_transfer_whose_process_was_killed_is_completed() {
    const LENGTH: u64 = 60 * MIB;
    let (gate, folder) = (Gate::new(), TempDir::new().unwrap());
    let origin = LargeOrigin::start(LENGTH, 30 * MIB, &gate, 0);
    let options = ["--memory", "16MiB", "--disk", "1GiB", "--admin", "127.0.0.1:0"];
    let mut peer = start(folder.path(), &options);
    thread::scope(|scope| {
        let mut reader = Reader::open(peer.address, &origin.url(), "");
        scope.spawn(move || reader.read(u64::MAX));
        poll("a part of it is in the index", || stored(folder.path()) > 29 * MIB && has_a_key(&peer));
        peer.process.signal("KILL");
    });
    peer.restart();
    gate.open();
    let mut whole = Reader::open(peer.address, &origin.url(), "");
    whole.read_all();
    let served = origin.served.lock().clone();
    let start = served[1].0.as_deref().unwrap().strip_prefix("bytes=").unwrap();
    let start: u64 = start.strip_suffix('-').unwrap().parse().unwrap();
    assert!(served.len() == 2 && start > 0 && start.is_multiple_of(64 << 10), "{served:?}");
    let mut hit = Reader::open(peer.address, &origin.url(), "");
    assert!(hit.head.contains("; hit"), "{}", hit.head);
    hit.read_all();
}

#[test]
fn a_slow_reader_never_sets_the_pace_and_late_readers_read_from_the_disk() {
    const LENGTH: u64 = 50 * MIB;
    let (gate, folder) = (Gate::new(), TempDir::new().unwrap());
    let origin = LargeOrigin::start(LENGTH, LENGTH / 2, &gate, 0);
    let peer = start(folder.path(), &["--memory", "16MiB", "--disk", "1GiB"]);
    let url = origin.url();
    // It reads a little, and goes on when all others have read the whole.
    let mut slow = Reader::open(peer.address, &url, "");
    assert_eq!(slow.read(MIB), MIB);
    let is_half_there = Barrier::new(5);
    thread::scope(|scope| {
        for number in 0..7 {
            let (url, is_half_there) = (&url, &is_half_there);
            scope.spawn(move || {
                if number >= 3 {
                    is_half_there.wait();
                }
                let mut reader = Reader::open(peer.address, url, "");
                reader.read_all();
            });
        }
        poll("half of it is on the disk", || stored(folder.path()) >= LENGTH / 2 - MIB);
        is_half_there.wait();
        gate.open();
    });
    assert!(slow.at < 2 * MIB);
    slow.read(u64::MAX);
    assert_eq!(slow.at, LENGTH);
    let served = origin.served.lock().clone();
    assert_eq!(served.len(), 1, "{served:?} {}", peer.process.stderr());
    #[cfg(target_os = "linux")]
    assert!(resident(&peer) < 100 * MIB, "{}", resident(&peer));
}

#[test]
fn a_transfer_that_its_only_reader_leaves_is_finished_if_little_is_missing_and_a_part_otherwise() {
    const LENGTH: u64 = 40 * MIB;
    for (slow_from, is_finished) in [(LENGTH / 2, false), (LENGTH - 100_000, true)] {
        let (gate, folder) = (Gate::new(), TempDir::new().unwrap());
        let origin = LargeOrigin::start(LENGTH, slow_from, &gate, 0);
        let peer = start(folder.path(), &["--memory", "16MiB", "--disk", "1GiB"]);
        let mut reader = Reader::open(peer.address, &origin.url(), "");
        reader.read(slow_from);
        drop(reader);
        let fields = "Cache-Control: only-if-cached\r\n";
        let range = format!("Range: bytes=1000000-1999999\r\n{fields}");
        poll("it is stored", || Reader::open(peer.address, &origin.url(), &range).head.contains(" 206 "));
        let is_whole = || Reader::open(peer.address, &origin.url(), fields).head.starts_with("http/1.1 200");
        if is_finished {
            poll("it is whole", is_whole);
        } else {
            gate.open();
            assert!(!is_whole());
        }
        let mut whole = Reader::open(peer.address, &origin.url(), "");
        whole.read_all();
        let served = origin.served.lock().clone();
        assert_eq!(served.len(), if is_finished { 1 } else { 2 }, "{served:?}");
        assert!(served.iter().map(|(_, bytes)| bytes).sum::<u64>() < LENGTH + 8 * MIB, "{served:?}");
    }
}

/// Requests a small body `count` times, which the store has, and returns the times that it took, the shortest first.
#[cfg(target_os = "linux")]
fn time_hits(peer: &PeerProcess, url: &str, count: usize) -> Vec<Duration> {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            let hit = send(peer.address, "GET", &format!("/proxy?q={}", escaped(url)), "");
            assert!(hit.status == 200 && hit.field("cache-status").unwrap().contains("; hit"), "{hit:?}");
            begun.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// The memory in the ledger of a peer, in bytes.
#[cfg(target_os = "linux")]
fn counted(peer: &PeerProcess) -> u64 {
    let line = peer.process.wait_for_line("metrics on http://");
    let admin = line.split('/').nth(2).unwrap().parse().unwrap();
    let metrics = String::from_utf8(send(admin, "GET", "/metrics", "").body).unwrap();
    let uses = metrics.lines().filter(|line| line.starts_with("forwardcache_memory_bytes{"));
    uses.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A thousand clients that each read a little of a large body and then stop, while it is fetched; later from the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_thousand_slow_readers_take_little_memory_and_delay_nobody() {
    const LENGTH: u64 = 60 * MIB;
    const READERS: usize = 1000;
    const MEMORY: u64 = 64 * MIB;
    let (gate, folder) = (Gate::new(), TempDir::new().unwrap());
    let origin = LargeOrigin::start(LENGTH, 20 * MIB, &gate, 0);
    let small = crate::support::origin::Origin::start(|_| {
        crate::support::origin::Reply::ok("small").field("Cache-Control", "max-age=3600")
    });
    let options = ["--memory", "64MiB", "--disk", "1GiB", "--admin", "127.0.0.1:0"];
    let peer = start(folder.path(), &options);
    let (url, small) = (origin.url(), small.url("/"));
    assert_eq!(send(peer.address, "GET", &format!("/proxy?q={}", escaped(&small)), "").status, 200);
    let before = peer.resident_now();
    let check = |what: &str| {
        let times = time_hits(&peer, &small, 200);
        let grown = peer.peak_resident().saturating_sub(before);
        eprintln!("{what}: {} MiB more, hits in {:?} and {:?}", grown / MIB, times[100], times[190]);
        // Connections have state and threads have stacks, and the allocator keeps some of what is freed.
        assert!(grown < 3 * MEMORY, "{what}: {} MiB", grown / MIB);
        assert!(times[100] < Duration::from_millis(100), "{what}: {:?} {:?}", times[100], times[190]);
        poll("memory is within its limit", || counted(&peer) <= MEMORY);
    };
    let slow = || -> Vec<Reader> {
        let mut readers: Vec<_> = (0..READERS).map(|_| Reader::open(peer.address, &url, "")).collect();
        // The slowest may be cut off then.
        readers.iter_mut().for_each(|reader| _ = reader.read(1000));
        readers
    };

    let during = slow();
    check("while it is fetched");
    gate.open();
    Reader::open(peer.address, &url, "").read_all();
    let of_disk = slow();
    check("from the disk");
    let mut another = Reader::open(peer.address, &url, "");
    assert!(another.head.contains("; hit"), "{}", another.head);
    another.read_all();
    assert_eq!(origin.served.lock().len(), 1);
    drop((during, of_disk));
}

/// 200 clients that stop reading bodies that are not stored: each costs a bounded window, whatever the origins send.
#[cfg(target_os = "linux")]
#[test]
fn two_hundred_slow_readers_of_bodies_that_are_not_stored_take_little_memory() {
    const MEMORY: u64 = 64 * MIB;
    let gate = Gate::new();
    gate.open();
    let origin = LargeOrigin::start(60 * MIB, 60 * MIB, &gate, 0);
    let small = crate::support::origin::Origin::start(|_| {
        crate::support::origin::Reply::ok("small").field("Cache-Control", "max-age=3600")
    });
    let peer = PeerProcess::start_as(
        "127.0.0.1:0",
        &["--memory", "64MiB", "--max-body", "1MiB", "--admin", "127.0.0.1:0"],
    );
    let small = small.url("/");
    assert_eq!(send(peer.address, "GET", &format!("/proxy?q={}", escaped(&small)), "").status, 200);
    let before = peer.resident_now();
    let begin = |number: usize| {
        let mut client = crate::support::raw::Connection::open(peer.address);
        let target = escaped(&format!("{}?{number}", origin.url()));
        client.write(format!("GET /proxy?q={target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client
    };
    let _clients: Vec<_> = (0..200).map(begin).collect();
    // Each fetch is begun, refused, or waits for a worker.
    poll("fetches are begun", || origin.served.lock().len() >= 50);
    let times = time_hits(&peer, &small, 200);
    // A window, and what the system buffers, of many transfers.
    let sent = || origin.served.lock().iter().map(|(_, bytes)| bytes).sum::<u64>();
    poll("the windows are full", || sent() >= 50 * MIB);
    let grown = peer.peak_resident().saturating_sub(before);
    eprintln!("{} fetches, {} MiB more, hits in {:?}", origin.served.lock().len(), grown / MIB, times[100]);
    assert!(counted(&peer) <= MEMORY, "{}", counted(&peer));
    // Each transfer has a connection and a thread has a stack, and the allocator keeps some of what is freed: half of it in a
    // pool for each thread.
    assert!(grown < 3 * MEMORY, "{} MiB", grown / MIB);
    assert!(times[100] < Duration::from_millis(100), "{:?} {:?}", times[100], times[190]);
}
