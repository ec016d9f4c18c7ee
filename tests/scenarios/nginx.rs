//! A peer in front of a real nginx.

use crate::local::LocalPeer;
use crate::support::nginx::Nginx;
use crate::support::raw::{Connection, Response};

const TEXT: &str = "a line of text that compresses well when repeated\n";

fn is_hit(response: &Response) -> bool {
    let cache_status =
        response.field("cache-status").is_some_and(|text| text.starts_with("forwardcache; hit"));
    cache_status && response.field("x-from-cache") == Some("1") && response.field("age").is_some()
}

#[test]
fn fresh_file_is_fetched_once() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.txt", TEXT);
    let url = nginx.url("/fresh/file.txt");

    let first = peer.get(&url);
    assert_eq!((first.status, first.body.as_slice()), (200, TEXT.as_bytes()));
    assert_eq!(
        first.field("cache-status"),
        Some("forwardcache; fwd=uri-miss; fwd-status=200; stored"),
        "{first:?}"
    );
    assert_eq!(first.field("x-from-cache"), None);

    let second = peer.get(&url);
    assert_eq!((second.status, second.body.as_slice()), (200, TEXT.as_bytes()));
    assert!(is_hit(&second), "{second:?}");
    assert!(second.field("age").unwrap().parse::<u64>().is_ok());
    for name in ["etag", "last-modified", "date", "content-type", "content-length"] {
        assert!(first.field(name).is_some(), "{name}");
        assert_eq!(second.field(name), first.field(name), "{name}");
    }
    assert_eq!(nginx.settled_count_of("/fresh/file.txt"), 1);
}

#[test]
fn stale_file_is_revalidated_and_refetched_if_changed() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/stale/file.txt", "first");
    let url = nginx.url("/stale/file.txt");

    assert_eq!(peer.get(&url).body, b"first");
    let confirmed = peer.get(&url);
    assert_eq!((confirmed.status, confirmed.body.as_slice()), (200, &b"first"[..]));
    assert_eq!(
        confirmed.field("cache-status").map(|text| text.contains("fwd=stale; fwd-status=304")),
        Some(true),
        "{confirmed:?}"
    );
    assert_eq!(confirmed.field("x-from-cache"), Some("1"));

    nginx.write("/stale/file.txt", "other");
    let changed = peer.get(&url);
    assert_eq!((changed.status, changed.body.as_slice()), (200, &b"other"[..]));
    assert_eq!(changed.field("x-from-cache"), None);
    assert_eq!(nginx.settled_count_of("/stale/file.txt"), 3);
}

#[test]
fn gzip_and_identity_are_stored_as_separate_variants() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    let text = TEXT.repeat(50);
    nginx.write("/fresh/file.txt", &text);
    let url = nginx.url("/fresh/file.txt");
    let gzip = "Accept-Encoding: gzip\r\n";

    let zipped = peer.get_with(&url, gzip);
    assert_eq!(zipped.field("content-encoding"), Some("gzip"));
    assert_eq!(zipped.field("vary"), Some("Accept-Encoding"));
    let plain = peer.get(&url);
    assert_eq!(plain.field("content-encoding"), None);
    assert_eq!(plain.body, text.as_bytes());
    let asked = nginx.settled_count_of("/fresh/file.txt");

    for _ in 0..2 {
        let again = peer.get_with(&url, gzip);
        assert!(is_hit(&again), "{again:?}");
        assert_eq!(again.field("content-encoding"), Some("gzip"));
        assert!(again.body == zipped.body);
        let again = peer.get(&url);
        assert!(is_hit(&again), "{again:?}");
        assert_eq!(again.field("content-encoding"), None);
        assert!(again.body == text.as_bytes());
    }
    assert_eq!(nginx.settled_count_of("/fresh/file.txt"), asked);

    let mut direct = Connection::open(nginx.address());
    direct.write(format!("GET /fresh/file.txt HTTP/1.1\r\nHost: {}\r\n{gzip}\r\n", nginx.address()));
    assert!(direct.read_response().body == zipped.body);
}

#[test]
fn gzip_is_never_sent_to_a_client_that_does_not_accept_it() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    let text = TEXT.repeat(50);
    nginx.write("/stale/file.txt", &text);
    let url = nginx.url("/stale/file.txt");
    for (fields, coding) in [("Accept-Encoding: gzip\r\n", Some("gzip")), ("", None)].repeat(2) {
        let response = peer.get_with(&url, fields);
        assert_eq!((response.status, response.field("content-encoding")), (200, coding));
        assert_eq!(response.body == text.as_bytes(), coding.is_none());
    }
}

#[test]
fn gzip_is_fetched_although_the_plain_file_is_stored() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    let text = TEXT.repeat(50);
    for folder in ["fresh", "stale"] {
        nginx.write(&format!("/{folder}/file.txt"), &text);
        let url = nginx.url(&format!("/{folder}/file.txt"));
        for (fields, coding) in [("", None), ("Accept-Encoding: gzip\r\n", Some("gzip"))].repeat(2) {
            let response = peer.get_with(&url, fields);
            assert_eq!((response.status, response.field("content-encoding")), (200, coding), "{folder}");
            assert_eq!(response.body.len() < text.len(), coding.is_some(), "{folder}");
        }
    }
}

#[test]
fn range_is_served_from_the_stored_response() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.bin", "0123456789");
    let url = nginx.url("/fresh/file.bin");
    assert_eq!(peer.get(&url).body, b"0123456789");
    for (range, part, content_range) in [
        ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
    ] {
        let response = peer.get_with(&url, &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.body.as_slice()), (206, part), "{range}");
        assert_eq!(response.field("content-range"), Some(content_range));
        assert!(is_hit(&response));
    }
    let beyond = peer.get_with(&url, "Range: bytes=10-\r\n");
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */10")));
    assert_eq!(nginx.settled_count_of("/fresh/file.bin"), 1);
}

#[test]
fn fetched_part_is_not_served_as_the_whole() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.bin", "0123456789");
    let url = nginx.url("/fresh/file.bin");
    let part = peer.get_with(&url, "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &b"234"[..]));
    let whole = peer.get(&url);
    assert_eq!((whole.status, whole.body.as_slice()), (200, &b"0123456789"[..]));
    assert_eq!(nginx.settled_count_of("/fresh/file.bin"), 2);
}

#[test]
fn chunked_response_is_stored() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    let text = TEXT.repeat(5_000);
    nginx.write("/chunked/file.txt", &text);
    let url = nginx.url("/chunked/file.txt");
    assert!(peer.get(&url).body == text.as_bytes());
    let second = peer.get(&url);
    assert!(is_hit(&second) && second.body == text.as_bytes());
    assert_eq!(nginx.settled_count_of("/chunked/file.txt"), 1);
}

#[test]
fn until_close_response_is_passed_and_never_stored() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    let text = TEXT.repeat(5_000);
    nginx.write("/until-close/file.txt", &text);
    let url = nginx.url("/until-close/file.txt");
    for _ in 0..2 {
        let response = peer.get(&url);
        assert!(response.status == 200 && response.body == text.as_bytes());
        let cache_status = response.field("cache-status").unwrap();
        assert!(cache_status.ends_with("detail=end-not-proven"), "{cache_status}");
        assert_eq!(response.field("x-from-cache"), None);
    }
    assert_eq!(nginx.settled_count_of("/until-close/file.txt"), 2);
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
}

#[test]
fn no_store_response_is_not_stored() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/no-store/file.txt", TEXT);
    let url = nginx.url("/no-store/file.txt");
    for _ in 0..2 {
        let response = peer.get(&url);
        assert_eq!((response.status, response.body.as_slice()), (200, TEXT.as_bytes()));
        assert_eq!(response.field("x-from-cache"), None);
    }
    assert_eq!(nginx.settled_count_of("/no-store/file.txt"), 2);
    assert_eq!(peer.peer.cache().store().usage().keys, 0);
}

#[test]
fn peer_returns_redirects_and_the_agent_follows_them() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/moved.txt", TEXT);
    let response = peer.get(&nginx.url("/status/301"));
    assert_eq!(response.status, 301);
    assert_eq!(response.field("location"), Some(nginx.url("/fresh/moved.txt").as_str()));
    assert_eq!(nginx.settled_count_of("/fresh/moved.txt"), 0);

    let agent = forwardcache::agent(peer.client());
    for _ in 0..2 {
        let mut response = agent.get(nginx.url("/status/301")).call().unwrap();
        assert_eq!(response.body_mut().read_to_string().unwrap(), TEXT);
    }
    assert_eq!(nginx.settled_count_of("/fresh/moved.txt"), 1);
}

#[test]
fn statuses_are_passed_on() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    for status in [404, 410, 500] {
        let response = peer.get(&nginx.url(&format!("/status/{status}")));
        assert_eq!((response.status, &response.body), (status, &format!("{status}\n").into_bytes()));
        assert_eq!(response.field("forwardcache-error"), None);
    }
}

#[test]
fn head_is_answered_from_the_stored_get() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.txt", TEXT);
    let url = nginx.url("/fresh/file.txt");
    let length = TEXT.len().to_string();

    let first = peer.send("HEAD", &url, "");
    assert_eq!((first.status, first.field("content-length")), (200, Some(length.as_str())));
    nginx.settle();
    assert_eq!(nginx.served(), ["HEAD /fresh/file.txt HTTP/1.1"]);

    // The response to a HEAD cannot answer a GET.
    assert_eq!(peer.get(&url).body, TEXT.as_bytes());
    let again = peer.send("HEAD", &url, "");
    assert!(is_hit(&again), "{again:?}");
    assert_eq!((again.status, again.field("content-length")), (200, Some(length.as_str())));
    assert_eq!(again.field("etag"), first.field("etag"));
    assert_eq!(nginx.settled_count_of("/fresh/file.txt"), 2);
}

#[test]
fn conditional_request_gets_304_from_the_peer() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.txt", TEXT);
    let url = nginx.url("/fresh/file.txt");
    let stored = peer.get(&url);
    let etag = stored.field("etag").unwrap();
    let modified = stored.field("last-modified").unwrap();
    for condition in [format!("If-None-Match: {etag}\r\n"), format!("If-Modified-Since: {modified}\r\n")] {
        let response = peer.get_with(&url, &condition);
        assert_eq!((response.status, response.body.len()), (304, 0), "{condition}");
        assert_eq!(response.field("etag"), Some(etag));
    }
    let other = peer.get_with(&url, "If-None-Match: \"another\"\r\n");
    assert_eq!((other.status, other.body.as_slice()), (200, TEXT.as_bytes()));
    assert_eq!(nginx.settled_count_of("/fresh/file.txt"), 1);
}

#[test]
fn post_is_always_forwarded() {
    let (nginx, peer) = (Nginx::start(), LocalPeer::start());
    nginx.write("/fresh/file.txt", TEXT);
    let url = nginx.url("/fresh/file.txt");
    peer.get(&url);
    for _ in 0..2 {
        let response = peer.send("POST", &url, "Content-Length: 0\r\n");
        assert_eq!(response.status, 405);
        assert!(response.field("cache-status").unwrap().contains("fwd=method"));
    }
    // A failed POST does not invalidate the stored response.
    assert!(is_hit(&peer.get(&url)));
    nginx.settle();
    let posts = nginx.served().iter().filter(|line| line.starts_with("POST /fresh/file.txt ")).count();
    assert_eq!((posts, nginx.served().len()), (2, 3));
}
