use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ran, files, get, get_in, read, start_in};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply, in_order};
use crate::support::port::Port;

const QUICKLY: [&str; 2] = ["--retry-delay", "0.001"];

#[test]
fn temporary_failures_are_repeated_up_to_the_limit() {
    type Answer = fn() -> Reply;
    let cases: [(&str, Answer, &[&str], i32, u32); 12] = [
        ("503", || Reply::status(503), &["--retry", "2"], 5, 3),
        ("429", || Reply::status(429), &["--retry", "1"], 4, 2),
        ("408", || Reply::status(408), &["--retry", "1"], 4, 2),
        ("without --retry", || Reply::status(503), &[], 5, 1),
        ("404", || Reply::status(404), &["--retry", "2"], 4, 1),
        ("500", || Reply::status(500), &["--retry", "2"], 5, 1),
        ("an idempotent method", || Reply::status(503), &["--retry", "2", "-X", "DELETE"], 5, 3),
        ("POST", || Reply::status(503), &["--retry", "2", "-d", "x"], 5, 1),
        ("Retry-After", || Reply::status(503).field("Retry-After", "0"), &["--retry", "2"], 5, 3),
        ("a long pause", || Reply::status(503).field("Retry-After", "301"), &["--retry", "2"], 5, 1),
        (
            "no time for a pause",
            || Reply::status(503).field("Retry-After", "200"),
            &["--retry", "2", "--max-time", "100"],
            5,
            1,
        ),
        ("a complete response", || Reply::ok("x"), &["--retry", "2"], 0, 1),
    ];
    for (case, answer, flags, code, count) in cases {
        let origin = Origin::start(move |_| answer());
        let ran = get([flags, &QUICKLY, &["--json", &origin.url("/")]].concat());
        assert_eq!(ran.code, Some(code), "{case}: {ran:?}");
        assert_eq!((origin.count(), &ran.json()[0]["attempts"]), (count as usize, &count.into()), "{case}");
        assert!(ran.stderr.lines().count() <= 1, "{case}: {ran:?}");
    }
}

#[test]
fn request_that_was_not_sent_is_repeated_whatever_its_method() {
    let port = Port::hold();
    let url = format!("http://{}", port.address());
    let post = ["--retry", "3", "-d", "x", "--json"];
    let through_pool = ["--peers-only", "--peer", &url, "http://host/"];
    let ran = get([&post[..], &QUICKLY, &through_pool].concat());
    assert_eq!((ran.code, &ran.json()[0]["attempts"]), (Some(1), &4.into()), "{ran:?}");
    let ran = get([&post[..], &QUICKLY, &[&url]].concat());
    ran.expect_failure(1, "refused");
    let json = &ran.json()[0];
    assert_eq!(
        (&json["attempts"], &json["error_kind"], &json["status"]),
        (&4.into(), &"unreachable".into(), &().into())
    );
}

#[test]
fn request_that_was_sent_is_repeated_only_if_it_is_idempotent() {
    let origin = Origin::start(|_| Reply::nothing());
    let ran = get([&["--retry", "1", "-d", "x", &origin.url("/post")], &QUICKLY[..]].concat());
    assert_eq!((ran.code, origin.count()), (Some(1), 1), "{ran:?}");
}

#[test]
fn peer_that_starts_later_answers() {
    let origin = Origin::start(Reply::target);
    let port = Port::hold();
    let address = port.address();
    let peer = format!("http://{address}");
    let pool = ["-v", "--peers-only", "--peer", &peer, "--retry", "100", "--retry-delay", "0.2"];
    let process = start_in(Path::new("."), [&pool[..], &[&origin.url("/a")]].concat());
    process.wait_for_line("attempt 1 failed, the next one follows in 200ms");
    port.release();
    let _peer = PeerProcess::start_on(&address);
    let ran = Ran::of(process);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "/a"), "{ran:?}");
}

#[test]
fn later_success_leaves_no_trace_of_failures() {
    let answers = [Reply::status(503).body("busy"), Reply::status(429), Reply::ok("body")];
    let origin = Origin::start(in_order(answers));
    assert_eq!(get([&["--retry", "2", &origin.url("/")], &QUICKLY[..]].concat()).printed(), "body");
}

#[test]
fn body_that_breaks_off_is_continued_or_begun_anew() {
    let body = "0123456789".repeat(30_000);
    for (has_tag, prints) in [(true, true), (true, false), (false, false), (false, true)] {
        let count = AtomicUsize::new(0);
        let origin = {
            let body = body.clone();
            Origin::start(move |received| {
                let from =
                    received.field("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
                let reply = match from.map(|from| from.parse::<usize>().unwrap()) {
                    Some(from) => Reply::status(206)
                        .field("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len()))
                        .body(&body.as_bytes()[from..]),
                    None => Reply::ok(body.clone()),
                };
                let reply = if has_tag { reply.field("ETag", "\"a\"") } else { reply };
                if count.fetch_add(1, Ordering::Relaxed) == 0 { reply.cut_after(200_000) } else { reply }
            })
        };
        let folder = tempfile::tempdir().unwrap();
        let flags = if prints { &["--retry", "1"][..] } else { &["--retry", "1", "-o", "file"] };
        let ran = get_in(folder.path(), [flags, &QUICKLY, &[&origin.url("/")]].concat());
        if prints && !has_tag {
            // Printed bytes cannot be taken back.
            assert_eq!((ran.code, origin.count()), (Some(1), 1));
            assert!(body.starts_with(&ran.stdout) && ran.stdout.len() >= 100_000);
            continue;
        }
        assert_eq!((ran.code, ran.stderr.as_str(), origin.count()), (Some(0), "", 2));
        assert_eq!(origin.seen()[1].field("range").is_some(), has_tag);
        if prints {
            assert!(ran.stdout == body);
        } else {
            assert!(read(folder.path(), "file") == body);
            assert_eq!(files(folder.path()), ["file"]);
        }
    }
}

#[test]
fn response_that_changes_after_it_was_printed_is_an_error() {
    let body = "x".repeat(300_000);
    for later in [Reply::ok("y").field("ETag", "\"b\""), Reply::status(404).body("gone")] {
        let count = AtomicUsize::new(0);
        let first = Reply::ok(body.clone()).field("ETag", "\"a\"").cut_after(200_000);
        let origin = Origin::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => first.clone(),
            _ => later.clone(),
        });
        let ran = get([&["--retry", "1", &origin.url("/")], &QUICKLY[..]].concat());
        ran.expect_failure(1, "has changed");
        assert!(body.starts_with(&ran.stdout));
    }
}
