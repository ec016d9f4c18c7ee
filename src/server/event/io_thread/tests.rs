use std::io::{Read, Write};
use std::net::TcpStream as Client;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::base::memory_limit::MemoryUse;
use crate::base::tls::testing::Authority;
use crate::metrics::ServerStats;
use crate::server::event::admission::Admission;
use crate::server::{ServerConfig, ServerTls};

#[test]
fn a_panic_ends_one_connection_and_the_buffer_is_replaced() {
    let poll = Poll::new().unwrap();
    let (mut context, _messages) = ThreadContext::for_test(&poll, ServerConfig::new());
    let next = catch_panic(&mut context, |context| {
        context.input = Box::default();
        panic!("test panic of a body")
    });
    assert!(matches!(next, Next::Close) && !context.input.is_empty());
    assert!(matches!(catch_panic(&mut context, |_| Next::Wait), Next::Wait));
}

/// Starts a thread with `count` connected clients.
fn thread_with_clients(options: ServerConfig, count: usize) -> (IoThread, Vec<Client>) {
    let poll = Poll::new().unwrap();
    let (context, messages) = ThreadContext::for_test(&poll, options);
    let lifetime = Lifetime::new(Duration::ZERO, Duration::ZERO);
    let mut thread = IoThread::new(poll, messages, None, context, lifetime).unwrap();
    let admission = Admission::new(count, count, Arc::new(ServerStats::default()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = (0..count).map(|_| {
        let client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, remote) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let permit = admission.admit(Some(remote.ip())).unwrap();
        let socket = mio::net::TcpStream::from_std(socket);
        thread.serve(Accepted { socket, remote, permit, has_proxy_header: false });
        client.set_nonblocking(true).unwrap();
        client
    });
    let clients = clients.collect();
    (thread, clients)
}

/// Returns the number of bytes that have arrived.
fn received(mut client: &Client) -> usize {
    let mut count = 0;
    let mut buffer = [0; 64 << 10];
    while let Ok(more) = client.read(&mut buffer) {
        count += more;
    }
    count
}

#[test]
fn few_handshakes_continue_in_each_turn() {
    let authority = Authority::new();
    let made = authority.sign("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.certificate + &made.key).unwrap();
    let tls = ServerTls::from_files(file.path(), file.path()).unwrap();
    let (mut thread, mut clients) = thread_with_clients(ServerConfig::new().tls(tls), 12);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(crate::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for client in &mut clients {
        let name = "localhost".try_into().unwrap();
        ClientConnection::new(Arc::clone(&config), name).unwrap().write_tls(client).unwrap();
    }
    let mut events = Events::with_capacity(64);
    let (mut answered, mut turns) = (0, 0);
    while answered < clients.len() {
        assert!(thread.run_turn(&mut events));
        turns += 1;
        answered += clients.iter().filter(|client| received(client) > 0).count();
        assert!(answered <= turns, "{answered} in {turns} turns");
    }
}

#[test]
fn pipelined_input_is_buffered_up_to_the_head_limit() {
    let (mut thread, clients) = thread_with_clients(ServerConfig::new(), 1);
    let requests = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1500);
    (&clients[0]).write_all(requests.as_bytes()).unwrap();
    let mut events = Events::with_capacity(64);
    for _ in 0..100 {
        assert!(thread.run_turn(&mut events));
        received(&clients[0]);
        let held = thread.context.ledger.held(MemoryUse::Connections);
        assert!(held > 0 && held < 17 << 10, "{held}");
    }
}

#[test]
fn large_responses_respect_their_budget_and_small_requests_come_first() {
    // The bodies exceed the socket buffers, and the clients read as fast as the server writes.
    let (mut thread, clients) = thread_with_clients(ServerConfig::new(), 3);
    let mut totals = [0; 2];
    let mut events = Events::with_capacity(64);
    for mut client in &clients[..2] {
        client.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    let mut small = 0;
    for turn in 1..400 {
        (&clients[2]).write_all(b"GET /small HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert!(thread.run_turn(&mut events));
        small += usize::from(received(&clients[2]) > 0);
        assert_eq!(small, turn, "each turn serves the small request");
        totals.iter_mut().zip(&clients).for_each(|(total, client)| *total += received(client));
        // Each turn may also transfer bytes for the three immediately served connections.
        let most = turn * (2 * MAX_BYTES + 3 * BULK_BYTES_PER_HIT);
        assert!(totals.iter().all(|total| *total <= turn * MAX_BYTES), "{totals:?} in {turn} turns");
        assert!(totals.iter().sum::<usize>() <= most, "{totals:?} in {turn} turns");
        if totals.iter().all(|total| *total > 8 << 20) {
            return;
        }
    }
    panic!("{totals:?}");
}

#[test]
fn all_that_a_client_reads_counts_against_its_minimum_rate() {
    const WINDOW: Duration = Duration::from_secs(30);
    let (mut thread, clients) = thread_with_clients(ServerConfig::new().write_timeout(WINDOW), 1);
    let mut events = Events::with_capacity(64);
    (&clients[0]).write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let blocked = |thread: &IoThread| thread.connections[0].cut_off_priority(thread.context.now);
    while blocked(&thread).is_none() {
        assert!(thread.run_turn(&mut events));
    }
    let start = thread.context.now;
    let check = |thread: &mut IoThread, windows: u32| {
        thread.context.now = start + WINDOW * windows;
        thread.check_deadlines();
        thread.connections.len()
    };
    let mut total = 0;
    for windows in 1..4 {
        let before = total;
        // Some turns end with their budget and not with a full socket.
        while total - before < 3 * MAX_BYTES {
            total += received(&clients[0]);
            assert!(thread.run_turn(&mut events));
        }
        assert_eq!(check(&mut thread, windows), 1, "{windows}");
    }
    // It reads nothing.
    while blocked(&thread).is_none() {
        assert!(thread.run_turn(&mut events));
    }
    assert_eq!(check(&mut thread, 4), 1, "it has read some in this window");
    assert_eq!(check(&mut thread, 5), 0);
}
