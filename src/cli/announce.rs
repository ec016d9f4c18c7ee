//! What `serve` prints at start: its address, the size of the pool, and a command to try.

use std::iter::once;
use std::path::{self, Path};

use forwardcache::Peer;
use forwardcache::server::Listener;

use super::arguments::{RingName, Serve};
use super::listen::shown;
use super::serve_flags_to_options::scheme;

/// Returns the addresses of the peer, the size of its pool, and a command to try.
pub(super) fn text(
    arguments: &Serve,
    peer: &Peer,
    has_tokens: bool,
    listeners: &[Listener],
    admin: Option<&Listener>,
) -> String {
    let shown: Vec<String> = listeners.iter().map(|socket| shown(socket, scheme(arguments))).collect();
    let pool = match peer.client().pool().len() {
        1 => "a pool of one".to_owned(),
        count => format!("one of a pool of {count}"),
    };
    let admin = admin.map_or_else(String::new, |socket| match socket.path() {
        Some(_) => format!("metrics on {socket}\n"),
        None => {
            let is_local = socket.local_addr().is_some_and(|address| address.ip().is_loopback());
            let scheme = if is_local { "http" } else { scheme(arguments) };
            let url = format!("{scheme}://{socket}");
            format!("metrics on {url}/metrics\nstatus page on {url}/status\n")
        }
    });
    let served = shown.join(" and ");
    let try_it = try_it(arguments, peer, has_tokens, listeners);
    format!("serving on {served} as {pool}\n{admin}try it: {try_it}\n")
}

/// Returns the addresses of a gateway, the size of its pool, and a command to try.
pub(super) fn of_gateway(peer: &Peer, listeners: &[Listener], token_file: Option<&Path>) -> String {
    let pool = match peer.client().pool().len() {
        1 => "a pool of one".to_owned(),
        count => format!("a pool of {count}"),
    };
    let token = token_file.map(|path| format!("$(head -n 1 {})", file(path)));
    let address = listeners.iter().find_map(Listener::local_addr);
    let try_it = match (address, listeners.first().and_then(Listener::path)) {
        (None, Some(path)) => {
            let field = token.map(|token| format!(" -H \"Proxy-Authorization: Bearer {token}\""));
            let (field, socket) = (field.unwrap_or_default(), file(&path));
            format!("curl -i --unix-socket {socket}{field} http://localhost/fetch/http://example.com/")
        }
        (address, _) => {
            let user = token.map(|token| format!(" --proxy-user \"token:{token}\"")).unwrap_or_default();
            let address = address.map(|address| address.to_string()).unwrap_or_default();
            format!("curl -i -x http://{address}{user} http://example.com/")
        }
    };
    let shown: Vec<String> = listeners.iter().map(|socket| shown(socket, "http")).collect();
    format!("gateway to {pool} on {}\ntry it: {try_it}\n", shown.join(" and "))
}

/// Returns a command that works in a shell on this machine.
fn try_it(arguments: &Serve, peer: &Peer, has_tokens: bool, listeners: &[Listener]) -> String {
    if peer.client().pool().len() == 1 && !has_tokens && arguments.tls_cert.is_none() {
        let socket = match listeners.first() {
            Some(socket) if listeners.iter().all(|socket| socket.local_addr().is_none()) => socket.path(),
            _ => None,
        };
        let socket = socket.map_or_else(String::new, |path| format!(" --unix-socket {}", file(&path)));
        let target = quoted(&format!("{}{}", peer.self_url(), peer.path()));
        return format!("curl -i{socket} --get --data-urlencode 'q=https://example.com/' {target}");
    }
    // A client finds the owner among several peers, and sends the token and certificates.
    let pool = &arguments.pool;
    let mut words = Vec::new();
    if pool.ring.ring == RingName::Rendezvous {
        words.push("--ring rendezvous".to_owned());
    }
    words.extend(pool.ring.replicas.map(|number| format!("--replicas {number}")));
    if peer.path() != "/proxy" {
        words.push(format!("--path {}", quoted(peer.path())));
    }
    if pool.go_peers {
        words.push("--go-peers".to_owned());
    }
    let list = &arguments.peer_list;
    match (&list.peers_file, list.base_url(scheme(arguments))) {
        (Some(path), _) => words.push(format!("--peers-file {}", file(path))),
        (None, Some(name)) => words.push(format!("--peers-dns {}", quoted(&name))),
        (None, None) => {
            words.extend(
                peer.members().iter().map(|member| format!("--peer {}", quoted(&member.to_string()))),
            );
        }
    }
    let certificate = arguments.tls_client_ca.as_ref().and(arguments.tls_cert.as_ref());
    let files = [
        ("--cacert", arguments.cacert.as_ref()),
        ("--cert", certificate),
        ("--key", certificate.and(arguments.tls_key.as_ref())),
        ("--token-file", arguments.token_file.as_ref()),
    ];
    words.extend(files.into_iter().filter_map(|(flag, path)| Some(format!("{flag} {}", file(path?)))));
    let words: Vec<String> = once("forwardcache get -i".to_owned()).chain(words).collect();
    format!("{} https://example.com/", words.join(" "))
}

/// Returns the absolute path as one word for a shell.
pub(super) fn file(path: &Path) -> String {
    quoted(&path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy())
}

/// Returns the text as one word for a shell.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-._/:@%+,=".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
