use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Manager, exchange, get};
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::process::{Process, command};
use crate::support::raw::Connection;
use crate::support::{TEST_TIMEOUT, wait_until};

/// The least number of requests. They go on until the last restart is over, however fast they are.
const REQUESTS: usize = 10_000;
const RESTARTS: usize = 3;
const CLIENTS: usize = 4;

fn send_signal(name: &str, process: u32) -> bool {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).output();
    sent.expect("the command `kill` exists").status.success()
}

/// The process that serves now. Dropping it ends that process.
pub(super) struct Serving(pub(super) u32);

impl Serving {
    fn signal(&self, name: &str) {
        assert!(send_signal(name, self.0), "process {} has ended", self.0);
    }

    /// Starts a successor, and waits until it serves and this process has ended.
    pub(super) fn restart(&mut self, manager: &Manager) {
        let before = self.hand_over(manager);
        wait_until("the previous process never ends", || !is_running(before));
    }

    /// Starts a successor and waits until it serves. Returns the previous process, which ends on its own.
    fn hand_over(&mut self, manager: &Manager) -> u32 {
        self.signal("USR2");
        let mut next = None;
        // The successor reports that it is ready, and this process names it, in either order.
        let mut is_ready = false;
        while next.is_none() || !is_ready {
            match manager.receive().split_once('=') {
                Some(("READY", _)) => is_ready = true,
                Some(("MAINPID", id)) => next = Some(id.parse().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        let before = std::mem::replace(self, Self(next.unwrap()));
        let ended = before.0;
        std::mem::forget(before);
        ended
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        send_signal("KILL", self.0);
    }
}

fn is_running(process: u32) -> bool {
    // A process that has ended stays a zombie until its parent waits for it.
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// A client that never repeats a request.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Sends a request, and returns the process that answers, which each response names in `Via`.
    fn request(&mut self, head: &str) -> io::Result<String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let socket = TcpStream::connect(self.address)?;
                socket.set_read_timeout(Some(TEST_TIMEOUT))?;
                BufReader::new(socket)
            }
        };
        connection.get_mut().write_all(head.as_bytes())?;
        let (mut length, mut closes, mut via, mut line) = (0, false, String::new(), String::new());
        connection.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("the response begins with {line:?}")));
        }
        while line != "\r\n" {
            line.clear();
            connection.read_line(&mut line)?;
            let text = line.to_ascii_lowercase();
            closes |= text.starts_with("connection: close");
            if let Some(value) = text.strip_prefix("via: ") {
                value.trim().clone_into(&mut via);
            }
            if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        if body != b"content" {
            return Err(io::Error::other("another body"));
        }
        self.connection = (!closes).then_some(connection);
        Ok(via)
    }
}

#[test]
fn no_request_fails_across_three_restarts() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"));
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = (Manager::start(folder.path()), folder.path().join("peer.sock"));
    let unix = format!("unix:{}", path.display());
    let mut first =
        command(["serve", "--listen", "127.0.0.1:0", "--listen", &unix, "--admin", "127.0.0.1:0"]);
    first.env("NOTIFY_SOCKET", &manager.path);
    let first = Process::start(first).unwrap();
    let line = first.wait_for_line("serving on http://");
    let address = line.split(' ').nth(2).unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(manager.receive(), "READY=1");
    let mut serving = Serving(first.id());
    let url = origin.url("/a");
    let (done, restarts, head) = (AtomicUsize::new(0), AtomicUsize::new(0), get(&url));
    let persistent = head.replacen("Connection: close\r\n", "", 1);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (head, persistent, done, restarts) = (&head, &persistent, &done, &restarts);
                scope.spawn(move || {
                    let mut client = Client { address, connection: None };
                    let mut processes = BTreeSet::new();
                    loop {
                        // Read before the request, so that the last process answers one after the last restart.
                        let are_all_over = restarts.load(Ordering::Relaxed) == RESTARTS;
                        let is_last = done.fetch_add(1, Ordering::Relaxed) >= REQUESTS && are_all_over;
                        // Half of the clients keep their connections.
                        processes.insert(client.request(if number % 2 == 0 { head } else { persistent })?);
                        if is_last {
                            return io::Result::Ok(processes);
                        }
                    }
                })
            })
            .collect();
        for restart in 1..=RESTARTS {
            // Each process answers some requests.
            let at = (restart * REQUESTS / (RESTARTS + 1)).max(done.load(Ordering::Relaxed) + REQUESTS / 100);
            wait_until("the requests stop", || {
                let is_reached = done.load(Ordering::Relaxed) >= at;
                is_reached || clients.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            serving.restart(&manager);
            restarts.store(restart, Ordering::Relaxed);
        }
        let processes = clients.into_iter().map(|client| client.join().unwrap().expect("no request fails"));
        let processes: BTreeSet<_> = processes.flatten().collect();
        assert_eq!(processes.len(), RESTARTS + 1, "{processes:?}");
    });
    // The last process serves all sockets of the first.
    let response = exchange(UnixStream::connect(&path).unwrap(), &head);
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    serving.signal("TERM");
    assert_eq!(manager.receive(), "STOPPING=1");
    wait_until("the last process never ends", || !is_running(serving.0));
    wait_until("the socket stays open", || TcpStream::connect(address).is_err());
}

#[test]
fn what_has_begun_ends_in_the_process_that_began_it() {
    let (in_head, in_body) = (Gate::new(), Gate::new());
    let gates = (in_head.clone(), in_body.clone());
    let origin = Origin::start(move |received| match &*received.target {
        "/late" => Reply::ok("late").gate_head(&gates.0),
        "/long" => Reply::ok(vec![b'x'; 1 << 20]).chunked().gate_body(1000, &gates.1),
        _ => Reply::ok(received.body.clone()),
    });
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::start(folder.path());
    let mut first = command(["serve", "--listen", "127.0.0.1:0"]);
    first.env("NOTIFY_SOCKET", &manager.path);
    let first = Process::start(first).unwrap();
    let line = first.wait_for_line("serving on http://");
    let address = line.split(' ').nth(2).unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(manager.receive(), "READY=1");
    let mut serving = Serving(first.id());
    let open = |head: &str| {
        let mut connection = Connection::open(address);
        connection.write(head);
        connection
    };
    let mut late = open(&get(&origin.url("/late")));
    let mut long = open(&get(&origin.url("/long")));
    long.wait_for_bytes(b"xxx\r\n");
    let post = get(&origin.url("/post")).replacen("GET", "POST", 1);
    let mut upload = open(&post.replacen("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\nupl", 1));
    let mut idle = open(&get(&origin.url("/idle")).replacen("Connection: close\r\n", "", 1));
    assert_eq!(idle.read_response().status, 200);
    wait_until("a request does not reach the origin", || {
        origin.count_of("/late") + origin.count_of("/long") == 2
    });
    let before = serving.hand_over(&manager);
    // The successor serves while the process before it waits.
    assert_eq!(open(&get(&origin.url("/new"))).read_response().status, 200);
    assert!(is_running(before));
    upload.write("oad");
    assert_eq!(upload.read_response().body, b"upload");
    in_head.open();
    assert_eq!(late.read_response().body, b"late");
    assert!(is_running(before));
    in_body.open();
    assert!(long.read_to_end().ends_with(b"x\r\n0\r\n\r\n"));
    wait_until("the previous process never ends", || !is_running(before));
    assert_eq!(idle.read_to_end(), b"");
}

#[test]
fn a_successor_that_cannot_serve_changes_nothing() {
    let origin = Origin::start(|_| Reply::ok("content"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "max-fields = 20\n").unwrap();
    let mut peer = Process::spawn(["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    let line = peer.wait_for_line("serving on http://");
    let address = line.split(' ').nth(2).unwrap().strip_prefix("http://").unwrap().to_owned();
    std::fs::write(&config, "max-fields = 'many'\n").unwrap();
    peer.signal("USR2");
    peer.wait_for_line("cannot start a successor: it ended before it was ready: exit status: ");
    let response = exchange(TcpStream::connect(&address).unwrap(), get(&origin.url("/a")));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    peer.terminate();
    assert!(peer.wait().success());
}
