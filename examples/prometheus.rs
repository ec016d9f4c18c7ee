//! Metrics of a peer for Prometheus, on an address of its own, with a metric of the program added to them.
//!
//! ```sh
//! cargo run --example prometheus                       # prints the metrics once and ends
//! cargo run --example prometheus -- 127.0.0.1:9100     # serves them until it is interrupted
//! ```
//!
//! A program without metrics of its own calls `Peer::serve_admin_on` instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forwardcache::server::{Server, ServerConfig};
use forwardcache::{Body, Peer, ResponseExt, RoundTripFn};
use http::{Request, Response};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    // In place of the network, so that the example needs none.
    let origin = RoundTripFn(|_| {
        let response = Response::builder().header("cache-control", "max-age=60").body(Body::from("hello"));
        Ok(response.expect("the field is well-formed"))
    });
    let peer = Peer::builder("http://127.0.0.1:3000").origin(origin).build()?;

    // The program's work: it fetches, and counts its jobs.
    let jobs = Arc::new(AtomicU64::new(0));
    for _ in 0..3 {
        peer.get("http://example.com/").send()?.bytes()?;
        jobs.fetch_add(1, Ordering::Relaxed);
    }

    let admin = peer.admin_handler();
    let handler = move |request: Request<Body>| {
        let is_metrics = request.uri().path() == "/metrics";
        let response = admin(request);
        if !is_metrics || !response.status().is_success() {
            return response;
        }
        let (head, body) = response.into_parts();
        let mut text = body.into_text().unwrap_or_default();
        text.push_str("# HELP program_jobs_total Finished jobs.\n# TYPE program_jobs_total counter\n");
        text.push_str(&format!("program_jobs_total {}\n", jobs.load(Ordering::Relaxed)));
        Response::from_parts(head, Body::from(text))
    };
    let Some(address) = address else {
        let response = handler(Request::get("/metrics").body(Body::empty())?);
        print!("{}", response.text()?);
        return Ok(());
    };
    println!("metrics on http://{address}/metrics");
    Server::bind(address.as_str(), ServerConfig::new().io_threads(1).workers(1), handler)?.join();
    Ok(())
}
