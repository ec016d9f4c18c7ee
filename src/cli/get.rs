//! `forwardcache get`: fetches one URL through the pool, or directly without a pool.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use forwardcache::client::OnNoPeers;
use forwardcache::{Body, Client, Deadline, Error, Origin, Outcome, RoundTrip};
use http::{Request, Response};

use super::arguments::Get;
use super::failure::Failure;
use super::fields;
use super::local::Local;
use super::manifest::Frozen;
use super::pool;
use super::progress;

/// The maximum number of redirects that `-L` follows.
const MAX_REDIRECTS: u32 = 20;

pub(crate) fn run(arguments: &Get) -> Result<ExitCode, Failure> {
    let request = request(arguments)?;
    let access = &arguments.request.access;
    let redirects = if arguments.location { MAX_REDIRECTS } else { 0 };
    if access.peer_list.peers.is_empty() && !access.peer_list.is_external() {
        if arguments.peers_only {
            let text = "--peers-only requires a list of peers: specify --peer, --peers-file or --peers-dns";
            return Err(Failure::Usage(text.to_owned()));
        }
        let local = local(arguments)?;
        if !arguments.location {
            return fetch(arguments, request, frozen(arguments, local)?.as_ref());
        }
        // Without peers, the client sends each hop through the cache of this process.
        let client = Client::builder().transport(local).follow_redirects(MAX_REDIRECTS).build()?;
        return fetch(arguments, request, frozen(arguments, client)?.as_ref());
    }
    let on_no_peers = if arguments.peers_only { OnNoPeers::Fail } else { OnNoPeers::FetchDirectly };
    let client = pool::client(Client::builder().follow_redirects(redirects), access, on_no_peers)?;
    let result = fetch(arguments, request, frozen(arguments, client.clone())?.as_ref());
    if result.is_ok() && client.counts().direct_fetches > 0 {
        eprintln!("forwardcache: no peer is available: fetched the URL directly from its origin");
    }
    result
}

fn fetch(arguments: &Get, request: Request<Body>, transport: &dyn RoundTrip) -> Result<ExitCode, Failure> {
    let response = transport.round_trip(request)?;
    let status = response.status();
    // An error response without a body would otherwise print nothing.
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

/// Builds a cache in this process, so that the caching rules apply without a pool too.
fn local(arguments: &Get) -> Result<Local, Failure> {
    let mut origin = Origin::builder();
    if let Some(path) = &arguments.request.access.cacert {
        origin = origin.root_certificates_file(path);
    }
    Local::open(&arguments.local, origin.build()?)
}

/// Adds the check of `--frozen`.
fn frozen(arguments: &Get, inner: impl RoundTrip + 'static) -> Result<Box<dyn RoundTrip>, Failure> {
    Ok(match &arguments.local.frozen {
        Some(file) => Box::new(Frozen::read(file, inner)?),
        None => Box::new(inner),
    })
}

fn request(arguments: &Get) -> Result<Request<Body>, Failure> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() =
        forwardcache::origin::CanonicalUrl::parse(&arguments.url).map_err(Error::from)?.uri();
    *request.headers_mut() = fields::parse_all(&arguments.request.fields)?;
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
    let failed = |error: io::Error| Failure::io("cannot write the response", &error);
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
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::from(error).into()),
        };
        output.write_all(&buffer[..count]).map_err(failed)?;
        // Flush each piece, so that a slow response appears as it arrives.
        output.flush().map_err(failed)?;
    }
    Ok(())
}
