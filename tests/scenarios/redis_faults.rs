//! A peer over a Redis that is broken or hostile: every request is served, the memory is bounded, and Redis costs one
//! timeout and then nothing.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::wait_until;

const MIB: u64 = 1 << 20;

/// How long the peer waits for Redis.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What the server does with a command. Returns whether it reads another one.
type Script = dyn Fn(&mut TcpStream, &Command, SocketAddr) -> std::io::Result<bool> + Send + Sync;

/// A server that speaks RESP as a script tells it.
struct FakeRedis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    is_over: AtomicBool,
    commands: AtomicUsize,
    /// The open connections.
    streams: Mutex<Vec<TcpStream>>,
}

/// A command: its words, as text.
struct Command(Vec<String>);

impl Command {
    /// Whether the script looks something up: two keys, and the words `since most`.
    fn is_lookup(&self) -> bool {
        self.0.len() == 7
    }
}

impl FakeRedis {
    fn start(
        script: impl Fn(&mut TcpStream, &Command, SocketAddr) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            is_over: AtomicBool::new(false),
            commands: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.streams.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&accepting);
                // An error is a client that closes the connection.
                thread::spawn(move || drop(shared.serve(stream, address)));
            }
        });
        Self { address, shared }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.shared.streams.lock().unwrap().len()
    }

    fn commands(&self) -> usize {
        self.shared.commands.load(Ordering::SeqCst)
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, own: SocketAddr) -> std::io::Result<()> {
        let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
        while let Some(command) = read_command(&mut reader)? {
            // What a client says of itself when it connects.
            if matches!(&*command.0[0], "CLIENT" | "AUTH" | "SELECT" | "HELLO" | "ASKING") {
                writer.write_all(b"+OK\r\n")?;
                continue;
            }
            self.commands.fetch_add(1, Ordering::SeqCst);
            if !(self.script)(&mut writer, &command, own)? {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a command; `None` if the connection ends.
fn read_command(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Command>> {
    let mut number = |kind: char| -> std::io::Result<Option<usize>> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok(line.trim_end().strip_prefix(kind).map(|number| number.parse().unwrap()))
    };
    let Some(count) = number('*')? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length: usize = line.trim_end().strip_prefix('$').unwrap().parse().unwrap();
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word)?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(Some(Command(words)))
}

/// Sends this without an end, as fast as the client reads.
fn send_forever(stream: &mut TcpStream, part: &str) -> std::io::Result<bool> {
    let parts = part.repeat((64 << 10) / part.len());
    loop {
        stream.write_all(parts.as_bytes())?;
    }
}

fn origin() -> Origin {
    Origin::start(|received: &Received| {
        Reply::ok(format!("the body of {}", received.target)).field("Cache-Control", "max-age=3600")
    })
}

/// Requests a URL that the peer does not have.
fn get_new(peer: &PeerProcess, origin: &Origin, number: usize) {
    let path = format!("/t{number}");
    let response = send(peer.address, "GET", &format!("/proxy?q={}", escaped(&origin.url(&path))), "");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.body, format!("the body of {path}").into_bytes());
    assert!(response.field("cache-status").unwrap().contains("fwd=uri-miss"), "{response:?}");
}

fn start_peer(url: &str) -> PeerProcess {
    let timeout = TIMEOUT.as_millis().to_string();
    PeerProcess::start_as("127.0.0.1:0", &["--redis", url, "--redis-timeout", &timeout, "--memory", "64MiB"])
}

/// Checks that a peer serves all requests over such a server in little memory, and does not wait for it again.
fn assert_harmless(
    name: &str,
    scheme: &str,
    script: impl Fn(&mut TcpStream, &Command, SocketAddr) -> std::io::Result<bool> + Send + Sync + 'static,
) {
    let (server, origin) = (FakeRedis::start(script), origin());
    let peer = start_peer(&format!("{scheme}://{}", server.address));
    let before = peer.resident_now();
    let begun = Instant::now();
    for number in 0..20 {
        get_new(&peer, &origin, number);
    }
    let taken = begun.elapsed();
    assert!(server.connections() > 0, "{name}: nothing was asked");
    peer.process.wait_for_line("the store in Redis cannot");
    // A lookup waits for connecting and for the operation. A probe waits in the background.
    assert!(taken < 2 * TIMEOUT + Duration::from_secs(3), "{name}: {taken:?}");
    // What the server does goes on while further requests are served.
    for number in 20..200 {
        get_new(&peer, &origin, number);
    }
    let grown = peer.peak_resident().saturating_sub(before);
    assert!(grown < 40 * MIB, "{name}: {} MiB", grown / MIB);
}

#[test]
fn endless_responses_of_redis_take_no_memory() {
    for (name, begin, part) in [
        ("a bulk string", "$1099511627776\r\n", "x"),
        ("an array of numbers", "*1000000000\r\n", ":1\r\n"),
        ("an array of nothing", "*1000000000\r\n", "$-1\r\n"),
        ("an array of purges", "*4\r\n:1\r\n:1\r\n$0\r\n\r\n*100000000\r\n", "$3\r\ntxx\r\n:5\r\n"),
        ("nested arrays", "", "*1\r\n"),
        ("a simple string", "+", "x"),
        ("an error", "-ERR ", "x"),
        ("a number", ":", "1"),
        ("a length", "$", "1"),
        ("empty lines", "\r\n", "\r\n"),
        ("zeros", "", "\0"),
    ] {
        assert_harmless(name, "redis", move |stream, _, _| {
            stream.write_all(begin.as_bytes())?;
            send_forever(stream, part)
        });
    }
}

#[test]
fn redis_that_sends_one_byte_at_a_time_costs_one_timeout() {
    assert_harmless("one byte at a time", "redis", |stream, _, _| {
        stream.write_all(b"*4\r\n:1\r\n:1\r\n$1000000\r\n")?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            // A pause that ends when the client leaves.
            if matches!(stream.read(&mut [0]), Ok(0)) {
                return Ok(false);
            }
            stream.write_all(b"x")?;
        }
    });
}

#[test]
fn redis_that_is_slow_by_two_seconds_costs_one_timeout() {
    assert_harmless("slow by two seconds", "redis", |stream, command, _| {
        thread::sleep(Duration::from_secs(2));
        let response =
            if command.is_lookup() { "*4\r\n$1\r\n5\r\n$1\r\n1\r\n$0\r\n\r\n*0\r\n" } else { ":1\r\n" };
        stream.write_all(response.as_bytes())?;
        Ok(true)
    });
}

#[test]
fn responses_of_other_types_are_failures() {
    let invalid = [
        ":1\r\n",
        "+OK\r\n",
        "-ERR unknown\r\n",
        "$-1\r\n",
        "$-7\r\n",
        "$x\r\n",
        "$3\r\nabcde",
        "*0\r\n",
        "*-1\r\n",
        "*-5\r\n",
        "*2\r\n:1\r\n:1\r\n",
        "*4\r\n$1\r\nx\r\n:1\r\n$0\r\n\r\n*0\r\n",
        "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        "*4\r\n:1\r\n:1\r\n$0\r\n\r\n*1\r\n:1\r\n",
        "*4\r\n:-1\r\n:99999999999999999999\r\n$0\r\n\r\n*0\r\n",
        "$9223372036854775807\r\n",
        "*9223372036854775807\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "?\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for text in invalid {
        assert_harmless(text, "redis", move |stream, _, _| {
            stream.write_all(text.as_bytes())?;
            Ok(true)
        });
    }
}

#[test]
fn redirections_that_lead_nowhere_cost_one_timeout() {
    let to = |address: String| {
        move |stream: &mut TcpStream, command: &Command, own: SocketAddr| {
            let number = command.0[1].len();
            let address = if address.is_empty() { own.to_string() } else { address.clone() };
            stream.write_all(format!("-MOVED {number} {address}\r\n").as_bytes())?;
            Ok(true)
        }
    };
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (name, scheme, address) in [
        ("to itself", "redis+cluster", String::new()),
        ("to a closed port", "redis+cluster", closed.to_string()),
        // An address of TEST-NET-1, which no network routes.
        ("to an address without a host", "redis+cluster", "192.0.2.1:6379".to_owned()),
        ("to an invalid address", "redis+cluster", "nowhere".to_owned()),
        ("to an invalid port", "redis+cluster", "127.0.0.1:99999".to_owned()),
        ("of a single server", "redis", String::new()),
        ("without TLS", "rediss", String::new()),
    ] {
        assert_harmless(name, scheme, to(address));
    }
}

/// Each lookup gets a list of purges that is nearly as long as one may be.
#[test]
fn long_lists_of_purges_stay_within_the_memory_limit() {
    let purges = format!("$8003\r\ntxx{}\r\n$1\r\n5\r\n", "x".repeat(8000)).repeat(1200);
    let response = format!("*4\r\n$1\r\n5\r\n$1\r\n1\r\n$0\r\n\r\n*2400\r\n{purges}");
    let (origin, server) = (
        origin(),
        FakeRedis::start(move |stream, command, _| {
            stream.write_all(if command.is_lookup() { response.as_bytes() } else { b":0\r\n" })?;
            Ok(true)
        }),
    );
    let options = ["--redis", &server.url(), "--redis-timeout", "5000", "--memory", "64MiB"];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let before = peer.resident_now();
    thread::scope(|scope| {
        for client in 0..16 {
            let (peer, origin) = (&peer, &origin);
            scope.spawn(move || (0..10).for_each(|number| get_new(peer, origin, 1000 * client + number)));
        }
    });
    let grown = peer.peak_resident().saturating_sub(before);
    eprintln!("{} MiB more", grown / MIB);
    // Without a limit, the threads for lookups and those for writes hold 20 MiB each.
    assert!(server.commands() > 16 && grown < 190 * MIB, "{} MiB", grown / MIB);
}

/// A value that announces more than it has, and one that is larger than the limit: misses, and no failure of Redis.
#[test]
fn values_that_are_not_what_they_announce_are_misses() {
    let record = |key_length: u64| {
        let mut record = b"fwdc\0\0\0\x05".to_vec();
        record.extend_from_slice(&key_length.to_be_bytes());
        record.extend_from_slice(&[b'x'; 40]);
        record
    };
    let head = b"fwdr1V00000000000000010123456789abcdef".to_vec();
    let (huge, longest) =
        ([head.clone(), record(1 << 40)].concat(), [head.clone(), record(u64::MAX)].concat());
    for (name, value) in [
        ("a huge length", huge),
        ("the greatest length", longest),
        ("only the head", head.clone()),
        ("half of the head", head[..20].to_vec()),
        ("more than the limit", [head, vec![b'x'; 3 << 20]].concat()),
    ] {
        let origin = origin();
        let server = FakeRedis::start(move |stream, command, _| {
            if !command.is_lookup() {
                stream.write_all(b":0\r\n")?;
                return Ok(true);
            }
            stream.write_all(format!("*4\r\n$1\r\n5\r\n$1\r\n1\r\n${}\r\n", value.len()).as_bytes())?;
            stream.write_all(&value)?;
            stream.write_all(b"\r\n*0\r\n")?;
            Ok(true)
        });
        let peer = start_peer(&server.url());
        let before = peer.resident_now();
        for number in 0..20 {
            get_new(&peer, &origin, number);
        }
        let grown = peer.peak_resident().saturating_sub(before);
        assert!(grown < 40 * MIB, "{name}: {} MiB", grown / MIB);
        wait_until(name, || server.commands() >= 2);
        peer.process.wait_for_line("the store in Redis cannot");
    }
}
