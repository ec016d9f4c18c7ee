use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use forwardcache::Peer;
use forwardcache::server::{Listener, ServerConfig, TinyHttpServer};

use super::{Manager, exchange, get};
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command, run};

fn origin() -> Origin {
    Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"))
}

#[test]
fn several_sockets_share_one_cache_and_the_file_ends_with_the_peer() {
    let (origin, folder) = (origin(), tempfile::tempdir().unwrap());
    let (path, open) = (folder.path().join("peer.sock"), folder.path().join("open.sock"));
    let listen = [format!("unix:{}", path.display()), format!("unix:{},mode=666", open.display())];
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--listen", &listen[0], "--listen", &listen[1]];
    let mut peer = Process::spawn(arguments);
    let line = peer.wait_for_line("serving on http://");
    assert!(line.contains(&format!(" and {} and unix:{} as", listen[0], open.display())), "{line}");
    let address = line.split(' ').nth(2).unwrap().strip_prefix("http://").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&open)), (0o600, 0o666));

    let request = get(&origin.url("/a"));
    let first = exchange(UnixStream::connect(&path).unwrap(), &request);
    assert!(first.starts_with("HTTP/1.1 200 ") && first.ends_with("content"), "{first}");
    for response in [
        exchange(UnixStream::connect(&open).unwrap(), &request),
        exchange(TcpStream::connect(address).unwrap(), &request),
    ] {
        assert!(
            response.contains("cache-status: forwardcache; hit") && response.ends_with("content"),
            "{response}"
        );
    }
    // Clients of a Unix socket run on this machine, so they may purge without a token.
    let purge = get(&origin.url("/a")).replacen("GET", "PURGE", 1);
    let purged = exchange(UnixStream::connect(&path).unwrap(), purge);
    assert!(purged.starts_with("HTTP/1.1 200 "), "{purged}");

    // A second process neither steals the socket nor removes it.
    let second = run(["serve", "--listen", &listen[0], "--self-url", "http://localhost:1"]);
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && text.contains("another process listens on it"), "{text}");
    assert!(exchange(UnixStream::connect(&path).unwrap(), &request).starts_with("HTTP/1.1 200 "));

    // The file of a killed process is replaced, that of a process that ends properly is removed.
    peer.kill();
    assert!(path.exists());
    let arguments = ["serve", "--listen", &listen[0], "--self-url", "http://localhost:1"];
    let mut peer = Process::spawn(arguments);
    peer.wait_for_line(&format!("serving on {} as", listen[0]));
    assert!(exchange(UnixStream::connect(&path).unwrap(), &request).starts_with("HTTP/1.1 200 "));
    peer.terminate();
    assert!(peer.wait().success());
    assert!(!path.exists());
}

#[test]
fn bad_addresses_get_an_error_that_names_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let file = format!("unix:{}", file.display());
    for (arguments, expected) in [
        (vec!["--listen", "unix:"], "--listen \"unix:\": the path is empty"),
        (vec!["--listen", "unix:/x,mode=888"], "the mode is not an octal number"),
        (
            vec!["--listen", "unix:/no/such/folder/x", "--self-url", "http://a"],
            "cannot listen on unix:/no/such",
        ),
        (vec!["--listen", &file, "--self-url", "http://a"], "the file exists and is not a socket"),
        (vec!["--listen", "unix:peer.sock"], "--listen unix:PATH requires --self-url"),
        (vec!["--listen", "127.0.0.1:0", "--proxy-protocol-from", "10.0.0.1/8"], "bits beyond the prefix"),
        (
            vec!["--listen", "127.0.0.1:0", "--proxy-protocol-from", "10.0.0.1"],
            "--proxy-protocol-from admits clients",
        ),
    ] {
        let output = run(["serve"].into_iter().chain(arguments.iter().copied()));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expected), "{arguments:?}: {text}");
    }
    // `unix:peer.sock` in the current folder was never bound.
    assert!(!std::path::Path::new("peer.sock").exists());
}

/// Starts `serve` as a service manager does.
fn serve_on(socket: OwnedFd, manager: &Manager, arguments: &[&str]) -> Process {
    start_on(socket, manager, &[&["serve"], arguments].concat())
}

/// Starts the command as a service manager does: with this socket as descriptor 3, and the variables for it.
pub(super) fn start_on(socket: OwnedFd, manager: &Manager, arguments: &[&str]) -> Process {
    let own = command([""; 0]);
    let mut shell = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(own.get_program()).args(arguments);
    shell.env("NOTIFY_SOCKET", &manager.path);
    Process::start_with(shell, socket).expect("there is a shell")
}

#[test]
fn a_socket_of_the_service_manager_is_served_and_stays_open() {
    let (origin, folder) = (origin(), tempfile::tempdir().unwrap());
    let manager = Manager::start(folder.path());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = folder.path().join("peer.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let request = get(&origin.url("/a"));
    for round in 0..2 {
        let mut peer = serve_on(tcp.try_clone().unwrap().into(), &manager, &[]);
        assert_eq!(manager.receive(), "READY=1");
        peer.wait_for_line(&format!("serving on http://{address} as"));
        let response = exchange(TcpStream::connect(address).unwrap(), &request);
        assert!(response.starts_with("HTTP/1.1 200 "), "{round}: {response}");
        peer.terminate();
        assert_eq!(manager.receive(), "STOPPING=1");
        assert!(peer.wait().success());
        // The manager still holds the socket, so connections wait for the next process.
        TcpStream::connect(address).unwrap();
    }
    let mut peer =
        serve_on(unix.try_clone().unwrap().into(), &manager, &["--self-url", "http://localhost:1"]);
    assert_eq!(manager.receive(), "READY=1");
    let response = exchange(UnixStream::connect(&path).unwrap(), &request);
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    peer.terminate();
    assert!(peer.wait().success());
    assert!(path.exists() && UnixStream::connect(&path).is_ok());

    let file = std::fs::File::open("/dev/null").unwrap();
    let mut peer = serve_on(file.into(), &manager, &[]);
    assert!(!peer.wait().success());
    assert!(peer.stderr().contains("socket 0 of LISTEN_FDS is not a stream socket"), "{}", peer.stderr());
}

#[test]
fn the_second_server_serves_both_kinds_too() {
    let (origin, folder) = (origin(), tempfile::tempdir().unwrap());
    let path = folder.path().join("peer.sock");
    let listeners = [Listener::bind("127.0.0.1:0").unwrap(), Listener::bind_unix(&path, 0o600).unwrap()];
    let address = listeners[0].local_addr().unwrap();
    let peer = Peer::builder(format!("http://{address}")).build().unwrap();
    let config = || ServerConfig::new().workers(2);
    let server = TinyHttpServer::on(listeners, config(), peer.handler_for(2)).unwrap();
    peer.is_served_by(&server);
    let request = get(&origin.url("/a"));
    for response in [
        exchange(TcpStream::connect(address).unwrap(), &request),
        exchange(UnixStream::connect(&path).unwrap(), &request),
    ] {
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    server.shutdown();
    server.join();
    assert!(UnixStream::connect(&path).is_err() && !path.exists());
    let shared = Listener::bind("127.0.0.1:0").unwrap().shared();
    let error = TinyHttpServer::on(shared, config(), peer.handler_for(2)).unwrap_err().to_string();
    assert!(error.contains("another process shares"), "{error}");
}
