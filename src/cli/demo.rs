//! A pool of three in one process, one of which is lost and comes back, and a table of what it does.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use forwardcache::{Body, Client, Error, ManualClock, Outcome, Peer, Server, ServerConfig, ServerHandle};
use http::{Request, Response};
use parking_lot::Mutex;

use super::failure::{Failure, print};

const PATHS: [&str; 6] = ["/", "/style.css", "/app.js", "/logo.svg", "/data.json", "/large.bin"];
const LARGE: usize = 4 << 20;
const PEERS: usize = 3;

/// How often the origin was asked for each path.
type Seen = Arc<Mutex<HashMap<String, usize>>>;

pub(crate) fn run() -> Result<ExitCode, Failure> {
    let seen = Seen::default();
    let origin = start_origin(Arc::clone(&seen))?;
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let mut pool = start_pool(&clock)?;
    let mut rows = Vec::new();
    let mut round =
        |name: &'static str, pool: &[Member], asks: &dyn Fn(usize) -> usize| -> Result<usize, Failure> {
            let before = total(&seen);
            for (number, path) in PATHS.into_iter().enumerate() {
                let url = format!("http://{}{path}", origin.local_addr());
                rows.push(fetch(name, &pool[asks(number)].peer, &url, path, &seen)?);
            }
            Ok(total(&seen) - before)
        };
    // Each round asks another peer for the same URL.
    let first = round("first", &pool, &|number| number % PEERS)?;
    let second = round("second", &pool, &|number| (number + 1) % PEERS)?;
    // The one that owns most is lost: its connections end, and nobody listens there.
    let lost = busiest(&pool, origin.local_addr())?;
    let others: Vec<usize> = (0..PEERS).filter(|at| *at != lost).collect();
    let others = |number: usize| others[number % others.len()];
    pool[lost].serving.take();
    let without = round("lost", &pool, &others)?;
    // It is left alone for a second or so, asked whether it is there, and gets its share back within five.
    pool[lost].serve_again()?;
    clock.advance(LEFT_ALONE);
    round("probed", &pool, &others)?;
    clock.advance(LEFT_ALONE);
    let with_it = round("back", &pool, &others)?;

    let lost = pool[lost].peer.self_url().authority().to_owned();
    print(table(&rows))?;
    print(format_args!(
        "\nThe origin was asked {first} times in the first round and {second} times in the second. Then {lost} was \
         lost:\nno request failed, and {without} of its URLs were fetched anew by those who stood in for it. It came \
         back, and had what\nit had before: {with_it} fetches.\n"
    ))?;
    drop(pool);
    origin.shutdown();
    if (first, second, with_it) == (PATHS.len(), 0, 0) && without > 0 {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::failed("the pool went to the origin more often than it had to"))
    }
}

/// More than a peer is left alone for that failed once, and more than it takes to get its share back.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// A peer, and what serves it, unless it is lost.
struct Member {
    peer: Peer,
    address: SocketAddr,
    serving: Option<ServerHandle>,
}

impl Member {
    fn serve_again(&mut self) -> Result<(), Failure> {
        let listener = TcpListener::bind(self.address)
            .map_err(|error| Failure::io(format_args!("cannot listen on {}", self.address), &error))?;
        self.serving = Some(self.peer.serve_on(listener, ServerConfig::new())?);
        Ok(())
    }
}

/// Which one owns most of what is asked for.
fn busiest(pool: &[Member], origin: SocketAddr) -> Result<usize, Failure> {
    let mut owned = [0; PEERS];
    for path in PATHS {
        let owner = pool[0].peer.client().owner(&format!("http://{origin}{path}"))?;
        let at = pool.iter().position(|member| owner.as_ref() == Some(member.peer.self_url()));
        owned[at.unwrap_or_default()] += 1;
    }
    Ok((0..PEERS).max_by_key(|at| owned[*at]).unwrap_or_default())
}

/// An origin whose answers may be kept for a minute.
fn start_origin(seen: Seen) -> Result<ServerHandle, Error> {
    let handler = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let body =
            if path == "/large.bin" { vec![7; LARGE] } else { format!("this is {path}\n").into_bytes() };
        *seen.lock().entry(path).or_default() += 1;
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        response
    };
    Server::bind("127.0.0.1:0", ServerConfig::new(), handler)
}

/// Three peers, each of which knows the other two. Whom they leave alone is decided by this clock.
fn start_pool(clock: &Arc<ManualClock>) -> Result<Vec<Member>, Failure> {
    let failed = |error: io::Error| Failure::io("cannot listen on 127.0.0.1", &error);
    let listeners: Vec<TcpListener> =
        (0..PEERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(failed)?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(failed)?;
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let mut pool = Vec::new();
    for ((url, listener), address) in urls.iter().zip(listeners).zip(addresses) {
        let client = Client::builder().clock(Arc::clone(clock));
        let peer = Peer::builder(url).client(client).pool(urls.clone()).build()?;
        let serving = Some(peer.serve_on(listener, ServerConfig::new())?);
        pool.push(Member { peer, address, serving });
    }
    Ok(pool)
}

struct Row {
    round: &'static str,
    path: String,
    asked: String,
    owner: String,
    outcome: String,
    time: Duration,
    seen: usize,
}

fn fetch(round: &'static str, peer: &Peer, url: &str, path: &str, seen: &Seen) -> Result<Row, Failure> {
    let owner = peer.client().owner(url)?.map_or_else(String::new, |owner| owner.authority().to_owned());
    let began = Instant::now();
    let response = peer.get(url)?;
    let outcome = Outcome::of(response.headers()).map_or("unknown", Outcome::name).to_owned();
    let length = response.into_body().into_bytes()?.len();
    let time = began.elapsed();
    if path == "/large.bin" && length != LARGE {
        return Err(Failure::failed(format!("{path} came with {length} bytes instead of {LARGE}")));
    }
    let seen = seen.lock().get(path).copied().unwrap_or_default();
    let asked = peer.self_url().authority().to_owned();
    Ok(Row { round, path: path.to_owned(), asked, owner, outcome, time, seen })
}

fn total(seen: &Seen) -> usize {
    seen.lock().values().sum()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<6}  {:<11}  {:<15}  {:<15}  {:<8}  {:>9}  {}\n",
        "round", "URL", "asked", "owner", "outcome", "time", "seen by the origin"
    );
    for row in rows {
        let time = format!("{:.2} ms", row.time.as_secs_f64() * 1000.0);
        text.push_str(&format!(
            "{:<6}  {:<11}  {:<15}  {:<15}  {:<8}  {time:>9}  {}\n",
            row.round, row.path, row.asked, row.owner, row.outcome, row.seen
        ));
    }
    text
}
