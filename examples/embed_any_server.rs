//! A peer behind any blocking server: `Peer::handler_for` is a function from request to response. The server
//! here is a few lines over `std::net`, with a thread for each connection; it stands for the one of your program.
//!
//! ```sh
//! cargo run --example embed_any_server
//! ```
//!
//! The example fetches one URL twice through the peer, prints both outcomes, and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use forwardcache::server::RemoteAddress;
use forwardcache::{Body, Client, Outcome, Peer, ResponseExt, RoundTripFn};
use http::{Request, Response};

/// How many requests this server handles at a time. The peer lets one origin have half of them.
const THREADS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    // In place of the network, so that the example needs none.
    let origin = RoundTripFn(|_| {
        let response = Response::builder().header("cache-control", "max-age=60").body(Body::from("hello"));
        Ok(response.expect("the field is well-formed"))
    });
    let peer = Peer::builder(&url).origin(origin).build()?;
    // So that the peer refuses URLs that lead back to it.
    peer.is_served_on(address);
    let handler = peer.handler_for(THREADS);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let handler = handler.clone();
            thread::spawn(move || {
                if let Err(error) = serve(connection, handler) {
                    eprintln!("a connection failed: {error}");
                }
            });
        }
    });

    let client = Client::builder().pool([url]).build()?;
    for _ in 0..2 {
        let response = client.get("http://example.com/").send()?;
        let outcome = response.info().outcome().map_or("unknown", Outcome::name);
        println!("{outcome}: {}", response.text()?);
    }
    Ok(())
}

/// Serves one request. A real server has limits for the head, reads content, and keeps the connection.
fn serve(mut stream: TcpStream, handler: impl Fn(Request<Body>) -> Response<Body>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        request = request.header(name, value.trim());
    }
    let request = request.extension(RemoteAddress(stream.peer_addr()?)).body(Body::empty());
    let response = handler(request.map_err(io::Error::other)?);

    let (head, mut body) = response.into_parts();
    write!(stream, "HTTP/1.1 {}\r\nconnection: close\r\n", head.status)?;
    for (name, value) in &head.headers {
        write!(stream, "{name}: ")?;
        stream.write_all(value.as_bytes())?;
        stream.write_all(b"\r\n")?;
    }
    if let Some(length) = body.length() {
        write!(stream, "content-length: {length}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    // A body that fails ends the connection early, so the client sees that it is incomplete.
    io::copy(&mut body, &mut stream).map(|_| ())
}
