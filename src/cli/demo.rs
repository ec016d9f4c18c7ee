//! `forwardcache demo`: a pool of three peers in one process. One peer fails and recovers. The demo prints a table of all
//! requests.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use forwardcache::clock::ManualClock;
use forwardcache::server::{Server, ServerConfig, ServerHandle};
use forwardcache::{Body, Client, Error, Outcome, Peer};
use http::{Request, Response};
use parking_lot::Mutex;

use super::failure::{Failure, print};

const PATHS: [&str; 6] = ["/", "/style.css", "/app.js", "/logo.svg", "/data.json", "/large.bin"];
const LARGE: usize = 4 << 20;
const PEERS: usize = 3;

/// The number of requests that the origin received for each path.
type OriginRequests = Arc<Mutex<HashMap<String, usize>>>;

pub(crate) fn run() -> Result<ExitCode, Failure> {
    let requests = OriginRequests::default();
    let origin = start_origin(Arc::clone(&requests))?;
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let mut pool = start_pool(&clock)?;
    let mut rows = Vec::new();
    let mut round =
        |name: &'static str, pool: &[Member], peer_of: &dyn Fn(usize) -> usize| -> Result<usize, Failure> {
            let before = total(&requests);
            for (number, path) in PATHS.into_iter().enumerate() {
                let url = format!("http://{}{path}", origin.local_addr());
                rows.push(fetch(name, &pool[peer_of(number)].peer, &url, path, &requests)?);
            }
            Ok(total(&requests) - before)
        };
    // In the second round a different peer receives the request for each URL.
    let first = round("first", &pool, &|number| number % PEERS)?;
    let second = round("second", &pool, &|number| (number + 1) % PEERS)?;
    // The peer that owns the most URLs fails: its connections end, and its port is closed.
    let failed = busiest(&pool, origin.local_addr())?;
    let others: Vec<usize> = (0..PEERS).filter(|index| *index != failed).collect();
    let others = |number: usize| others[number % others.len()];
    pool[failed].server.take();
    let refetched = round("failed", &pool, &others)?;
    // After a pause of about a second, another peer probes the failed one, which then regains its share within five
    // seconds.
    pool[failed].serve_again()?;
    clock.advance(RECOVERY);
    round("probed", &pool, &others)?;
    clock.advance(RECOVERY);
    let recovered = round("back", &pool, &others)?;

    let failed = pool[failed].peer.self_url().authority().to_owned();
    print(table(&rows))?;
    print(format_args!(
        "\nThe origin received {first} requests in the first round and {second} in the second. Then {failed} failed:\n\
         no request failed, and the other peers fetched {refetched} of its URLs. After it recovered, the pool used its stored\n\
         responses again: {recovered} fetches.\n"
    ))?;
    drop(pool);
    origin.shutdown();
    if (first, second, recovered) == (PATHS.len(), 0, 0) && refetched > 0 {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::failed("the pool sent more requests to the origin than necessary"))
    }
}

/// Longer than the pause after one failure, and longer than a recovered peer needs to regain its share.
const RECOVERY: Duration = Duration::from_secs(10);

/// A peer and its server, which is `None` while the peer has failed.
struct Member {
    peer: Peer,
    address: SocketAddr,
    server: Option<ServerHandle>,
}

impl Member {
    /// Serves the peer on its previous address.
    fn serve_again(&mut self) -> Result<(), Failure> {
        let listener = TcpListener::bind(self.address)
            .map_err(|error| Failure::io(format_args!("cannot listen on {}", self.address), &error))?;
        self.server = Some(self.peer.serve_on(listener, ServerConfig::new())?);
        Ok(())
    }
}

/// Returns the index of the peer that owns the most URLs.
fn busiest(pool: &[Member], origin: SocketAddr) -> Result<usize, Failure> {
    let mut owned = [0; PEERS];
    for path in PATHS {
        let owner = pool[0].peer.client().owner(&format!("http://{origin}{path}"))?;
        let index = pool.iter().position(|member| owner.as_ref() == Some(member.peer.self_url()));
        owned[index.unwrap_or_default()] += 1;
    }
    Ok((0..PEERS).max_by_key(|index| owned[*index]).unwrap_or_default())
}

/// Starts an origin whose responses are fresh for a minute.
fn start_origin(requests: OriginRequests) -> Result<ServerHandle, Error> {
    let handler = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let body =
            if path == "/large.bin" { vec![7; LARGE] } else { format!("this is {path}\n").into_bytes() };
        *requests.lock().entry(path).or_default() += 1;
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        response
    };
    Server::bind("127.0.0.1:0", ServerConfig::new(), handler)
}

/// Starts a pool of three peers. The clock controls when a peer probes a failed one.
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
        let server = Some(peer.serve_on(listener, ServerConfig::new())?);
        pool.push(Member { peer, address, server });
    }
    Ok(pool)
}

/// One request of the demo.
struct Row {
    round: &'static str,
    path: String,
    /// The peer that received the request.
    peer: String,
    owner: String,
    outcome: String,
    time: Duration,
    /// The number of requests that the origin had received for the path by then.
    origin_requests: usize,
}

fn fetch(
    round: &'static str,
    peer: &Peer,
    url: &str,
    path: &str,
    requests: &OriginRequests,
) -> Result<Row, Failure> {
    let owner = peer.client().owner(url)?.map_or_else(String::new, |owner| owner.authority().to_owned());
    let start = Instant::now();
    let response = peer.get(url).send()?;
    let outcome = Outcome::of(response.headers()).map_or("unknown", Outcome::name).to_owned();
    let length = response.into_body().into_bytes()?.len();
    let time = start.elapsed();
    if path == "/large.bin" && length != LARGE {
        return Err(Failure::failed(format!("the response to {path} has {length} bytes instead of {LARGE}")));
    }
    let origin_requests = requests.lock().get(path).copied().unwrap_or_default();
    let peer = peer.self_url().authority().to_owned();
    Ok(Row { round, path: path.to_owned(), peer, owner, outcome, time, origin_requests })
}

fn total(requests: &OriginRequests) -> usize {
    requests.lock().values().sum()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<6}  {:<11}  {:<15}  {:<15}  {:<8}  {:>9}  {}\n",
        "round", "URL", "peer", "owner", "outcome", "time", "origin requests"
    );
    for row in rows {
        let time = format!("{:.2} ms", row.time.as_secs_f64() * 1000.0);
        text.push_str(&format!(
            "{:<6}  {:<11}  {:<15}  {:<15}  {:<8}  {time:>9}  {}\n",
            row.round, row.path, row.peer, row.owner, row.outcome, row.origin_requests
        ));
    }
    text
}
