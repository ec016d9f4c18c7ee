//! The front that the command line asks for.

use std::net::TcpListener;
use std::time::Duration;

use forwardcache::{ByteSize, Error, ErrorKind, Peer, ServerConfig, ServerHandle, ServerTls, TinyHttpServer};

use super::arguments::{Front, FrontArguments};

/// How many threads may wait for origins, where nobody says.
const WORKERS: usize = 1024;

/// How many connections there may be, where nobody says.
const CONNECTIONS: usize = 16_384;

/// The fixed number of threads on tiny_http, where nobody says.
const TINY_HTTP_WORKERS: usize = 64;

/// Serves the peer with it.
pub(super) fn serve(
    peer: &Peer,
    listener: TcpListener,
    front: Front,
    workers: Option<u16>,
    options: ServerConfig,
) -> Result<ServerHandle, Error> {
    if front == Front::Event {
        return peer.serve_on(listener, options);
    }
    let workers = workers.map_or(TINY_HTTP_WORKERS, usize::from);
    let serving = TinyHttpServer::on(listener, options.workers(workers), peer.handler_for(workers))?;
    peer.is_served_on(serving.local_addr());
    Ok(serving)
}

/// What was said of it, where that makes sense.
pub(super) fn options(typed: &FrontArguments, tls: Option<ServerTls>) -> Result<ServerConfig, Error> {
    let is_about_event = tls.is_some()
        || typed.io_threads.is_some()
        || typed.max_connections.is_some()
        || typed.max_connections_per_address.is_some()
        || typed.max_head.is_some()
        || typed.max_fields.is_some()
        || typed.max_target.is_some()
        || typed.head_timeout.is_some()
        || typed.idle_timeout.is_some()
        || typed.max_queue_wait.is_some()
        || typed.min_transfer_rate.is_some();
    if typed.front == Front::TinyHttp && is_about_event {
        let text = "--front tiny_http has no TLS, and knows of no threads and limits but --workers, \
                    --queue-length, --max-request-body and --stall-timeout";
        return Err(Error::new(ErrorKind::BadOption, text));
    }
    let set = ServerConfig::new();
    let set = set.workers(typed.workers.map_or(WORKERS, usize::from));
    let set = with(set, typed.max_queue_wait, |set, time| set.max_queue_wait(seconds(time)));
    let set = with(set, typed.io_threads, |set, number| set.io_threads(number.into()));
    let set = with(set, typed.queue_length, |set, number| set.queue_length(count(number)));
    // Said in any case, so that it is a warning where there may be fewer.
    let set = set.max_connections(typed.max_connections.map_or(CONNECTIONS, count));
    let set = with(set, typed.max_connections_per_address, |set, number| {
        set.max_connections_per_address(count(number))
    });
    let set = with(set, typed.max_head, |set, size| set.max_head(length(size)));
    let set = with(set, typed.max_fields, |set, number| set.max_fields(number.into()));
    let set = with(set, typed.max_target, |set, size| set.max_target(length(size)));
    let set = with(set, typed.max_request_body, |set, size| set.max_body(size.bytes()));
    let set = with(set, typed.head_timeout, |set, time| set.head_timeout(seconds(time)));
    let set = with(set, typed.idle_timeout, |set, time| set.idle_timeout(seconds(time)));
    let set = with(set, typed.stall_timeout, |set, time| set.write_timeout(seconds(time)));
    let set = with(set, typed.min_transfer_rate, |set, size| set.min_transfer_rate(size.bytes()));
    Ok(with(set, tls, ServerConfig::tls))
}

/// The options with this value, where there is one.
pub(super) fn with<O, T>(options: O, value: Option<T>, set: impl FnOnce(O, T) -> O) -> O {
    match value {
        Some(value) => set(options, value),
        None => options,
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn length(size: ByteSize) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}
