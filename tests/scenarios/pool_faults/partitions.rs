//! Peers that cannot reach each other, or have different peer lists.

use forwardcache::client::NearCache;
use forwardcache::{Client, Peer};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::load::{self, get, under_load};
use super::table::{TIME_LIMIT, Table};
use super::versioned_origin::VersionedOrigin;
use crate::local::{LocalPeer, state};
use crate::processes::PeerProcess;
use crate::support::port::Port;
use crate::support::relay::{Fault, Relay};

pub(super) fn rows(table: &mut Table) {
    partition(table);
    different_lists(table);
}

/// One peer cannot reach another, which everyone else can reach.
fn partition(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(2));
    let own = Port::hold();
    let own = format!("http://{}", own.address());
    let link = Relay::to(pool[1].address);
    // The relay gives the second peer another URL, so it owns other keys there; this test only needs it to own some.
    let members = [own.clone(), pool[0].url(), link.url()];
    let builder = load::client(members.clone());
    // With a near cache, requests would not reach the peers, and nothing would notice that the peer is back.
    let near = NearCache::new().memory(0);
    let peer = Peer::builder(&own).client(builder).pool(members).near_cache(near).build().unwrap();
    let outside = load::client(PeerProcess::urls(&pool)).build().unwrap();
    let count = AtomicUsize::new(0);
    let both = |url: &str| {
        // Alternate between the two clients.
        if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            get(&peer, url)
        } else {
            get(&outside, url)
        }
    };
    let results = under_load(&origin, &both, |load| {
        load.wait_for_more(150);
        link.set(Some(Fault::Silent));
        load.wait_until(|| peer.client().counts().failovers > 0);
        load.wait_for_more(300);
        link.set(Some(Fault::ResetAll));
        load.wait_for_more(300);
        link.set(None);
        load.wait_until(|| state(peer.client(), &link.url()) == forwardcache::client::PeerState::Up);
        load.wait_for_more(150);
    });
    let counts = outside.counts();
    table
        .all_answered("a partition between two peers: silent, then refused", results, TIME_LIMIT)
        .note(format!("{} failovers by the partitioned peer", peer.client().counts().failovers))
        .require(
            (counts.failovers, counts.skipped) == (0, 0),
            "a client that reaches both peers must use both",
        );
}

/// Three peers and a client, each with a different peer list.
fn different_lists(table: &mut Table) {
    let (origin, pool) = (VersionedOrigin::new("max-age=600"), LocalPeer::pool(3));
    let processes = PeerProcess::pool(2);
    let url = |at: usize| pool[at].url();
    pool[0].peer.set_pool([url(1), url(2), processes[0].url()]).unwrap();
    pool[1].peer.set_pool([url(0)]).unwrap();
    pool[2].peer.set_pool([processes[1].url(), url(2)]).unwrap();
    let client: Client =
        load::client(processes.iter().map(PeerProcess::url).chain([url(0)])).build().unwrap();
    let count = AtomicUsize::new(0);
    let each = |url_asked: &str| match count.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => get(&client, url_asked),
        other => get(&pool[other - 1].peer, url_asked),
    };
    let results = under_load(&origin, &each, |load| load.wait_for_more(900));
    let most = (0..60).map(|number| origin.server.count_of(&format!("/{number}"))).max().unwrap();
    let mismatches: u64 = pool.iter().map(|peer| peer.peer.client().ring_mismatches()).sum();
    table
        .all_answered("peers and clients with different lists", results, TIME_LIMIT)
        .note(format!(
            "{mismatches} mismatches reported; each URL fetched at most {most} times by five peers"
        ))
        .require(most <= 5, "requests must not loop")
        .require(mismatches > 0, "the mismatch must be reported");
}
