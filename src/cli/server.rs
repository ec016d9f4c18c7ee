//! The server that `serve` starts, configured by its flags.

use std::time::Duration;

use forwardcache::peer::{AccessLogFile, AccessLogFormat};
use forwardcache::server::{Listener, ServerConfig, ServerHandle, ServerTls, TinyHttpServer};
use forwardcache::store::ByteSize;
use forwardcache::{Error, ErrorKind, Peer};

use super::arguments::{LogFormat, ServerArguments, ServerKind};
use super::optional::with;

/// The default number of threads that may wait for origins.
const WORKERS: usize = 1024;

/// The default limit of open connections.
const CONNECTIONS: usize = 16_384;

/// The default number of threads of the tiny_http server.
const TINY_HTTP_WORKERS: usize = 64;

/// Serves the peer on the listeners, with the selected server.
pub(super) fn serve(
    peer: &Peer,
    listeners: Vec<Listener>,
    kind: ServerKind,
    workers: Option<u16>,
    config: ServerConfig,
) -> Result<ServerHandle, Error> {
    if kind == ServerKind::Event {
        return peer.serve_on(listeners, config);
    }
    let workers = workers.map_or(TINY_HTTP_WORKERS, usize::from);
    let handle = TinyHttpServer::on(listeners, config.workers(workers), peer.handler_for(workers))?;
    peer.is_served_by(&handle);
    Ok(handle)
}

/// Returns the server's configuration.
///
/// # Errors
///
/// [`ErrorKind::BadOption`] if a flag does not apply to tiny_http.
pub(super) fn config(
    arguments: &ServerArguments,
    tls: Option<ServerTls>,
    access_log: Option<AccessLogFile>,
) -> Result<ServerConfig, Error> {
    let has_event_options = tls.is_some()
        || arguments.access_log.is_some()
        || !arguments.proxy_protocol_from.is_empty()
        || arguments.max_tunnels.is_some()
        || arguments.tunnel_idle_timeout.is_some()
        || arguments.io_threads.is_some()
        || arguments.max_connections.is_some()
        || arguments.max_connections_per_address.is_some()
        || arguments.max_head.is_some()
        || arguments.max_fields.is_some()
        || arguments.max_target.is_some()
        || arguments.head_timeout.is_some()
        || arguments.idle_timeout.is_some()
        || arguments.max_queue_wait.is_some()
        || arguments.min_transfer_rate.is_some();
    if arguments.kind == ServerKind::TinyHttp && has_event_options {
        let text = "--server tiny_http does not support TLS, the PROXY protocol and an access log, and of the flags for threads and limits it supports \
                    only --workers, --queue-length, --max-request-body and --stall-timeout";
        return Err(Error::new(ErrorKind::BadOption, text));
    }
    let config = ServerConfig::new();
    let config = config.workers(arguments.workers.map_or(WORKERS, usize::from));
    let config = with(config, arguments.max_queue_wait, |config, time| config.max_queue_wait(seconds(time)));
    let config = with(config, arguments.io_threads, |config, number| config.io_threads(number.into()));
    let config = with(config, arguments.queue_length, |config, number| config.queue_length(count(number)));
    // The default is set explicitly, so that the server warns if the system allows fewer open files.
    let config = config.max_connections(arguments.max_connections.map_or(CONNECTIONS, count));
    let config = with(config, arguments.max_connections_per_address, |config, number| {
        config.max_connections_per_address(count(number))
    });
    let config = with(config, arguments.max_head, |config, size| config.max_head(length(size)));
    let config = with(config, arguments.max_fields, |config, number| config.max_fields(number.into()));
    let config = with(config, arguments.max_target, |config, size| config.max_target(length(size)));
    let config = with(config, arguments.max_request_body, |config, size| config.max_body(size.bytes()));
    let config = with(config, arguments.head_timeout, |config, time| config.head_timeout(seconds(time)));
    let config = with(config, arguments.idle_timeout, |config, time| config.idle_timeout(seconds(time)));
    let config = with(config, arguments.stall_timeout, |config, time| config.write_timeout(seconds(time)));
    let config =
        with(config, arguments.min_transfer_rate, |config, size| config.min_transfer_rate(size.bytes()));
    let config = with(config, arguments.max_tunnels, |config, number| config.max_tunnels(count(number)));
    let config =
        with(config, arguments.tunnel_idle_timeout, |config, time| config.tunnel_idle_timeout(seconds(time)));
    let proxies = arguments.proxy_protocol_from.iter().copied();
    let config = proxies.fold(config, ServerConfig::proxy_protocol_from);
    let config = with(config, access_log, ServerConfig::access_log);
    Ok(with(config, tls, ServerConfig::tls))
}

/// Opens the access log, if there is one.
pub(super) fn access_log(arguments: &ServerArguments) -> Result<Option<AccessLogFile>, Error> {
    let Some(path) = &arguments.access_log else { return Ok(None) };
    let format = match arguments.access_log_format {
        LogFormat::Text => AccessLogFormat::Text,
        LogFormat::Json => AccessLogFormat::Json,
    };
    let is_stdout = path.as_os_str() == "-";
    let log = if is_stdout { AccessLogFile::stdout(format) } else { AccessLogFile::open(path, format) };
    log.map(Some)
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
