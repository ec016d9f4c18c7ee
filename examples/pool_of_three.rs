//! A pool of three peers in one process, in front of its own origin. The origin receives one request for each
//! URL, whichever peer is asked, and however often.
//!
//! ```sh
//! cargo run --example pool_of_three
//! ```

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwardcache::server::{Server, ServerConfig};
use forwardcache::{Body, Peer, ResponseExt};
use http::{Request, Response};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let origin = Server::bind("127.0.0.1:0", ServerConfig::new(), move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::from(format!("this is {}", request.uri())));
        response.headers_mut().insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        response
    })?;

    // Each peer must know the whole pool, so the ports are chosen before the peers are built.
    let mut listeners = Vec::new();
    let mut urls = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        urls.push(format!("http://{}", listener.local_addr()?));
        listeners.push(listener);
    }
    let mut pool = Vec::new();
    for (url, listener) in urls.iter().zip(listeners) {
        let peer = Peer::builder(url).pool(urls.clone()).build()?;
        let serving = peer.serve_on(listener, ServerConfig::new())?;
        pool.push((peer, serving));
    }

    for (peer, _) in &pool {
        for path in ["a", "b", "c"] {
            let url = format!("http://{}/{path}", origin.local_addr());
            let body = peer.get(&url).send()?.text()?;
            println!("{} answered /{path}: {body}", peer.self_url());
        }
    }
    println!("9 requests; the origin received {}", requests.load(Ordering::Relaxed));
    assert_eq!(requests.load(Ordering::Relaxed), 3);
    Ok(())
}
