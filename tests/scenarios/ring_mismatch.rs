//! Peers and clients with different peer lists: every request is answered, and after a change of owners the responses
//! stored by the previous owner are not fetched again.

use forwardcache::{Client, Outcome};

use crate::local::LocalPeer;
use crate::support::origin::{Origin, Reply};

fn origin() -> Origin {
    Origin::start(Reply::target)
}

#[test]
fn different_peer_lists_are_reported_and_every_request_is_answered() {
    let (origin, pool) = (origin(), LocalPeer::pool(2));
    let urls = LocalPeer::urls(&pool);
    // Each peer considers the other one the owner of every URL.
    pool[0].peer.set_pool([&urls[1]]).unwrap();
    pool[1].peer.set_pool([&urls[0]]).unwrap();
    for number in 0..20 {
        let path = format!("/{number}");
        for peer in &pool {
            let answer = peer.peer.get(&origin.url(&path)).send().unwrap();
            assert_eq!(answer.into_body().into_text().unwrap(), path);
        }
        // A request is forwarded at most once.
        assert!(origin.count_of(&path) <= 2);
    }
    for peer in &pool {
        assert_eq!(peer.peer.stats().counts().ring_mismatches, 20);
        assert_eq!(peer.peer.client().ring_mismatches(), 20);
    }
}

#[test]
fn equal_peer_lists_report_no_mismatch() {
    let (origin, pool) = (origin(), LocalPeer::pool(3));
    let mut urls = LocalPeer::urls(&pool);
    urls.reverse();
    let client = Client::builder().pool(urls).build().unwrap();
    for number in 0..20 {
        for _ in 0..2 {
            client.get(&origin.url(&format!("/{number}"))).send().unwrap();
        }
    }
    assert_eq!(client.ring_mismatches(), 0);
    let other_pool = Client::builder().pool([pool[0].url()]).build().unwrap();
    let answer = other_pool.get(&origin.url("/0")).send().unwrap();
    assert!(
        answer.headers().get("forwardcache-members").is_none(),
        "the field is not passed on to the program"
    );
    assert_eq!(other_pool.ring_mismatches(), 1);
    let purge = forwardcache::Purge::all();
    assert!(client.purge(&purge).unwrap().peers.iter().all(|peer| !peer.knows_other_pool));
    assert!(pool[0].peer.purge(&purge).peers.iter().all(|peer| !peer.knows_other_pool));
    let purged = other_pool.purge(&purge).unwrap();
    assert!(purged.is_complete() && purged.to_string().ends_with(" other-pool\n"), "{purged}");
    assert_eq!((client.ring_mismatches(), other_pool.ring_mismatches()), (0, 2));
}

#[test]
fn new_owner_copies_responses_from_the_previous_owner() {
    let (origin, pool) = (origin(), LocalPeer::pool(3));
    let urls = LocalPeer::urls(&pool);
    for peer in &pool {
        peer.peer.set_pool([&urls[0]]).unwrap();
    }
    let paths: Vec<String> = (0..30).map(|number| format!("/{number}")).collect();
    let get = |path: &str| {
        let client =
            Client::builder().pool(pool[0].peer.client().pool().iter().map(ToString::to_string)).build();
        client.unwrap().get(&origin.url(path)).send().unwrap()
    };
    for path in &paths {
        get(path).into_body().into_bytes().unwrap();
    }
    assert_eq!(origin.count(), 30);
    for peer in &pool {
        peer.peer.set_pool(&urls).unwrap();
    }
    for path in &paths {
        let answer = get(path);
        let age: u64 = answer.headers()["age"].to_str().unwrap().parse().unwrap();
        assert!(age <= 60);
        assert_eq!(answer.into_body().into_text().unwrap(), *path);
    }
    assert_eq!(origin.count(), 30, "no URL is fetched twice");
    for path in &paths {
        assert_eq!(Outcome::of(get(path).headers()), Some(Outcome::Hit));
    }
    // A URL that no peer has stored is fetched from the origin.
    get("/new").into_body().into_bytes().unwrap();
    assert_eq!(origin.count_of("/new"), 1);
}

#[test]
fn missing_previous_owner_falls_back_to_the_origin() {
    let (origin, mut pool) = (origin(), LocalPeer::pool(2));
    let urls = LocalPeer::urls(&pool);
    pool[0].peer.set_pool([&urls[1]]).unwrap();
    drop(pool.pop());
    pool[0].peer.set_pool([&urls[0]]).unwrap();
    for number in 0..5 {
        let path = format!("/{number}");
        assert_eq!(
            pool[0].peer.get(&origin.url(&path)).send().unwrap().into_body().into_text().unwrap(),
            path
        );
    }
    assert_eq!(origin.count(), 5);
}

/// An origin whose response bodies are numbered consecutively.
fn numbered_origin() -> Origin {
    let made = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |_| {
        let number = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::ok(number.to_string()).field("Cache-Control", "max-age=60")
    })
}

/// Two peers, a URL whose owner changes from the first to the second when the pool grows, and the body that the first
/// has stored.
fn pool_with_moved_url(origin: &Origin) -> (Vec<LocalPeer>, String, String) {
    let pool = LocalPeer::pool(2);
    let urls = LocalPeer::urls(&pool);
    let second = pool[1].peer.self_url().clone();
    let is_of_second =
        |url: &String| pool[0].peer.client().owner(url).unwrap().is_some_and(|owner| owner == second);
    let url = (0..200).map(|number| origin.url(&format!("/{number}"))).find(is_of_second).unwrap();
    for peer in &pool {
        peer.peer.set_pool([&urls[0]]).unwrap();
    }
    let stored = pool[0].peer.get(&url).send().unwrap().into_body().into_text().unwrap();
    for peer in &pool {
        peer.peer.set_pool(&urls).unwrap();
    }
    (pool, url, stored)
}

fn get(peer: &LocalPeer, url: &str) -> String {
    peer.peer.get(url).send().unwrap().into_body().into_text().unwrap()
}

#[test]
fn invalidated_response_is_not_copied_from_the_previous_owner() {
    let origin = numbered_origin();
    let (pool, url, stored) = pool_with_moved_url(&origin);
    assert_eq!(get(&pool[1], &url), stored, "the precondition of this test: the stored body is transferred");

    let (pool, url, stored) = pool_with_moved_url(&origin);
    for (name, value) in [("cache-control", "no-cache"), ("pragma", "no-cache"), ("if-match", "\"a\"")] {
        let answer = pool[1].peer.get(&url).header(name, value).send().unwrap();
        let answer = answer.into_body().into_text().unwrap();
        assert_ne!(answer, stored, "{name}");
    }

    let (pool, url, stored) = pool_with_moved_url(&origin);
    pool[1].peer.post(&url).body("").send().unwrap();
    assert_ne!(get(&pool[1], &url), stored, "the stored body is older than the POST");

    let (pool, url, stored) = pool_with_moved_url(&origin);
    let purge = forwardcache::Purge::url(&url).unwrap();
    assert!(pool[1].peer.purge(&purge).is_complete());
    assert_ne!(get(&pool[1], &url), stored, "the URL was purged");
}

#[test]
fn unrelated_changes_keep_the_previous_owner_known() {
    let (origin, other) = (numbered_origin(), numbered_origin());
    let (pool, url, stored) = pool_with_moved_url(&origin);
    let urls = LocalPeer::urls(&pool);
    pool[1].peer.set_pool([&urls[1]]).unwrap();
    pool[1].peer.set_pool(&urls).unwrap();
    let purge = forwardcache::Purge::url(&origin.url("/another")).unwrap();
    assert!(pool[1].peer.purge(&purge).is_complete());
    pool[1].peer.cache().post(&other.url("/")).body("").send().unwrap();
    assert_eq!(get(&pool[1], &url), stored, "the previous owner still has the body, and it is still valid");

    let (pool, url, stored) = pool_with_moved_url(&origin);
    let purge = forwardcache::Purge::prefix(&origin.url("/")).unwrap();
    assert!(pool[1].peer.purge(&purge).is_complete());
    assert_ne!(get(&pool[1], &url), stored, "the URL was purged");
}

#[test]
fn removed_peer_is_not_asked_as_previous_owner() {
    let origin = numbered_origin();
    let pool = LocalPeer::pool(2);
    let urls = LocalPeer::urls(&pool);
    pool[1].peer.set_pool([&urls[0]]).unwrap();
    let url = origin.url("/a");
    let stored = get(&pool[1], &url);
    let before = pool[0].peer.stats().counts();
    pool[1].peer.set_pool([&urls[1]]).unwrap();
    assert_ne!(get(&pool[1], &url), stored);
    assert_eq!(pool[0].peer.stats().counts(), before);
}

#[test]
fn setting_the_same_list_keeps_the_previous_owner() {
    let origin = numbered_origin();
    let (pool, url, stored) = pool_with_moved_url(&origin);
    for peer in &pool {
        peer.peer.set_pool(LocalPeer::urls(&pool)).unwrap();
    }
    assert_eq!(get(&pool[1], &url), stored, "the previous owner is still known");
}
