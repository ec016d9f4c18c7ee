use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use forwardcache::server::ServerConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::{Proxy, hello, open, request, request_on, start_echo, start_server};
use crate::processes::PeerProcess;
use crate::support::{SetOnDrop, wait_until};

/// The number of idle tunnels. A server has a tunnel for four open files.
const TUNNELS: usize = 5_000;
const FILES: usize = 4 * TUNNELS;

/// The most resident memory of an idle tunnel, in bytes.
const MEMORY: usize = 4 << 10;

/// Raises the limit of open files as far as possible, as the command does, and returns it.
fn raise_open_files() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a soft limit can be raised");
    maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap())
}

/// Returns a number of the status of a process: threads, or KiB of memory.
fn status(process: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Opens tunnels for many clients, each at an address of its own, because one client gets only half of the free ones.
struct Clients {
    proxy: SocketAddr,
    target: String,
    /// The last number of the address.
    number: u8,
}

impl Clients {
    fn open(&mut self) -> TcpStream {
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a file is left");
            socket
                .bind(&SocketAddr::from(([127, 0, 1, self.number], 0)).into())
                .expect("the address is local");
            socket.connect(&self.proxy.into()).expect("the proxy accepts connections");
            let (socket, head) = request_on(socket.into(), &self.target, "");
            if head.starts_with("HTTP/1.1 200 ") {
                return socket;
            }
            assert!(head.starts_with("HTTP/1.1 503 ") && self.number < 100, "client {}: {head}", self.number);
            self.number += 1;
        }
    }
}

#[test]
fn thousands_of_idle_tunnels_need_no_threads() {
    let files = raise_open_files();
    assert!(files >= FILES, "{TUNNELS} tunnels need a hard limit of {FILES} open files, and it is {files}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, accepted) = mpsc::channel();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            if send.send(socket).is_err() {
                return;
            }
        }
    });
    let port = address.port().to_string();
    let options = ["--http-proxy", "--connect-ports", &port, "--max-tunnels", "5000", "--memory", "64MiB"];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let target = format!("localhost:{port}");
    let mut clients = Clients { proxy: peer.address, target, number: 1 };
    let hello = hello("localhost");
    let mut start = || {
        let mut client = clients.open();
        client.write_all(&hello).unwrap();
        let mut server = accepted.recv().unwrap();
        server.read_exact(&mut vec![0; hello.len()]).unwrap();
        (client, server)
    };
    let mut tunnels: Vec<(TcpStream, TcpStream)> = (0..10).map(|_| start()).collect();
    let of_peer = |name| status(peer.process.id(), name);
    let (threads, memory) = (of_peer("Threads"), of_peer("VmRSS"));
    while tunnels.len() < TUNNELS {
        tunnels.push(start());
    }
    let after = of_peer("Threads");
    assert!(after <= threads + 8, "{threads} threads with 10 tunnels, {after} with {TUNNELS}");
    let bytes = (of_peer("VmRSS") - memory) * 1024 / (TUNNELS - 10);
    assert!(bytes <= MEMORY, "{bytes} bytes for each tunnel");
    eprintln!("{TUNNELS} tunnels of {} clients, {after} threads, {bytes} bytes for each", clients.number);
    // All of them still work.
    for (client, server) in &mut tunnels {
        client.write_all(b"to").unwrap();
        server.write_all(b"fro").unwrap();
    }
    for (client, server) in &mut tunnels {
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes[..2]).unwrap();
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"fro");
    }
}

#[test]
fn a_stalled_side_stalls_only_itself() {
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let _end = SetOnDrop(&is_over);
    let over = std::sync::Arc::clone(&is_over);
    // Sends without end, and counts what arrives.
    let (send, received) = mpsc::channel();
    let flood = start_server(move |mut socket| {
        let mut reader = socket.try_clone().unwrap();
        let send = send.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let _ = send.send(count);
            }
        });
        while !over.load(std::sync::atomic::Ordering::SeqCst) && socket.write_all(&[7; 64 << 10]).is_ok() {}
    });
    let echo = start_echo();
    let proxy =
        Proxy::start_with(&[flood.port(), echo.port()], ServerConfig::new().io_threads(1), |builder| builder);
    let hello = hello("localhost");
    let mut stalled = open(proxy.address(), &format!("localhost:{}", flood.port()));
    stalled.write_all(&hello).unwrap();
    // The tunnel stops once all buffers are full.
    let mut before = 0;
    wait_until("the flood never stops", || {
        thread::sleep(Duration::from_millis(100));
        let now = proxy.metric("tunnel_bytes_total{direction=\"to_client\"}");
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    let held = proxy.metric("memory_bytes{use=\"connections\"}");
    assert!(held <= 64 << 10, "{held} bytes are held");
    // The other direction of the same tunnel works.
    stalled.write_all(&[1; 1000]).unwrap();
    let mut count = 0;
    while count < hello.len() + 1000 {
        count += received.recv_timeout(crate::support::TEST_TIMEOUT).unwrap();
    }
    // So does another tunnel on the same thread.
    let mut other = open(proxy.address(), &format!("localhost:{}", echo.port()));
    other.write_all(&hello).unwrap();
    other.read_exact(&mut vec![0; hello.len()]).unwrap();
    // When the stalled side reads again, its tunnel continues.
    let mut bytes = vec![0; 8 << 20];
    stalled.read_exact(&mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn the_number_of_tunnels_is_limited_for_each_client() {
    let echo = start_echo();
    let proxy = Proxy::start_with(&[echo.port()], ServerConfig::new().max_tunnels(4), |builder| builder);
    let target = format!("localhost:{}", echo.port());
    let held: Vec<_> = (0..2).map(|_| open(proxy.address(), &target)).collect();
    let (_, head) = request(proxy.address(), &target, "");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1\r\n"), "{head}");
    assert_eq!(proxy.metric("tunnels_rejected_total{reason=\"too_many\"}"), 1);
    // A tunnel is open once its response is written.
    wait_until("a tunnel is not open", || proxy.metric("tunnels_open") == 2);
    drop(held);
    wait_until("the tunnels stay open", || proxy.metric("tunnels_open") == 0);
    drop(open(proxy.address(), &target));
    let none = Proxy::start_with(&[echo.port()], ServerConfig::new().max_tunnels(0), |builder| builder);
    let (_, head) = request(none.address(), &target, "");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
}
