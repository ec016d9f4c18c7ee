//! A peer over a cluster that speaks TLS only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::processes::PeerProcess;
use crate::redis::{Cluster, Program, RedisServer, cache_status, get, options, origin, redis_status, stop};
use crate::redis_access::password_file;
use crate::support::tls::Authority;
use crate::support::wait_until;

/// How many URLs are requested: some are on each node.
const URLS: usize = 40;

/// A pattern for the names of values.
const VALUES: &str = "}:[0-9a-f][0-9a-f]";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The arguments of a server with the certificate of this authority, which trusts the nodes that `trusted` signed.
fn arguments<'a>(authority: &'a Authority, trusted: &'a Path) -> Vec<&'a str> {
    let own = text(authority.server_file());
    let files = ["--tls-cert-file", own, "--tls-key-file", own, "--tls-ca-cert-file", text(trusted)];
    let password = ["--requirepass", "a secret", "--masterauth", "a secret"];
    [&files[..], &["--tls-auth-clients", "no", "--tls-cluster", "yes"], &password].concat()
}

/// The values on a server, each with the text of a URL.
fn values(server: &RedisServer) -> usize {
    server.keys(VALUES).len()
}

fn peer_over(cluster: &Cluster, authority: &Authority, password: &str) -> PeerProcess {
    // The others are known only by redirections.
    let url = cluster.url();
    let first = url.split(',').next().unwrap();
    let files = ["--redis-ca-file", text(authority.ca_file()), "--redis-password-file", password];
    PeerProcess::start_as("127.0.0.1:0", &options(first, &[&files[..], &["--admin", "127.0.0.1:0"]].concat()))
}

#[test]
fn cluster_over_tls_is_found_through_redirections_and_survives_the_loss_of_a_node() {
    for program in Program::ALL {
        let (authority, folder, origin) = (Authority::new(), TempDir::new().unwrap(), origin());
        let by_name =
            ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
        let arguments = [&arguments(&authority, authority.ca_file())[..], &by_name].concat();
        let mut cluster = Cluster::start_as(program, 0, &arguments);
        let mut peer = peer_over(&cluster, &authority, &password_file(folder.path(), "a secret"));
        let urls: Vec<_> = (0..URLS).map(|number| origin.url(&format!("/t{number}"))).collect();
        urls.iter().for_each(|url| drop(get(&peer, url)));
        let all = |cluster: &Cluster| cluster.servers.iter().map(values).collect::<Vec<_>>();
        wait_until("all are in Redis", || all(&cluster).iter().sum::<usize>() == URLS);
        assert!(all(&cluster).iter().all(|count| *count > 0), "{:?}", all(&cluster));
        let mut assert_all_found = |state: &str| {
            stop(&mut peer);
            peer.restart();
            for url in &urls {
                let response = get(&peer, url);
                assert!(cache_status(&response).contains("detail=redis"), "{state}: {response:?}");
            }
            let redis = redis_status(&peer);
            assert_eq!((&redis["circuit"], &redis["errors"]), (&"closed".into(), &0.into()), "{state}");
        };
        assert_all_found("MOVED");
        move_a_slot(&cluster, || assert_all_found("ASK"));
        assert_all_found("moved");
        assert_eq!(origin.count(), URLS);

        cluster.servers[1].kill();
        for number in 0..URLS {
            get(&peer, &origin.url(&format!("/t/without/{number}")));
        }
        peer.process.wait_for_line("the store in Redis cannot be used");
        cluster.servers[1].restart();
        assert_eq!(values(&cluster.servers[1]), 0);
        let mut number = 0;
        wait_until("the node is used again", || {
            get(&peer, &origin.url(&format!("/t/again/{number}")));
            number += 1;
            values(&cluster.servers[1]) > 0
        });
        assert_eq!(redis_status(&peer)["circuit"], "closed");
    }
}

/// Moves the slot of a value to another node, and calls the function while both nodes know of the move.
fn move_a_slot(cluster: &Cluster, mut meanwhile: impl FnMut()) {
    let [source, target, _] = &cluster.servers[..] else { panic!("three nodes") };
    let id = |server: &RedisServer| server.run(&["CLUSTER", "MYID"]).trim().to_owned();
    let value = source.keys(VALUES).remove(0);
    let slot = source.run(&["CLUSTER", "KEYSLOT", &value]);
    let slot = slot.trim();
    target.run(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(source)]);
    source.run(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(target)]);
    let (names, port) = (source.run(&["CLUSTER", "GETKEYSINSLOT", slot, "1000"]), target.port().to_string());
    let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", "a secret", "KEYS"];
    let moved = source.run(&migrate.into_iter().chain(names.lines()).collect::<Vec<_>>());
    assert_eq!(moved.trim(), "OK");
    let held = |server: &RedisServer| server.keys("").into_iter().collect::<BTreeSet<_>>();
    assert!(held(target).contains(&value) && !held(source).contains(&value));
    meanwhile();
    for server in [target, source].into_iter().chain(&cluster.servers) {
        server.run(&["CLUSTER", "SETSLOT", slot, "NODE", &id(target)]);
    }
}

#[test]
fn node_with_a_certificate_of_another_authority_gets_nothing_and_fails_no_request() {
    let (authority, other, folder, origin) =
        (Authority::new(), Authority::new(), TempDir::new().unwrap(), origin());
    // The nodes trust each other.
    let both = folder.path().join("both");
    let pem = |authority: &Authority| fs::read_to_string(authority.ca_file()).unwrap();
    fs::write(&both, pem(&authority) + &pem(&other)).unwrap();
    let [trusted, foreign] = [&authority, &other].map(|authority| arguments(authority, &both));
    let cluster = Cluster::start_each(Program::Redis, 0, &[&trusted, &trusted, &foreign]);
    let peer = peer_over(&cluster, &authority, &password_file(folder.path(), "a secret"));
    for number in 0..URLS {
        get(&peer, &origin.url(&format!("/t{number}")));
    }
    let line = peer.process.wait_for_line("the store in Redis cannot be used");
    assert!(line.contains("UnknownIssuer"), "{line}");
    let asked = cluster.servers[2].run(&["INFO", "commandstats"]);
    assert!(asked.contains("cluster") && !asked.contains("eval"), "{asked}");
    assert_eq!(values(&cluster.servers[2]), 0);
}

#[test]
fn server_whose_certificate_is_for_another_name_gets_nothing() {
    let (authority, folder, origin) = (Authority::new(), TempDir::new().unwrap(), origin());
    let mut arguments = arguments(&authority, authority.ca_file());
    arguments.extend(["--bind", "127.0.0.1", "127.0.0.2"]);
    let server = RedisServer::start(&arguments);
    let (url, password) = (server.url(), password_file(folder.path(), "a secret"));
    let files = ["--redis-ca-file", text(authority.ca_file()), "--redis-password-file", &password];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options(&url, &files));
    get(&peer, &origin.url("/t0"));
    wait_until("it is in Redis", || values(&server) == 1);
    // The certificate is not valid for this address.
    let url = url.replace("127.0.0.1", "127.0.0.2");
    let other = PeerProcess::start_as("127.0.0.1:0", &options(&url, &files));
    assert!(!cache_status(&get(&other, &origin.url("/t0"))).contains("hit"));
    let line = other.process.wait_for_line("the store in Redis cannot be used");
    assert!(line.contains("not valid for name"), "{line}");
}
