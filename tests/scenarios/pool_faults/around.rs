//! An origin that is down, lists that are none, a clock that is set, a pool that changes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use forwardcache::{Clock, ErrorKind, ManualClock, MembersFile, Membership};

use super::load::{self, get, under_load};
use super::table::{BOUND, Table};
use super::world::World;
use crate::local::LocalPeer;
use crate::processes::PeerProcess;
use crate::support::Over;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn rows(table: &mut Table) {
    origin_down_and_stale_allowed(table);
    origin_down_and_stale_forbidden(table);
    lists(table);
    clock(table);
    changes(table);
}

fn origin_down_and_stale_allowed(table: &mut Table) {
    let (world, pool) = (World::new("max-age=0, stale-if-error=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let seen = under_load(&world, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        world.set_down(true);
        load.wait_until(|| load.outcome("stale-on-error") > 300);
        world.set_down(false);
        let revalidated = load.outcome("revalidated");
        load.wait_until(|| load.outcome("revalidated") > revalidated + 150);
    });
    let counts = client.counts();
    table
        .all_answered("the origin is down, and what is stale may be served", seen, BOUND)
        .and(counts.direct_fetches == 0, "the pool answers");
}

fn origin_down_and_stale_forbidden(table: &mut Table) {
    let (world, pool) = (World::new("max-age=0, must-revalidate"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let seen = under_load(&world, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        world.set_down(true);
        load.wait_until(|| load.failed() > 300);
        world.set_down(false);
        load.wait_until(|| load.failed() > 0);
        load.wait_for_more(150);
    });
    let (failed, unreachable) = (seen.failed(), seen.failed_as(ErrorKind::Unreachable));
    let stale = seen.outcome("stale-on-error");
    let healthy = client.health().iter().all(|peer| peer.failures == 0);
    table
        .row("the origin is down, and nothing stale may be served", "while it is down", seen, BOUND)
        .and(failed == unreachable, "the error says that the origin is not there")
        .and(stale == 0, "nothing stale is served")
        .and(healthy, "it is no peer's fault");
}

/// Of a client that follows a file, and of peers that do.
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
    let world = World::new("max-age=600");
    let client = load::client([]).build().unwrap();
    let mut membership = Membership::new(&client, MembersFile::new(&path)).interval(Duration::MAX);
    membership.refresh(SystemTime::now()).unwrap();
    let watch = membership.watch().unwrap();
    let first = good.lines().next().unwrap();
    let mut said = 0;
    let seen = under_load(&world, &|url| get(&client, url), |load| {
        let bad = [
            Some(String::new()),
            Some("# nobody\n".to_owned()),
            Some(good.trim_end()[..good.len() - 3].to_owned()),
            Some(format!("{good}no url at all\n")),
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
            said += 1;
            for peer in &mut pool {
                peer.process.signal("HUP");
                let says = |peer: &PeerProcess| {
                    peer.process
                        .stderr()
                        .lines()
                        .filter(|line| line.contains("the peers stay as they are"))
                        .count()
                };
                load.wait_until(|| says(peer) >= said);
            }
            assert_eq!(client.pool().len(), 3, "{text:?}");
        }
        // Who is named twice counts once.
        write(&format!("{good}{first}\n"));
        watch.refresh().unwrap();
        load.wait_for_more(50);
    });
    let counts = client.counts();
    table
        .all_answered(
            "a list that is empty, has nobody, is half written, has a bad line, two weights, is not there, has duplicates",
            seen,
            BOUND,
        )
        .and(counts.failovers + counts.passed_over + counts.direct_fetches == 0, "the pool stays as it was")
        .and(client.pool().len() == 3, "who is named twice counts once");
}

/// Peers in this process, who can be told what time it is; and the client goes by that clock as well.
fn clock(table: &mut Table) {
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let world = World::new("max-age=600");
    let pool = LocalPeer::pool_with(3, |builder| builder.clock(Arc::clone(&clock)));
    let client = load::client(LocalPeer::urls(&pool)).clock(Arc::clone(&clock)).build().unwrap();
    let fetched = || world.origin.count();
    let mut after_forward = 0;
    let mut refetched_when_back = 0;
    let seen = under_load(&world, &|url| get(&client, url), |load| {
        load.wait_for_more(300);
        let before = fetched();
        clock.set(clock.now() - HOUR);
        load.wait_for_more(300);
        refetched_when_back = fetched() - before;
        // As it was: nothing has become too old by it.
        clock.set(clock.now() + HOUR);
        load.wait_for_more(300);
        // An hour later everything is too old: nothing of before is served from here on.
        world.next_version();
        let before = fetched();
        clock.advance(HOUR);
        world.demand_version();
        load.wait_for_more(300);
        after_forward = fetched() - before;
        clock.set(clock.now() - HOUR);
        load.wait_for_more(300);
    });
    table
        .all_answered("the clock is set back and forward by an hour (peers in one process)", seen, BOUND)
        .saw(format!(
            "{refetched_when_back} fetched anew after it went back, {after_forward} after it went forward"
        ))
        .and(after_forward >= 60, "what is too old is asked for again")
        .and(client.counts().failovers == 0, "no peer is passed over");
}

/// Fifty threads change the pool of a client through which fifty others fetch.
fn changes(table: &mut Table) {
    let (world, pool) = (World::new("max-age=600"), PeerProcess::pool(3));
    let client = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let urls = PeerProcess::urls(&pool);
    let is_over = AtomicBool::new(false);
    let seen = load::under_load_of(50, &world, &|url| get(&client, url), |load| {
        thread::scope(|scope| {
            for number in 0..50 {
                let (client, urls, is_over) = (&client, &urls, &is_over);
                scope.spawn(move || {
                    for change in number.. {
                        // Every set of the three but the empty one.
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
            let over = Over(&is_over);
            load.wait_for_more(1500);
            drop(over);
        });
    });
    let counts = client.counts();
    let most = (0..60).map(|number| world.origin.count_of(&format!("/{number}"))).max().unwrap();
    table
        .all_answered("50 threads change the pool of a client while 50 fetch", seen, BOUND)
        .and(counts.failovers + counts.direct_fetches == 0, "somebody of the pool is asked")
        .and(most <= 3, "each peer fetches a URL once");
}
