//! Origin outages, invalid peer lists, clock changes, membership changes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use forwardcache::ErrorKind;
use forwardcache::client::Membership;
use forwardcache::clock::{Clock, ManualClock};
use forwardcache::pool::FileDiscovery;

use super::load::{self, get, under_load};
use super::table::{TIME_LIMIT, Table};
use super::versioned_origin::VersionedOrigin;
use crate::local::LocalPeer;
use crate::processes::PeerProcess;
use crate::support::SetOnDrop;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn rows(table: &mut Table) {
    origin_down_and_stale_allowed(table);
    origin_down_and_stale_forbidden(table);
    lists(table);
    clock(table);
    changes(table);
}

fn origin_down_and_stale_allowed(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=0, stale-if-error=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        origin.set_down(true);
        load.wait_until(|| load.outcome("stale-if-error") > 300);
        origin.set_down(false);
        let revalidated = load.outcome("revalidated");
        load.wait_until(|| load.outcome("revalidated") > revalidated + 150);
    });
    let counts = client.counts();
    table
        .all_answered("the origin is down, stale responses are allowed", results, TIME_LIMIT)
        .require(counts.direct_fetches == 0, "the pool must serve every request");
}

fn origin_down_and_stale_forbidden(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=0, must-revalidate"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        origin.set_down(true);
        load.wait_until(|| load.failed() > 300);
        origin.set_down(false);
        load.wait_until(|| load.failed() > 0);
        load.wait_for_more(150);
    });
    let (failed, unreachable) = (results.failed(), results.failed_as(ErrorKind::Unreachable));
    let stale = results.outcome("stale-if-error");
    let healthy = client.health().iter().all(|peer| peer.failures == 0);
    table
        .row("the origin is down, stale responses are forbidden", "during the outage", results, TIME_LIMIT)
        .require(failed == unreachable, "every failure is `unreachable`")
        .require(stale == 0, "no stale response is served")
        .require(healthy, "no peer is blamed for the origin's failure");
}

/// A client and peers that read their peer lists from a file.
fn lists(table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let write = |text: &str| {
        let new = folder.path().join("peers.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
    };
    let pool = PeerProcess::pool_with(3, |addresses| {
        write(&addresses.iter().map(|address| format!("http://{address}\n")).collect::<String>());
        ["--peers-file", path.to_str().unwrap(), "--peers-interval", "3600"].map(str::to_owned).to_vec()
    });
    let mut pool = pool;
    let good = fs::read_to_string(&path).unwrap();
    let origin = VersionedOrigin::new("max-age=600");
    let client = load::client([]).build().unwrap();
    let mut membership = Membership::new(&client, FileDiscovery::new(&path)).interval(Duration::MAX);
    membership.refresh(SystemTime::now()).unwrap();
    let watch = membership.watch().unwrap();
    let first = good.lines().next().unwrap();
    let mut rejected = 0;
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        let bad = [
            Some(String::new()),
            Some("# no peers\n".to_owned()),
            Some(good.trim_end()[..good.len() - 3].to_owned()),
            Some(format!("{good}not a url\n")),
            Some(format!("{good}{first} weight=2\n")),
            None,
        ];
        for text in bad {
            load.wait_for_more(50);
            match &text {
                Some(text) => write(text),
                None => fs::remove_file(&path).unwrap(),
            }
            assert!(watch.refresh().is_err(), "{text:?}");
            rejected += 1;
            for peer in &mut pool {
                peer.process.signal("HUP");
                let rejections = |peer: &PeerProcess| {
                    peer.process
                        .stderr()
                        .lines()
                        .filter(|line| line.contains("refresh failed, the pool stays as it is"))
                        .count()
                };
                load.wait_until(|| rejections(peer) >= rejected);
            }
            assert_eq!(client.pool().len(), 3, "{text:?}");
        }
        // A duplicate entry counts once.
        write(&format!("{good}{first}\n"));
        watch.refresh().unwrap();
        load.wait_for_more(50);
    });
    let counts = client.counts();
    table
        .all_answered(
            "a peer list that is empty, has only comments, is truncated, has a bad line, conflicting weights, is missing, has duplicates",
            results,
            TIME_LIMIT,
        )
        .require(counts.failovers + counts.skipped + counts.direct_fetches == 0, "the pool must not change")
        .require(client.pool().len() == 3, "a duplicate entry must count once");
}

/// Peers in this process and a client that share a manual clock.
fn clock(table: &mut Table) {
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let origin = VersionedOrigin::new("max-age=600");
    let pool = LocalPeer::pool_with(3, |builder| builder.clock(Arc::clone(&clock)));
    let client = load::client(LocalPeer::urls(&pool)).clock(Arc::clone(&clock)).build().unwrap();
    let fetched = || origin.server.count();
    let mut after_forward = 0;
    let mut refetched_when_back = 0;
    let results = under_load(&origin, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        let before = fetched();
        clock.set(clock.now() - HOUR);
        load.wait_for_more(300);
        refetched_when_back = fetched() - before;
        // Back to the original time: no entry has expired.
        clock.set(clock.now() + HOUR);
        load.wait_for_more(300);
        // An hour later every entry has expired, so no earlier version may be served.
        origin.next_version();
        let before = fetched();
        clock.advance(HOUR);
        origin.demand_version();
        load.wait_for_more(300);
        after_forward = fetched() - before;
        clock.set(clock.now() - HOUR);
        load.wait_for_more(300);
    });
    table
        .all_answered(
            "the clock moves back and forward by an hour (peers in one process)",
            results,
            TIME_LIMIT,
        )
        .note(format!(
            "{refetched_when_back} refetched after moving back, {after_forward} after moving forward"
        ))
        .require(after_forward >= 60, "expired entries must be refetched")
        .require(client.counts().failovers == 0, "no peer may be skipped");
}

/// Fifty threads change the pool of a client while fifty other threads fetch through it.
fn changes(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let urls = PeerProcess::urls(&pool);
    let is_over = AtomicBool::new(false);
    let results = load::under_load_of(50, &origin, &|url| get(&client, url), |load| {
        thread::scope(|scope| {
            for number in 0..50 {
                let (client, urls, is_over) = (&client, &urls, &is_over);
                scope.spawn(move || {
                    for change in number.. {
                        // Every subset of the three peers except the empty one.
                        let set = 1 + change % 7;
                        let chosen = (0..3).filter(|at| set & (1 << at) > 0).map(|at| &urls[at]);
                        client.set_pool(chosen).unwrap();
                        if is_over.load(Ordering::SeqCst) {
                            break;
                        }
                        thread::yield_now();
                    }
                });
            }
            let over = SetOnDrop(&is_over);
            load.wait_for_more(1500);
            drop(over);
        });
    });
    let counts = client.counts();
    let most = (0..60).map(|number| origin.server.count_of(&format!("/{number}"))).max().unwrap();
    table
        .all_answered("50 threads change the pool of a client while 50 fetch", results, TIME_LIMIT)
        .require(counts.failovers + counts.direct_fetches == 0, "a peer must serve every request")
        .require(most <= 3, "each peer must fetch a URL at most once");
}
