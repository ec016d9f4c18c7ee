use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ran, files, get_in, read, start_in};
use crate::processes::PeerProcess;
use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::wait_until;

const SIZE: usize = 1 << 20;
const TAG: &str = "\"a\"";

/// The body of a version.
fn body(version: u8) -> Vec<u8> {
    (0..251).cycle().take(SIZE).map(|byte: u8| byte.wrapping_add(version)).collect()
}

/// The response to a request that may have `Range` and `If-Range`.
fn ranged(received: &Received, tag: &str, version: u8) -> Reply {
    let body = body(version);
    let from = received.field("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from = from.map(|from| from.parse::<usize>().unwrap());
    match from.filter(|_| received.field("if-range").is_none_or(|condition| condition == tag)) {
        Some(from) => Reply::status(206)
            .field("Content-Range", format!("bytes {from}-{}/{SIZE}", SIZE - 1))
            .body(&body[from..]),
        None => Reply::ok(body),
    }
    .field("ETag", tag)
}

/// Runs a transfer that is cut off in the middle.
fn cut(folder: &Path, arguments: &[&str]) {
    let ran = get_in(folder, arguments);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let length = fs::metadata(folder.join("file.part")).unwrap().len();
    assert!((1..SIZE as u64).contains(&length) && !folder.join("file").exists(), "{length}");
}

fn expect_file(folder: &Path, version: u8) {
    assert!(fs::read(folder.join("file")).unwrap() == body(version));
    assert_eq!(files(folder), ["file"]);
}

/// An origin whose first response is cut off, and whose later ones are those of `next`.
fn cut_once(tag: &'static str, next: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |received| match count.fetch_add(1, Ordering::Relaxed) {
        0 => ranged(received, tag, 0).cut_after(SIZE / 2),
        _ => next(received),
    })
}

#[test]
fn rest_of_the_same_response_is_requested() {
    let origin = cut_once(TAG, |received| ranged(received, TAG, 0));
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-C", "-", "-o", "file", &origin.url("/a?secret")];
    let ran = get_in(folder.path(), arguments);
    ran.expect_failure(1, "; -C - continues file.part");
    assert!(!ran.stderr.contains("secret") && !read(folder.path(), "file.part.meta").contains("secret"));
    let length = fs::metadata(folder.path().join("file.part")).unwrap().len();
    let ran = get_in(folder.path(), [&["--json"], &arguments[..]].concat());
    ran.printed();
    expect_file(folder.path(), 0);
    let seen = &origin.seen()[1];
    assert_eq!(seen.field("range"), Some(format!("bytes={length}-").as_str()));
    assert_eq!(seen.field("if-range"), Some(TAG));
    let json = &ran.json()[0];
    assert_eq!(
        (&json["continued_at"], &json["bytes"], &json["status"]),
        (&length.into(), &SIZE.into(), &206.into())
    );
}

#[test]
fn other_responses_begin_anew() {
    type Next = fn(&Received) -> Reply;
    let cases: [(&str, &'static str, Next, u8); 5] = [
        ("the representation has changed", TAG, |received| ranged(received, "\"b\"", 7), 7),
        ("the origin ignores ranges", TAG, |_| Reply::ok(body(0)).field("ETag", TAG), 0),
        (
            "the origin ignores If-Range",
            TAG,
            |received| match received.field("range") {
                Some(_) => Reply::status(206)
                    .field("Content-Range", format!("bytes {}-{}/{SIZE}", SIZE - 9, SIZE - 1))
                    .field("ETag", "\"b\"")
                    .body(&body(7)[SIZE - 9..]),
                None => ranged(received, "\"b\"", 7),
            },
            7,
        ),
        (
            "the range does not exist",
            TAG,
            |received| match received.field("range") {
                Some(_) => Reply::status(416).field("Content-Range", "bytes */9"),
                None => ranged(received, "\"b\"", 7),
            },
            7,
        ),
        ("the validator is weak", "W/\"a\"", |received| ranged(received, "W/\"a\"", 7), 7),
    ];
    for (case, tag, next, version) in cases {
        let origin = cut_once(tag, next);
        let folder = tempfile::tempdir().unwrap();
        let url = origin.url("/a");
        cut(folder.path(), &["-o", "file", &url]);
        let ran = get_in(folder.path(), ["-C", "-", "-o", "file", &url]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{case}");
        expect_file(folder.path(), version);
        let ranges = origin.seen().iter().filter(|received| received.field("range").is_some()).count();
        assert_eq!(ranges, usize::from(tag == TAG), "{case}");
    }
}

#[test]
fn error_status_keeps_the_part() {
    let failed = AtomicUsize::new(0);
    let origin = cut_once(TAG, move |received| match failed.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::status(503),
        _ => ranged(received, TAG, 0),
    });
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-C", "-", "-o", "file", &origin.url("/a")];
    cut(folder.path(), &arguments);
    get_in(folder.path(), arguments).expect_failure(5, "file is not written");
    get_in(folder.path(), arguments).printed();
    expect_file(folder.path(), 0);
    assert!(origin.seen()[2].field("range").is_some());
}

#[test]
fn part_of_another_url_and_run_without_the_flag_begin_anew() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/cut" => ranged(received, TAG, 0).cut_after(SIZE / 2),
        _ => ranged(received, TAG, 7),
    });
    for (arguments, target) in [(&["-C", "-"][..], "/other"), (&[], "/cut")] {
        let folder = tempfile::tempdir().unwrap();
        cut(folder.path(), &["-o", "file", &origin.url("/cut")]);
        let count = origin.count();
        let ran = get_in(folder.path(), [arguments, &["-o", "file", &origin.url(target)]].concat());
        assert_eq!(ran.code, Some(i32::from(target == "/cut")), "{ran:?}");
        assert_eq!(origin.seen()[count].field("range"), None);
    }
}

#[test]
fn killed_download_continues_after_a_restart_of_the_peer() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        let count = AtomicUsize::new(0);
        Origin::start(move |received| match count.fetch_add(1, Ordering::Relaxed) {
            0 => ranged(received, TAG, 0).gate_body(SIZE / 2, &gate),
            _ => ranged(received, TAG, 0),
        })
    };
    let mut peer = PeerProcess::start();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--peers-only", "--peer", &peer.url(), "-C", "-", "-o", "file", &origin.url("/a")]
        .map(str::to_owned);
    let mut process = start_in(folder.path(), &arguments);
    let part = folder.path().join("file.part");
    wait_until("a part arrives", || fs::metadata(&part).is_ok_and(|part| part.len() >= SIZE as u64 / 4));
    process.kill();
    peer.restart();
    gate.open();
    let length = fs::metadata(&part).unwrap().len();
    let ran = get_in(folder.path(), [&["--json".to_owned()], &arguments[..]].concat());
    ran.printed();
    expect_file(folder.path(), 0);
    assert_eq!(ran.json()[0]["continued_at"], length);
    assert_eq!(ran.json()[0]["peer"], peer.url());
    assert_eq!(origin.count(), 2);
}

#[test]
fn damaged_metadata_begins_anew() {
    let origin = cut_once(TAG, |received| ranged(received, TAG, 0));
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-C", "-", "-o", "file", &origin.url("/a")];
    cut(folder.path(), &arguments);
    let meta = folder.path().join("file.part.meta");
    let text = fs::read_to_string(&meta).unwrap();
    fs::write(&meta, &text[..text.len() - 1]).unwrap();
    let ran: Ran = get_in(folder.path(), arguments);
    ran.printed();
    expect_file(folder.path(), 0);
    assert_eq!(origin.seen()[1].field("range"), None);
}
