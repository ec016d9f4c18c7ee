//! A peer inside a program that already serves with tiny_http: the program keeps its routes, and the peer
//! answers under `/proxy`.
//!
//! ```sh
//! cargo run --features tiny_http --example embed_tiny_http
//! curl -i --get --data-urlencode 'q=https://example.com/' http://127.0.0.1:3000/proxy
//! ```
//!
//! tiny_http is for trusted clients: it limits neither the size of a request head nor the time for reading it.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use forwardcache::server::RemoteAddress;
use forwardcache::{Body, Peer};
use http::{Request, Response};

/// The threads of the server. The peer shares them between origins and clients.
const THREADS: usize = 8;

/// The largest content of a request, in bytes.
const MAX_CONTENT: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:3000")?);
    let address = server.server_addr().to_ip().ok_or("the server has no IP address")?;
    let peer = Peer::builder(format!("http://{address}")).build()?;
    // So that the peer refuses URLs that lead back to it.
    peer.is_served_on(address);
    println!("a peer on http://{address}/proxy?q=<URL>");

    let workers = (0..THREADS).map(|_| {
        let (server, handler) = (Arc::clone(&server), peer.handler_for(THREADS));
        thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let response = match request.url() {
                    "/hello" => Response::new(Body::from("a route of the program\n")),
                    _ => translated(&mut request).map_or_else(|error| bad_request(&*error), &handler),
                };
                if let Err(error) = request.respond(answer(response)) {
                    eprintln!("a client left before its response: {error}");
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}

/// From a request of tiny_http to one of the crate `http`.
fn translated(request: &mut tiny_http::Request) -> Result<Request<Body>, Box<dyn std::error::Error>> {
    let mut content = Vec::new();
    request.as_reader().take(MAX_CONTENT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_CONTENT {
        return Err("the content is too large".into());
    }
    let mut translated = Request::builder().method(request.method().as_str()).uri(request.url());
    for field in request.headers() {
        translated = translated.header(field.field.as_str().as_str(), field.value.as_str());
    }
    if let Some(address) = request.remote_addr() {
        translated = translated.extension(RemoteAddress(*address));
    }
    Ok(translated.body(Body::from(content))?)
}

/// From a response of the crate `http` to one of tiny_http. The body streams.
fn answer(response: Response<Body>) -> tiny_http::Response<Body> {
    let (head, body) = response.into_parts();
    let fields = head.headers.iter().filter_map(|(name, value)| {
        tiny_http::Header::from_bytes(name.as_str().as_bytes(), value.as_bytes()).ok()
    });
    let length = body.length().and_then(|length| usize::try_from(length).ok());
    tiny_http::Response::new(head.status.as_u16().into(), fields.collect(), body, length, None)
}

fn bad_request(error: &dyn std::error::Error) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("invalid request: {error}\n")));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response
}
