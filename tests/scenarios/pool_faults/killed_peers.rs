//! Peers that are killed or stopped.

use forwardcache::ErrorKind;
use forwardcache::client::{OnNoPeers, PeerState};

use super::load::{self, Load, get, under_load};
use super::table::{TIME_LIMIT, Table};
use super::versioned_origin::VersionedOrigin;
use crate::local::state;
use crate::processes::PeerProcess;

/// The number of requests in each step.
const STEP: usize = 150;

pub(super) fn rows(table: &mut Table) {
    no_fault(table);
    one_killed(table);
    two_and_all_killed(table);
    all_killed_without_direct_fetches(table);
    one_stopped(table);
}

fn no_fault(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let results = under_load(&origin, &|url| get(&client, url), |load| load.wait_for_more(4 * STEP));
    let counts = client.counts();
    table.all_answered("none", results, TIME_LIMIT).require(
        (counts.failovers, counts.skipped, counts.direct_fetches) == (0, 0, 0),
        "the owner must serve every request",
    );
}

fn one_killed(table: &mut Table) {
    let (origin, mut pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let victim = pool[0].url();
    let is_up = || state(&client, &victim) == PeerState::Up;
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(STEP);
        pool[0].process.kill();
        load.wait_until(|| !is_up());
        load.wait_for_more(STEP);
        pool[0].restart();
        load.wait_until(is_up);
        load.wait_for_more(STEP);
    });
    let counts = client.counts();
    let skipped = client.counts().skipped;
    for number in 0..60 {
        client.get(&origin.url(&format!("/{number}"))).send().unwrap();
    }
    table
        .all_answered("`kill -9` of one of three peers, then a restart", results, TIME_LIMIT)
        .note(format!("{} failovers", counts.failovers))
        .require(counts.direct_fetches == 0, "the other peers must serve its keys")
        .require(client.counts().skipped == skipped, "the restarted peer must serve its keys again");
}

fn two_and_all_killed(table: &mut Table) {
    let (origin, mut pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(STEP);
        pool[0].process.kill();
        pool[1].process.kill();
        load.wait_for_more(2 * STEP);
    });
    let counts = client.counts();
    table
        .all_answered("`kill -9` of two of three peers", results, TIME_LIMIT)
        .note(format!("{} failovers", counts.failovers))
        .require(counts.direct_fetches == 0, "the third peer must serve all keys");
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        pool[2].process.kill();
        load.wait_until(|| client.counts().direct_fetches > 0);
        load.wait_for_more(STEP);
        for peer in &mut pool {
            peer.restart();
        }
        let all_up = || pool.iter().all(|peer| state(&client, &peer.url()) == PeerState::Up);
        load.wait_until(all_up);
        load.wait_for_more(STEP);
    });
    let direct = client.counts().direct_fetches;
    table
        .all_answered("`kill -9` of all three peers, then a restart", results, TIME_LIMIT)
        .note(format!("{direct} fetched directly from the origin"));
}

fn all_killed_without_direct_fetches(table: &mut Table) {
    let (origin, mut pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).on_no_peers(OnNoPeers::Fail).build().unwrap();
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(STEP);
        pool.iter_mut().for_each(|peer| peer.process.kill());
        let failed = load.failed();
        load.wait_until(|| load.failed() >= failed + STEP);
    });
    let no_peer = results.failed_as(ErrorKind::Unreachable) + results.failed_as(ErrorKind::NoPeers);
    // Bodies in transit also fail, at most one per thread, because no peer is left to resume them from.
    let broken = results.failed_as(ErrorKind::IncompleteBody);
    let all = results.failed();
    table
        .row("the same with `OnNoPeers::Fail`", "from then on", results, TIME_LIMIT)
        .require(all == no_peer + broken && broken <= 4, "every error must say that no peer is available");
}

fn one_stopped(table: &mut Table) {
    let (origin, mut pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let victim = pool[0].url();
    let is_up = || state(&client, &victim) == PeerState::Up;
    let stop = |load: &Load, pool: &mut [PeerProcess]| {
        pool[0].process.signal("STOP");
        load.wait_until(|| state(&client, &victim) == PeerState::Down);
        load.wait_for_more(10 * STEP);
    };
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(STEP);
        stop(load, &mut pool);
        pool[0].process.signal("CONT");
        load.wait_until(is_up);
        load.wait_for_more(STEP);
    });
    let slow = results.slow;
    let probes = usize::try_from(client.counts().probes).unwrap();
    table
        .all_answered("`SIGSTOP` of one of three peers, then `SIGCONT`", results, TIME_LIMIT)
        .note(format!("{slow} requests waited for it"))
        // At most one request per thread, plus the health probes.
        .require(slow <= 4 + probes, "only the first requests may wait")
        .require(client.counts().direct_fetches == 0, "the other peers must serve its keys");
}
