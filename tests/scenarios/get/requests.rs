use std::fs;
use std::process::Stdio;

use super::{Ran, get, get_in};
use crate::command::assert_refuses;
use crate::local::LocalPeer;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::process::{Process, command};

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the method of a received request, the type of its content, and the content.
fn content(received: &Received) -> (&str, Option<&str>, &[u8]) {
    (received.method.as_str(), received.field("content-type"), &received.body)
}

#[test]
fn method_and_content_are_those_of_curl() {
    let peer = LocalPeer::start();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "a=1\r\nb\0=2\n").unwrap();
    for (arguments, expected) in [
        (&[][..], ("GET", None, &b""[..])),
        (&["-I"], ("HEAD", None, b"")),
        (&["-X", "PUT"], ("PUT", None, b"")),
        (&["-X", "REPORT", "-d", "x"], ("REPORT", Some(FORM), b"x")),
        (&["-d", "a=1", "-d", "b=2"], ("POST", Some(FORM), b"a=1&b=2")),
        (&["--data", "-1"], ("POST", Some(FORM), b"-1")),
        (&["-d", ""], ("POST", Some(FORM), b"")),
        (&["-d", "@data"], ("POST", Some(FORM), b"a=1b=2")),
        (&["-d", "{}", "-H", "Content-Type: application/json"], ("POST", Some("application/json"), b"{}")),
        (&["--data-binary", "@data"], ("POST", Some(FORM), b"a=1\r\nb\0=2\n")),
        (&["--data-binary", "a\n", "--data-binary", "@data"], ("POST", Some(FORM), b"a\n&a=1\r\nb\0=2\n")),
    ] {
        let origin = Origin::start(|_| Reply::ok("answer"));
        let url = origin.url("/");
        for pool in [&[][..], &["--peer", &peer.url()]] {
            let ran = get_in(folder.path(), [pool, arguments, &[&url]].concat());
            let printed = ran.printed();
            if arguments == ["-I"] {
                assert!(printed.starts_with("HTTP/1.1 200 OK\r\n") && printed.ends_with("\r\n\r\n"));
            } else {
                assert_eq!(printed, "answer", "{arguments:?}");
            }
        }
        let seen = origin.seen();
        assert_eq!(seen.len(), 2);
        seen.iter().for_each(|received| assert_eq!(content(received), expected, "{arguments:?}"));
    }
}

#[test]
fn content_and_fields_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::write(&input, "X-One: 1\n\nX-Two: 2\n").unwrap();
    let origin = Origin::start(|_| Reply::ok("answer"));
    for arguments in [["-d", "@-"], ["--data-binary", "@-"], ["-H", "@-"]] {
        let command = command(["get", arguments[0], arguments[1], &origin.url("/")]);
        let process = Process::start_with(command, Stdio::from(fs::File::open(&input).unwrap())).unwrap();
        assert_eq!(Ran::of(process).printed(), "answer");
    }
    let seen = origin.seen();
    assert_eq!(content(&seen[0]), ("POST", Some(FORM), &b"X-One: 1X-Two: 2"[..]));
    assert_eq!(content(&seen[1]), ("POST", Some(FORM), &b"X-One: 1\n\nX-Two: 2\n"[..]));
    assert_eq!((seen[2].field("x-one"), seen[2].field("x-two")), (Some("1"), Some("2")));
}

#[test]
fn fields_of_flags_are_sent_and_replaced_by_those_of_header() {
    let (peer, folder) = (LocalPeer::start(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("fields"), "Authorization: Bearer abc\r\n\r\nX-File: yes\r\n").unwrap();
    for (arguments, expected) in [
        (&["-A", "mine/1"][..], &[("user-agent", "mine/1")][..]),
        (&["-A", "mine/1", "-H", "User-Agent: other"], &[("user-agent", "other")]),
        (&["-u", "Aladdin:open sesame"], &[("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]),
        (&["-u", "a:b", "-H", "@fields"], &[("authorization", "Bearer abc"), ("x-file", "yes")]),
        (&["-H", "@fields", "-H", "X-One: 1"], &[("x-file", "yes"), ("x-one", "1")]),
        (&["--reload"], &[("cache-control", "no-cache")]),
    ] {
        let origin = Origin::start(|_| Reply::ok("answer"));
        for pool in [&[][..], &["--peer", &peer.url()]] {
            let ran = get_in(folder.path(), [pool, arguments, &[&origin.url("/")]].concat());
            assert_eq!(ran.printed(), "answer");
        }
        for received in origin.seen() {
            for (name, value) in expected {
                let values: Vec<_> = received.headers.get_all(*name).iter().collect();
                assert_eq!(values, [value], "{arguments:?}");
            }
        }
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn password_is_never_printed() {
    let origin = Origin::start(|_| Reply::status(401));
    let peer = LocalPeer::start();
    for arguments in [&["-v", "--json"][..], &["-v", "-i", "--retry", "1"], &["-v", "--peer", &peer.url()]] {
        let ran = get([arguments, &["-u", "user:secret", &origin.url("/")]].concat());
        assert_eq!(ran.code, Some(4), "{ran:?}");
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!all.contains("secret") && !all.contains("dXNlcjpzZWNyZXQ"), "{all}");
    }
}

#[test]
fn cache_modes_decide_on_the_use_of_stored_responses() {
    let store = tempfile::tempdir().unwrap();
    let peer = LocalPeer::start();
    for cache in [["--store", store.path().to_str().unwrap()], ["--peer", &peer.url()]] {
        let origin = Origin::start(|received| match received.field("if-none-match") {
            Some("\"a\"") => Reply::status(304).field("ETag", "\"a\""),
            _ => Reply::target(received).field("ETag", "\"a\""),
        });
        let url = origin.url("/a");
        let get = |mode: &[&str]| get([&cache[..], mode, &[&url]].concat());
        let ran = get(&["--only-if-cached"]);
        assert_eq!((ran.code, origin.count()), (Some(5), 0), "{ran:?}");
        assert_eq!(get(&[]).printed(), "/a");
        assert_eq!((get(&["--only-if-cached"]).printed(), origin.count()), ("/a", 1));
        assert_eq!((get(&["--reload"]).printed(), origin.count()), ("/a", 2));
        assert_eq!(origin.seen()[1].field("if-none-match"), Some("\"a\""));
    }
}

#[test]
fn invalid_arguments_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fields = folder.path().join("fields");
    fs::write(&fields, "X-One: 1\nsecret\n").unwrap();
    let fields = format!("@{}", fields.display());
    for (arguments, words) in [
        (&["http://h/a", "foo"][..], "absolute"),
        (&["-O", "http://h/"], "-O: http://h/: the path ends without a file name"),
        (&["-O", "http://h/a", "http://h/?q=secret"], "-O: http://h/"),
        (&["-O", "http://h/..%2F..%2Fetc%2Fpasswd"], "not a valid file name"),
        (&["-O", "http://h/b/a", "http://h/a"], "same file a"),
        (&["-O", "-o", "x", "http://h/a"], "--remote-name"),
        (&["-o", "x", "http://h/a", "http://h/b"], "-o names 1 file for 2 URLs"),
        (&["-o", "", "http://h/a"], "--output <FILE>"),
        (&["-o", "/", "http://h/a"], "-o /: not the name of a file"),
        (&["-C", "-", "http://h/a"], "-C requires a file"),
        (&["-C", "100", "-o", "x", "http://h/a"], "100"),
        (&["-C", "-", "-i", "-o", "x", "http://h/a"], "--include"),
        (&["-C", "-", "-d", "x", "-o", "x", "http://h/a"], "--data"),
        (&["-C", "-", "-H", "Range: bytes=1-", "-o", "x", "http://h/a"], "-H Range"),
        (&["-f", "--include-errors", "-O", "http://h/a"], "--include-errors"),
        (&["-X", "a b", "http://h/a"], "not a valid method"),
        (&["-X", "CONNECT", "http://h/a"], "tunnel"),
        (&["-I", "-d", "x", "http://h/a"], "--data"),
        (&["-I", "-X", "GET", "http://h/a"], "--request"),
        (&["-d", "x", "--data-binary", "y", "http://h/a"], "--data-binary"),
        (&["-d", "@/no/such/file", "http://h/a"], "-d @/no/such/file"),
        (&["-H", "@/no/such/file", "http://h/a"], "-H @/no/such/file"),
        (&["-H", &fields, "http://h/a"], "line 2: write it as 'Name: value'"),
        (&["-A", "a\nb", "http://h/a"], "-A"),
        (&["-u", "secret", "http://h/a"], "-u requires USER:PASSWORD"),
        (&["-u", "user:sec\nret-secret", "http://h/a"], "-u"),
        (&["--retry", "101", "http://h/a"], "101"),
        (&["--retry-delay", "0", "http://h/a"], "--retry-delay"),
        (&["--parallel", "0", "http://h/a"], "1..=64"),
        (&["--parallel", "65", "http://h/a"], "1..=64"),
        (&["--parallel", "2", "http://h/a", "http://h/b"], "--parallel cannot print"),
        (&["--json", "-o", "-", "http://h/a"], "--json"),
        (&["--reload", "--only-if-cached", "http://h/a"], "--only-if-cached"),
        (&["--reload", "--offline", "http://h/a"], "--offline"),
        (&["--peers-only", "http://h/a"], "--peers-only requires"),
    ] {
        assert_refuses(&[&["get"], arguments].concat(), 2, words);
    }
}
