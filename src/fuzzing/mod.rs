//! Heads that were bent: what comes off the wire must break no rule, whatever it is.
//!
//! Real heads are mutated, read without mercy, and put through all that reads them. Each execution depends
//! on its number alone: one that fails prints it, and `FORWARDCACHE_SEED` starts there again. Without
//! `FORWARDCACHE_FUZZ_SECONDS` a fixed number of them runs, from a fixed start.
//!
//! | file | what it holds |
//! |---|---|
//! | `mutate` | a head, and how it is bent |
//! | `requests` | what must hold for every request head |
//! | `connections` | what must hold for a connection, however its bytes are split |
//! | `responses` | what must hold for every response head |

mod connections;
mod mutate;
mod requests;
mod responses;

use std::env;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use self::mutate::{Corpus, Random};

const EXECUTIONS: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Says how to come back to a failure.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("replay with FORWARDCACHE_SEED={}", self.0);
        }
    }
}

fn fuzz(what: &str, corpus: &Corpus, execute: impl Fn(&[u8], &mut Random)) {
    let seconds = number("FORWARDCACHE_FUZZ_SECONDS").map(Duration::from_secs);
    let moment = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) << 32;
    let first = number("FORWARDCACHE_SEED").unwrap_or(if seconds.is_some() { moment } else { 1 });
    let began = Instant::now();
    let mut executions = 0;
    while seconds.map_or(executions < EXECUTIONS, |seconds| began.elapsed() < seconds) {
        let seed = first.wrapping_add(executions);
        let _replay = Replay(seed);
        let mut random = Random::new(seed);
        let head = corpus.bent(&mut random);
        execute(&head, &mut random);
        executions += 1;
    }
    println!("{what}: {executions} executions from FORWARDCACHE_SEED={first}");
}

#[test]
fn no_request_head_breaks_a_rule() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    fuzz("requests", &corpus, |head, _| requests::check(head));
}

#[test]
fn no_split_of_a_connection_changes_what_is_seen() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    let front = connections::front();
    fuzz("connections", &corpus, |head, random| {
        let others = random.below(3);
        let heads: Vec<Vec<u8>> =
            [head.to_vec()].into_iter().chain((0..others).map(|_| corpus.bent(random))).collect();
        let message = connections::message(heads.into_iter(), random);
        connections::check(front.local_addr(), &message, random);
    });
}

#[test]
fn no_response_head_breaks_a_rule() {
    let corpus = Corpus::new(include_str!("../../tests/corpus/responses.txt"));
    let requests = Corpus::new(include_str!("../../tests/corpus/requests.txt"));
    fuzz("responses", &corpus, |head, random| {
        let (asked, again) = (requests.bent(random), requests.bent(random));
        let update = corpus.bent(random);
        responses::check(head, &update, &asked, &again, random.below(200));
    });
}
