//! One URL through the pool, or cached in this process.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use forwardcache::{
    Body, Client, Deadline, Error, HttpCache, MemoryStore, OnNoPeers, Origin, Outcome, RoundTrip,
};
use http::{Request, Response};

use super::arguments::Get;
use super::failure::Failure;
use super::fields;
use super::pool;
use super::progress;

pub(crate) fn run(arguments: &Get) -> Result<ExitCode, Failure> {
    let request = request(arguments)?;
    let reaching = &arguments.asking.reaching;
    if reaching.listed.peers.is_empty() && !reaching.listed.is_elsewhere() {
        if arguments.peers_only {
            let text = "--peers-only needs peers: name them with --peer, --peers-file or --peers-dns";
            return Err(Failure::Usage(text.to_owned()));
        }
        return fetch(arguments, request, &own_cache(arguments)?);
    }
    let last = if arguments.peers_only { OnNoPeers::Fail } else { OnNoPeers::FetchDirectly };
    let client = pool::client(Client::builder(), reaching, last)?;
    let done = fetch(arguments, request, &client);
    if done.is_ok() && client.counts().direct_fetches > 0 {
        eprintln!("forwardcache: no peer can be asked: fetched directly");
    }
    done
}

fn fetch(arguments: &Get, request: Request<Body>, way: &impl RoundTrip) -> Result<ExitCode, Failure> {
    let response = way.round_trip(request)?;
    let status = response.status();
    // Where there is no body, something has to be said.
    if (status.is_client_error() || status.is_server_error()) && response.body().is_empty() {
        let detail =
            Outcome::of(response.headers()).map(|outcome| format!(" ({outcome})")).unwrap_or_default();
        eprintln!("forwardcache: {status}{detail}");
    }
    match &arguments.output {
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Failure::io(format_args!("cannot create {}", path.display()), &error))?;
            write(file, response, arguments.include, false)?;
        }
        None => write(io::stdout().lock(), response, arguments.include, io::stdout().is_terminal())?,
    }
    Ok(ExitCode::from(match status.as_u16() {
        400..500 => 4,
        500.. => 5,
        _ => 0,
    }))
}

/// Without a pool, a cache of our own, so that the same rules apply.
fn own_cache(arguments: &Get) -> Result<HttpCache, Error> {
    let mut origin = Origin::builder();
    if let Some(path) = &arguments.asking.reaching.ca_file {
        origin = origin.root_certificates_file(path);
    }
    HttpCache::builder().origin(origin.build()?).store(MemoryStore::default()).build()
}

fn request(arguments: &Get) -> Result<Request<Body>, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = forwardcache::CanonicalUrl::parse(&arguments.url).map_err(Error::from)?.uri();
    *request.headers_mut() = fields::parsed(&arguments.asking.fields)?;
    if let Some(limit) = arguments.max_time {
        request.extensions_mut().insert(Deadline::within(limit));
    }
    Ok(request)
}

fn write(
    mut output: impl Write,
    response: Response<Body>,
    include: bool,
    is_terminal: bool,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("cannot write", &error);
    let (head, body) = response.into_parts();
    if include {
        let mut text = format!("{:?} {}\r\n", head.version, head.status).into_bytes();
        for (name, value) in &head.headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        output.write_all(&text).map_err(failed)?;
    }
    let mut body = progress::bar(body.length(), is_terminal).wrap_read(body);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::from(error).into()),
        };
        output.write_all(&piece[..count]).map_err(failed)?;
        // What comes slowly is shown as it comes.
        output.flush().map_err(failed)?;
    }
    Ok(())
}
