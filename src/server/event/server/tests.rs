use std::io::{Read, Write};
use std::net::TcpStream;

use http::{Request, Response};

use super::*;
use crate::base::memory_limit::{Evict, MemoryUse};
use crate::message::body::Body;
use crate::message::nonblocking::{PlainRequest, Step, Wakes};
use crate::server::handler::{Scratch, Sender};
use crate::store::StoredResponse;

struct FaultyStore;

impl Evict for FaultyStore {
    fn make_room(&self) {
        panic!("test panic of a store");
    }

    fn max_evictable(&self) -> u64 {
        0
    }
}

struct Responding(Arc<Ledger>);

impl Handler for Responding {
    fn handle(&self, _: Request<Body>) -> Response<Body> {
        Response::new(Body::from("hello"))
    }
}

impl Responder for Responding {
    fn hit(&self, _: &PlainRequest<'_>, _: &Sender, _: &mut Scratch) -> Option<Arc<StoredResponse>> {
        None
    }

    fn step(self: Arc<Self>, request: Request<Body>, _: Wakes<'_>) -> Step<Response<Body>> {
        Step::Serve(self.handle(request))
    }

    fn ledger(&self) -> Option<Arc<Ledger>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn a_panic_outside_a_connection_shuts_the_server_down_as_failed() {
    let (ledger, store) = (Ledger::new(1000), Arc::new(FaultyStore));
    let weak = Arc::downgrade(&store);
    ledger.set_store(weak);
    let responder: Arc<dyn Responder> = Arc::new(Responding(Arc::clone(&ledger)));
    let options = ServerConfig::new().io_threads(2).head_timeout(Duration::from_millis(40));
    let serving = Server::bind_responder("127.0.0.1:0", &options, &responder).unwrap();
    let mut client = TcpStream::connect(serving.local_addr()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(!serving.has_failed());
    let _held = ledger.hold(MemoryUse::Bodies, 2000);
    let handle = serving.shutdown_handle();
    serving.join();
    assert!(handle.has_failed());
    // The client learns of the end, whichever thread served it.
    client.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn a_shutdown_is_not_a_failure() {
    let responder: Arc<dyn Responder> = Arc::new(Responding(Ledger::new(1000)));
    let serving = Server::bind_responder("127.0.0.1:0", &ServerConfig::new(), &responder).unwrap();
    serving.shutdown();
    let handle = serving.shutdown_handle();
    serving.join();
    assert!(!handle.has_failed());
}
