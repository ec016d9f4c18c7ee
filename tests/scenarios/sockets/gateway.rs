use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::restart::Serving;
use super::unix::start_on;
use super::{Manager, exchange};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command};

fn origin() -> Origin {
    Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=60"))
}

/// Returns a request in prefix form.
fn get(url: &str) -> String {
    format!("GET /fetch/{url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn assert_served(response: &str) {
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("content"), "{response}");
}

#[test]
fn a_gateway_serves_on_several_sockets_of_both_kinds() {
    let (origin, folder, peer) = (origin(), tempfile::tempdir().unwrap(), PeerProcess::start());
    let (path, open) = (folder.path().join("gateway.sock"), folder.path().join("open.sock"));
    let listen = [format!("unix:{}", path.display()), format!("unix:{},mode=666", open.display())];
    let (request, url) = (get(&origin.url("/a")), peer.url());
    let both = [
        "gateway",
        "--peer",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &listen[0],
        "--listen",
        &listen[1],
    ];
    let mut gateway = Process::spawn(both);
    let line = gateway.wait_for_line("gateway to ");
    assert!(line.contains(&format!(" and {} and unix:{}", listen[0], open.display())), "{line}");
    let address = line.split(' ').find_map(|word| word.strip_prefix("http://")).unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&open)), (0o600, 0o666));
    for response in [
        exchange(UnixStream::connect(&path).unwrap(), &request),
        exchange(UnixStream::connect(&open).unwrap(), &request),
        exchange(TcpStream::connect(address).unwrap(), &request),
    ] {
        assert_served(&response);
    }
    let absolute = format!("GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", origin.url("/a"));
    assert_served(&exchange(UnixStream::connect(&path).unwrap(), absolute));
    gateway.terminate();
    assert!(gateway.wait().success());
    assert!(!path.exists() && !open.exists());

    // Without a TCP address, no name is the gateway's own, not even the one of this machine.
    let gateway = Process::spawn(["gateway", "--peer", &url, "--listen", &listen[0]]);
    gateway.wait_for_line(&format!("gateway to a pool of one on {}", listen[0]));
    gateway
        .wait_for_line(&format!("try it: curl -i --unix-socket {} http://localhost/fetch/", path.display()));
    let request = get(&format!("http://localhost:{}/a", origin.address().port()));
    assert_served(&exchange(UnixStream::connect(&path).unwrap(), request));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_gateway_takes_over_sockets_and_hands_them_to_its_successor() {
    let (origin, folder, peer) = (origin(), tempfile::tempdir().unwrap(), PeerProcess::start());
    let manager = Manager::start(folder.path());
    let (request, url) = (get(&origin.url("/a")), peer.url());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut gateway = start_on(socket.try_clone().unwrap().into(), &manager, &["gateway", "--peer", &url]);
    assert_eq!(manager.receive(), "READY=1");
    gateway.wait_for_line(&format!("gateway to a pool of one on http://{address}"));
    assert_served(&exchange(TcpStream::connect(address).unwrap(), &request));
    gateway.terminate();
    assert_eq!(manager.receive(), "STOPPING=1");
    assert!(gateway.wait().success());
    drop(socket);

    let mut first = command(["gateway", "--peer", &url, "--listen", "127.0.0.1:0"]);
    first.env("NOTIFY_SOCKET", &manager.path);
    let first = Process::start(first).unwrap();
    let line = first.wait_for_line("gateway to ");
    let address = line.split(' ').find_map(|word| word.strip_prefix("http://")).unwrap();
    assert_eq!(manager.receive(), "READY=1");
    let mut serving = Serving(first.id());
    for _ in 0..2 {
        serving.restart(&manager);
        assert_served(&exchange(TcpStream::connect(address).unwrap(), &request));
    }
}
