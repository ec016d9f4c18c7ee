//! Fuzz tests: whatever bytes arrive, the parsers must keep their invariants.
//!
//! The tests mutate real heads and pass them to all parsers. Each execution depends only on its number: a
//! failed execution prints the number, and `FORWARDCACHE_SEED` starts there again. Without
//! `FORWARDCACHE_FUZZ_SECONDS`, a fixed number of executions runs from a fixed seed.
//!
//! | file | subject |
//! |---|---|
//! | `mutate` | mutation and lenient parsing of heads |
//! | `requests` | invariants of every request head |
//! | `connections` | the server's behaviour does not depend on how bytes are split |
//! | `first_bytes` | invariants of the first bytes of tunnels and of connections through a proxy |
//! | `responses` | invariants of every response head |

mod connections;
mod first_bytes;
mod mutate;
mod requests;
mod responses;

use std::env;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use self::mutate::{Corpus, Random};

const EXECUTIONS: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Prints the seed of a failed execution.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("replay with FORWARDCACHE_SEED={}", self.0);
        }
    }
}

fn fuzz(target: &str, corpus: &Corpus, execute: impl Fn(&[u8], &mut Random)) {
    let seconds = number("FORWARDCACHE_FUZZ_SECONDS").map(Duration::from_secs);
    let moment = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) << 32;
    let first = number("FORWARDCACHE_SEED").unwrap_or(if seconds.is_some() { moment } else { 1 });
    let began = Instant::now();
    let mut executions = 0;
    while seconds.map_or(executions < EXECUTIONS, |seconds| began.elapsed() < seconds) {
        let seed = first.wrapping_add(executions);
        let _replay = Replay(seed);
        let mut random = Random::new(seed);
        let head = corpus.mutated(&mut random);
        execute(&head, &mut random);
        executions += 1;
    }
    println!("{target}: {executions} executions from FORWARDCACHE_SEED={first}");
}

#[test]
fn every_request_head_keeps_the_invariants() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    fuzz("requests", &corpus, |head, _| requests::check(head));
}

#[test]
fn splitting_the_bytes_of_a_connection_does_not_change_the_responses() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    let server = connections::start_server();
    fuzz("connections", &corpus, |head, random| {
        let others = random.below(3);
        let heads: Vec<Vec<u8>> =
            [head.to_vec()].into_iter().chain((0..others).map(|_| corpus.mutated(random))).collect();
        let message = connections::message(heads.into_iter(), random);
        connections::check(server.local_addr(), &message, random);
    });
}

#[test]
fn the_first_bytes_of_a_connection_keep_the_invariants() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    let hello = first_bytes::hello();
    let headers: [&[u8]; 3] = [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\nGET / HTTP/1.1\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x9c\x40\x01\xbbGET / HTTP/1.1\r\n",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n\x16\x03\x01",
    ];
    fuzz("first bytes", &corpus, |_, random| {
        first_bytes::check_hello(&first_bytes::mutated(&hello, random), random);
        let header = headers[random.below(headers.len())];
        first_bytes::check_header(&first_bytes::mutated(header, random), random);
    });
}

#[test]
fn every_response_head_keeps_the_invariants() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/responses.txt"));
    let requests = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    fuzz("responses", &corpus, |head, random| {
        let (request_head, next_request) = (requests.mutated(random), requests.mutated(random));
        let update = corpus.mutated(random);
        responses::check(head, &update, &request_head, &next_request, random.below(200));
    });
}
