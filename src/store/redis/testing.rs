//! Real Redis and Valkey servers for tests. The scenarios include this file too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the socket by which the tests give commands.
const SOCKET: &str = "socket";

/// A program that speaks the protocol of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Redis,
    Valkey,
}

impl Program {
    pub(crate) const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }
}

/// A `redis-server` or `valkey-server` on a free loopback port. Dropping it kills it.
pub(crate) struct RedisServer {
    program: Program,
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Like [`start_as`](Self::start_as), with Redis.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_as(Program::Redis, arguments)
    }

    /// With `--tls-cert-file`, the port is one for TLS only.
    ///
    /// # Panics
    ///
    /// If the program is not installed or does not start: no test is skipped.
    pub(crate) fn start_as(program: Program, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir().expect("a folder can be made");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { program, child: None, port: 0, arguments, folder };
        // Another process may take a port between its release and the start of the server.
        for _ in 0..10 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("{} did not start", program.name());
    }

    /// Starts the server again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let begun = Instant::now();
        while !self.try_start() {
            assert!(begun.elapsed() < PATIENCE, "{} did not start again", self.program.name());
        }
    }

    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let ports = if self.is_tls() {
            ["--port", "0", "--tls-port", &port]
        } else {
            ["--port", &port, "--tls-port", "0"]
        };
        let name = self.program.name();
        let child = Command::new(name)
            .args(ports)
            .arg("--unixsocket")
            .arg(self.folder.path().join(SOCKET))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name} cannot be run: {error}. tests/run installs it: add target/tools/bin to PATH")
            });
        let child = self.child.insert(child);
        let begun = Instant::now();
        loop {
            if child.try_wait().expect("the process can be waited for").is_some()
                || begun.elapsed() > PATIENCE
            {
                self.kill();
                return false;
            }
            if responds(&self.folder.path().join(SOCKET)).unwrap_or(false) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn is_tls(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--tls-cert-file")
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls() { "rediss" } else { "redis" }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.port)
    }

    /// Sends a command and returns the response as text: lines without their types.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        // Not over TLS.
        let stream =
            UnixStream::connect(self.folder.path().join(SOCKET)).expect("the server accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut reader = BufReader::new(stream);
        let password = self.arguments.iter().position(|argument| argument == "--requirepass");
        if let Some(at) = password {
            exchange(&mut reader, &["AUTH", &self.arguments[at + 1]]);
        }
        exchange(&mut reader, words)
    }

    /// Everything that the server keeps, as it is written to a file.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.run(&["CONFIG", "SET", "rdbcompression", "no"]);
        self.run(&["SAVE"]);
        std::fs::read(self.folder.path().join("dump.rdb")).expect("the server wrote its file")
    }

    /// The names of all keys that contain this text.
    pub(crate) fn keys(&self, part: &str) -> Vec<String> {
        self.run(&["KEYS", &format!("*{part}*")]).lines().map(str::to_owned).collect()
    }
}

/// Whether a server responds. It does so once it has all its ports; a server without one ends.
fn responds(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"PING\r\n")?;
    Ok(stream.read(&mut [0])? > 0)
}

fn exchange(reader: &mut BufReader<UnixStream>, words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    reader.get_mut().write_all(request.as_bytes()).expect("the server reads");
    let mut text = String::new();
    response(reader, &mut text);
    text
}

fn response(reader: &mut BufReader<UnixStream>, text: &mut String) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the server responds");
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "*" => (0..rest.parse().unwrap_or(0)).for_each(|_| response(reader, text)),
        "$" if rest == "-1" => {}
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().expect("a length is a number") + 2];
            reader.read_exact(&mut bytes).expect("the server sends the text");
            bytes.truncate(bytes.len() - 2);
            *text += &String::from_utf8_lossy(&bytes);
            text.push('\n');
        }
        _ => {
            *text += rest;
            text.push('\n');
        }
    }
}

fn free_port() -> u16 {
    // A server of a cluster also takes the port 10,000 above.
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = port.expect("a loopback port is free").port();
        if port < 50_000 {
            return port;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that are a cluster, followed by their replicas in the same order.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl Cluster {
    /// With these arguments, and a replica for each of the first `replicas` servers.
    pub(crate) fn start_as(program: Program, replicas: usize, arguments: &[&str]) -> Self {
        Self::start_each(program, replicas, &[arguments; 3])
    }

    /// With arguments of its own for each of the three servers and its replica.
    pub(crate) fn start_each(program: Program, replicas: usize, arguments: &[&[&str]; 3]) -> Self {
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let start = |count: usize| {
            let started = arguments[..count].iter();
            let started = started.map(|own| RedisServer::start_as(program, &[&enabled, *own].concat()));
            started.collect::<Vec<_>>()
        };
        let (mut servers, replicas) = (start(3), start(replicas));
        for (number, server) in servers.iter().enumerate() {
            let (first, last) = (number * 16384 / 3, (number + 1) * 16384 / 3 - 1);
            server.run(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            server.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for server in servers.iter().chain(&replicas) {
            servers[0].run(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string()]);
        }
        let begun = Instant::now();
        let is_up = |server: &RedisServer| {
            let info = server.run(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{}", 3 + replicas.len()))
        };
        let wait = |is_done: &dyn Fn() -> bool| {
            while !is_done() {
                assert!(begun.elapsed() < PATIENCE, "the cluster did not start");
                thread::sleep(Duration::from_millis(20));
            }
        };
        wait(&|| servers.iter().chain(&replicas).all(is_up));
        for (server, replica) in servers.iter().zip(&replicas) {
            replica.run(&["CLUSTER", "REPLICATE", server.run(&["CLUSTER", "MYID"]).trim()]);
        }
        let is_linked =
            |replica: &RedisServer| replica.run(&["INFO", "replication"]).contains("master_link_status:up");
        wait(&|| replicas.iter().all(is_linked) && servers.iter().all(is_up));
        servers.extend(replicas);
        Self { servers }
    }

    pub(crate) fn url(&self) -> String {
        let nodes = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port()));
        format!("{}+cluster://{}", self.servers[0].scheme(), nodes.collect::<Vec<_>>().join(","))
    }
}
