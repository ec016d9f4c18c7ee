//! Metrics of a peer for Prometheus, on an address of its own, with metrics of the program added to them. One of them comes
//! from an observer: the time that origins took.
//!
//! ```sh
//! cargo run --example prometheus                       # prints the metrics once and ends
//! cargo run --example prometheus -- 127.0.0.1:9100     # serves them until it is interrupted
//! ```
//!
//! A program without metrics of its own calls `Peer::serve_admin_on` instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forwardcache::metrics::{Observer, OriginAnswer};
use forwardcache::server::{Server, ServerConfig};
use forwardcache::{Body, Peer, ResponseExt, RoundTripFn};
use http::{Request, Response};

/// The time that this process has waited for origins, in microseconds.
#[derive(Default)]
struct OriginTime(AtomicU64);

impl Observer for OriginTime {
    // Runs on the thread that asked the origin, so it only counts.
    fn origin_answered(&self, event: &OriginAnswer<'_>) {
        self.0.fetch_add(u64::try_from(event.elapsed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    // In place of the network, so that the example needs none.
    let origin = RoundTripFn(|_| {
        let response = Response::builder().header("cache-control", "max-age=60").body(Body::from("hello"));
        Ok(response.expect("the field is well-formed"))
    });
    let waited = Arc::new(OriginTime::default());
    let peer = Peer::builder("http://127.0.0.1:3000").origin(origin).observer(Arc::clone(&waited)).build()?;

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
        text.push_str("# TYPE program_origin_seconds_total counter\n");
        let micros = Duration::from_micros(waited.0.load(Ordering::Relaxed));
        text.push_str(&format!("program_origin_seconds_total {:.6}\n", micros.as_secs_f64()));
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
