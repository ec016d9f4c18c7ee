//! A pool of three in one process, and a table of what it does.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forwardcache::{Body, Error, EventFront, FrontOptions, Outcome, Peer, Serving};
use http::{Request, Response};

use super::failure::Failure;

const PATHS: [&str; 6] = ["/", "/style.css", "/app.js", "/logo.svg", "/data.json", "/large.bin"];
const LARGE: usize = 4 << 20;
const PEERS: usize = 3;

/// How often the origin was asked for each path.
type Seen = Arc<Mutex<HashMap<String, usize>>>;

pub(crate) fn run() -> Result<ExitCode, Failure> {
    let seen = Seen::default();
    let origin = start_origin(Arc::clone(&seen))?;
    let pool = start_pool()?;
    let mut rows = Vec::new();
    let mut asked_in_round = [0; 2];
    for (round, asked) in asked_in_round.iter_mut().enumerate() {
        let before = total(&seen);
        for (number, path) in PATHS.into_iter().enumerate() {
            let url = format!("http://{}{path}", origin.local_addr());
            // Each round asks another peer for the same URL.
            let (peer, _) = &pool[(number + round) % PEERS];
            rows.push(fetch(round + 1, peer, &url, path, &seen)?);
        }
        *asked = total(&seen) - before;
    }
    let print = |text: String| {
        io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Failure::io("cannot write", &error))
    };
    print(table(&rows))?;
    print(format!(
        "\nThe origin was asked {} times in the first round and {} times in the second.\n",
        asked_in_round[0], asked_in_round[1]
    ))?;
    for (_, serving) in pool {
        serving.shutdown();
    }
    origin.shutdown();
    if asked_in_round == [PATHS.len(), 0] {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::failed("the pool went to the origin more often than once for each URL"))
    }
}

/// An origin whose answers may be kept for a minute.
fn start_origin(seen: Seen) -> Result<Serving, Error> {
    let handler = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let body =
            if path == "/large.bin" { vec![7; LARGE] } else { format!("this is {path}\n").into_bytes() };
        *seen.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += 1;
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        response
    };
    EventFront::bind("127.0.0.1:0", FrontOptions::new(), handler)
}

/// Three peers, each of which knows the other two.
fn start_pool() -> Result<Vec<(Peer, Serving)>, Failure> {
    let failed = |error: io::Error| Failure::io("cannot listen on 127.0.0.1", &error);
    let listeners: Vec<TcpListener> =
        (0..PEERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(failed)?;
    let urls: Vec<String> = listeners
        .iter()
        .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let mut pool = Vec::new();
    for (url, listener) in urls.iter().zip(listeners) {
        let peer = Peer::builder(url).pool(urls.clone()).build()?;
        let serving = peer.serve_on(listener, FrontOptions::new())?;
        pool.push((peer, serving));
    }
    Ok(pool)
}

struct Row {
    round: usize,
    path: String,
    asked: String,
    owner: String,
    outcome: String,
    time: Duration,
    seen: usize,
}

fn fetch(round: usize, peer: &Peer, url: &str, path: &str, seen: &Seen) -> Result<Row, Failure> {
    let owner = peer.client().owner(url)?.map_or_else(String::new, |owner| owner.authority().to_owned());
    let began = Instant::now();
    let response = peer.get(url)?;
    let outcome = Outcome::of(response.headers()).map_or("unknown", Outcome::name).to_owned();
    let length = response.into_body().into_bytes()?.len();
    let time = began.elapsed();
    if path == "/large.bin" && length != LARGE {
        return Err(Failure::failed(format!("{path} came with {length} bytes instead of {LARGE}")));
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or_default();
    let asked = peer.self_url().authority().to_owned();
    Ok(Row { round, path: path.to_owned(), asked, owner, outcome, time, seen })
}

fn total(seen: &Seen) -> usize {
    seen.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<5}  {:<11}  {:<15}  {:<15}  {:<8}  {:>9}  {}\n",
        "round", "URL", "asked", "owner", "outcome", "time", "seen by the origin"
    );
    for row in rows {
        let time = format!("{:.2} ms", row.time.as_secs_f64() * 1000.0);
        text.push_str(&format!(
            "{:<5}  {:<11}  {:<15}  {:<15}  {:<8}  {time:>9}  {}\n",
            row.round, row.path, row.asked, row.owner, row.outcome, row.seen
        ));
    }
    text
}
