//! How a peer shows its password to Redis, and checks its certificate.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::local::{escaped, send};
use crate::processes::PeerProcess;
use crate::redis::{Program, RedisServer, cache_status, get, options, origin, redis_status, stop};
use crate::support::tls::Authority;
use crate::support::wait_until;

pub(crate) fn password_file(folder: &Path, password: &str) -> String {
    let file = folder.join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn wrong_password_costs_no_request_and_is_not_logged() {
    for program in Program::ALL {
        let (server, origin) = (RedisServer::start_as(program, &["--requirepass", "a secret"]), origin());
        let url = format!("redis://:wrong-secret@127.0.0.1:{}", server.port());
        let peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &["--verbose"]));
        for number in 0..20 {
            get(&peer, &origin.url(&format!("/t{number}")));
        }
        assert!(cache_status(&get(&peer, &origin.url("/t0"))).contains("; hit"));
        peer.process.wait_for_line("the store in Redis cannot be used");
        let printed = peer.process.stdout() + &peer.process.stderr();
        assert!(!printed.contains("wrong-secret"), "{printed}");
        assert_eq!(printed.matches("the store in Redis cannot").count(), 1, "{printed}");
    }
}

#[test]
fn invalid_address_is_an_error_without_the_password() {
    let run = |url: &str| {
        let output = crate::support::process::run(["serve", "--listen", "127.0.0.1:0", "--redis", url]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        String::from_utf8(output.stderr).unwrap()
    };
    let printed = run("http://user:a-secret@host");
    assert!(printed.starts_with("forwardcache: --redis: invalid address of Redis"), "{printed}");
    assert!(!printed.contains("a-secret"), "{printed}");
}

#[test]
fn tls_and_a_password_from_a_file_work() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let files = authority.server_file().to_str().unwrap();
    let authority_file = authority.ca_file().to_str().unwrap();
    let server = RedisServer::start(&[
        "--tls-cert-file",
        files,
        "--tls-key-file",
        files,
        "--tls-ca-cert-file",
        authority_file,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "a secret",
    ]);
    let origin = origin();
    let password = password_file(folder.path(), "a secret");
    let url = format!("rediss://localhost:{}", server.port());
    let more = ["--redis-password-file", &password, "--redis-ca-file", authority_file];
    let mut peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &more));
    get(&peer, &origin.url("/t"));
    stop(&mut peer);
    peer.restart();
    let response = get(&peer, &origin.url("/t"));
    assert!(cache_status(&response).contains("detail=redis"), "{response:?}\n{}", peer.process.stderr());
    assert_eq!(origin.count(), 1);
    // Without the authority, the server is not trusted.
    let more = ["--redis-password-file", &password];
    let other = PeerProcess::start_as("127.0.0.1:0", &options(&url, &more));
    assert!(!cache_status(&get(&other, &origin.url("/t"))).contains("hit"));
    other.process.wait_for_line("the store in Redis cannot be used");
}

#[test]
fn user_with_few_rights_and_a_new_password_needs_no_restart() {
    for program in Program::ALL {
        let (server, origin, folder) =
            (RedisServer::start_as(program, &[]), origin(), TempDir::new().unwrap());
        // Those of docs/stores.md.
        let rights =
            "resetchannels ~{forwardcache:* +@read +@write -@dangerous +time +evalsha +script|load +asking";
        let rule = ["ACL", "SETUSER", "peer", "on", ">one"].into_iter().chain(rights.split(' '));
        assert_eq!(server.run(&rule.collect::<Vec<_>>()).trim(), "OK");
        let (url, file) =
            (format!("redis://peer@127.0.0.1:{}", server.port()), password_file(folder.path(), "one"));
        let more = ["--redis-password-file", &file, "--admin", "127.0.0.1:0"];
        let peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &more));
        let values = || server.keys("}:[0-9a-f][0-9a-f]").len();
        get(&peer, &origin.url("/t0"));
        wait_until("it is in Redis", || values() == 1);
        let purge = |target: &str| send(peer.address, "PURGE", target, "").status;
        assert_eq!(purge(&format!("/proxy?q={}", escaped(&origin.url("/t0")))), 200);
        assert_eq!(purge(&format!("/proxy?prefix={}", escaped(&origin.url("/t")))), 200);
        get(&peer, &origin.url("/t0"));
        assert_eq!(
            (&redis_status(&peer)["errors"], &redis_status(&peer)["circuit"]),
            (&0.into(), &"closed".into())
        );

        server.run(&["ACL", "SETUSER", "peer", "resetpass", ">two"]);
        server.run(&["CLIENT", "KILL", "USER", "peer"]);
        let mut number = 0;
        let mut get_new = || {
            number += 1;
            get(&peer, &origin.url(&format!("/t/new/{number}")));
        };
        get_new();
        peer.process.wait_for_line("WRONGPASS");
        assert_ne!(redis_status(&peer)["circuit"], "closed");
        let before = values();
        password_file(folder.path(), "two");
        wait_until("more is in Redis", || {
            get_new();
            values() > before
        });
    }
}
