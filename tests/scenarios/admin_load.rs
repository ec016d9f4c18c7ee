//! A client that floods a peer with requests for operators: other clients get their hits and purges.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::local::escaped;
use crate::processes::PeerProcess;
use crate::support::SetOnDrop;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::Connection;
use crate::support::wait_until;

const FLOODING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn request(connection: &mut Connection, method: &str, target: &str) -> u16 {
    let accept = "Accept: text/html\r\n";
    connection.write(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"));
    connection.read_response().status
}

#[test]
fn requests_for_operators_from_one_client_delay_no_other() {
    let origin = Origin::start(|_| Reply::ok("content").field("Cache-Control", "max-age=600"));
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--admin", "127.0.0.1:0"]);
    let line = peer.process.wait_for_line("metrics on http://");
    let admin: SocketAddr = line.split('/').nth(2).unwrap().parse().unwrap();
    let target = |number: usize| format!("/proxy?q={}", escaped(&origin.url(&format!("/{number}"))));
    let mut connection = Connection::open(peer.address);
    // The lists of the status page and the sweep of a purge have something to do.
    (0..2_000).for_each(|number| assert_eq!(request(&mut connection, "GET", &target(number)), 200));
    let why = target(0).replace("/proxy?", "/proxy/why?");
    let none = format!("/proxy?prefix={}", escaped(&origin.url("/none/")));
    let (is_over, flood) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let over = SetOnDrop(&is_over);
        for (address, method, target) in [
            (admin, "GET", "/status"),
            (admin, "GET", "/status.json"),
            (admin, "GET", "/metrics"),
            (peer.address, "GET", &*why),
            (peer.address, "PURGE", &*none),
        ] {
            for _ in 0..10 {
                let (is_over, flood) = (&is_over, &flood);
                scope.spawn(move || {
                    let mut connection = Connection::open_from(FLOODING, address);
                    while !is_over.load(Ordering::SeqCst) {
                        let status = request(&mut connection, method, target);
                        // A purge or an explanation over the share of the client is refused.
                        assert!(status == 200 || status == 503, "{method} {target}: {status}");
                        flood.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        }
        wait_until("the flood begins", || flood.load(Ordering::SeqCst) > 200);
        let (begun, before) = (Instant::now(), flood.load(Ordering::SeqCst));
        let mut times: Vec<_> = (0..200)
            .map(|number| {
                let begun = Instant::now();
                assert_eq!(request(&mut connection, "GET", &target(number)), 200);
                begun.elapsed()
            })
            .collect();
        for number in 0..20 {
            assert_eq!(request(&mut connection, "PURGE", &target(number)), 200);
        }
        let taken = begun.elapsed();
        drop(over);
        times.sort();
        let count = flood.load(Ordering::SeqCst) - before;
        eprintln!("hits in {:?} and {:?} beside {count} requests in {taken:?}", times[100], times[198]);
        // A debug build on a busy machine is slower than a release.
        assert!(times[100] < Duration::from_millis(100), "{:?} {:?}", times[100], times[198]);
    });
}
