use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::{files, get_in, read, start_in};
use crate::support::origin::{Gate, Origin, Reply};

#[test]
fn remote_names_are_the_decoded_ends_of_the_paths() {
    let origin = Origin::start(|received| Reply::ok(received.target.clone()));
    let folder = tempfile::tempdir().unwrap();
    let urls = ["/x/a.txt?q=1", "/b%20c", "/.hidden"].map(|target| origin.url(target));
    assert_eq!(get_in(folder.path(), [&["-O".to_owned()], &urls[..]].concat()).printed(), "");
    assert_eq!(files(folder.path()), [".hidden", "a.txt", "b c"]);
    assert_eq!(read(folder.path(), "a.txt"), "/x/a.txt?q=1");
    let ran = get_in(folder.path(), ["-o", "one", "-o", "-", &urls[0], &urls[1]]);
    assert_eq!((ran.printed(), read(folder.path(), "one").as_str()), ("/b%20c", "/x/a.txt?q=1"));
}

#[test]
fn only_a_complete_successful_response_replaces_a_file() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/empty" => Reply::ok(""),
        "/moved" => Reply::status(302).field("Location", "/new").body("moved"),
        "/same" => Reply::status(304).field("ETag", "\"a\""),
        "/missing" => Reply::status(404).body("missing"),
        "/broken" => Reply::status(503).body("broken"),
        "/cut" => Reply::ok("x".repeat(300_000)).cut_after(200_000),
        _ => Reply::ok("new"),
    });
    for (target, flags, code, message, content) in [
        ("/new", &[][..], 0, "", "new"),
        ("/empty", &[], 0, "", ""),
        ("/moved", &[], 0, "", "moved"),
        ("/moved", &["-L"], 0, "", "new"),
        ("/same", &["-H", "If-None-Match: \"a\""], 0, "", "old"),
        ("/missing", &[], 4, "/missing; file is not written", "old"),
        ("/missing", &["--include-errors"], 4, "", "missing"),
        ("/broken", &[], 5, "/broken; file is not written", "old"),
        ("/broken", &["--include-errors"], 5, "", "broken"),
        ("/cut", &[], 1, "/cut", "old"),
        ("/cut", &["--include-errors"], 1, "/cut", "old"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "old").unwrap();
        let ran = get_in(folder.path(), [flags, &["-o", "file", &origin.url(target)]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{target}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), usize::from(!message.is_empty()), "{target}: {ran:?}");
        assert!(ran.stderr.contains(message), "{target}: {ran:?}");
        assert_eq!(read(folder.path(), "file"), content, "{target}");
        let expected: &[&str] = if target == "/cut" { &["file", "file.part"] } else { &["file"] };
        assert_eq!(files(folder.path()), expected, "{target}");
    }
}

#[test]
fn old_file_stays_until_the_new_one_is_complete() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |_| Reply::ok("x".repeat(300_000)).gate_body(100_000, &gate))
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "old").unwrap();
    let process = start_in(folder.path(), ["-o", "file", &origin.url("/")]);
    origin.wait_for(1);
    // Another process does not interfere.
    let other = origin.url("/other");
    get_in(folder.path(), ["-o", "file", &other]).expect_failure(1, "another process is writing");
    assert_eq!((read(folder.path(), "file").as_str(), origin.count_of("/other")), ("old", 0));
    gate.open();
    super::Ran::of(process).printed();
    assert_eq!((read(folder.path(), "file").len(), files(folder.path()).len()), (300_000, 1));
}

#[test]
fn file_that_is_not_regular_is_written_and_not_replaced() {
    let origin = Origin::start(|_| Reply::ok("body"));
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = {
        let fifo = fifo.clone();
        thread::spawn(move || fs::read_to_string(fifo).unwrap())
    };
    get_in(folder.path(), ["-o", "fifo", &origin.url("/")]).printed();
    assert_eq!((reader.join().unwrap().as_str(), files(folder.path()).len()), ("body", 1));
    get_in(folder.path(), ["-o", "/dev/full", &origin.url("/")]).expect_failure(1, "/dev/full: No space");
    assert!(!Path::new("/dev/full").is_file() && !Path::new("/dev/full.part").exists());
}

#[cfg(unix)]
#[test]
fn symbolic_link_is_followed_unless_its_name_comes_from_the_url() {
    let origin = Origin::start(|_| Reply::ok("new"));
    let folder = tempfile::tempdir().unwrap();
    let [inside, outside] = ["inside", "outside"].map(|name| folder.path().join(name));
    fs::create_dir(&inside).unwrap();
    for (flags, content) in [(&["-o", "link"][..], "new"), (&["-O"], "old")] {
        fs::write(&outside, "old").unwrap();
        std::os::unix::fs::symlink("../outside", inside.join("link")).unwrap();
        get_in(&inside, [flags, &[&origin.url("/link")]].concat()).printed();
        assert_eq!(
            (read(&inside, "link").as_str(), read(folder.path(), "outside").as_str()),
            ("new", content)
        );
        assert_eq!((files(&inside).len(), files(folder.path()).len()), (1, 2));
        fs::remove_file(inside.join("link")).unwrap();
    }
}

#[test]
fn file_that_cannot_be_written_is_named_before_a_request_is_sent() {
    let origin = Origin::start(|_| Reply::ok("body")).may_be_unused();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("folder/a.part")).unwrap();
    let long = "x".repeat(255);
    for (file, words) in [
        ("folder", "cannot write folder: it is a directory"),
        ("none/a", "cannot write none/a.part: No such file"),
        ("folder/a", "a.part"),
        (&long, "too long"),
    ] {
        get_in(folder.path(), ["-o", file, &origin.url("/")]).expect_failure(1, words);
    }
    assert_eq!((origin.count(), files(folder.path()).len()), (0, 1));
}

#[test]
fn head_precedes_the_body_in_a_file() {
    let origin = Origin::start(|_| Reply::ok("body").field("X-One", "1"));
    let folder = tempfile::tempdir().unwrap();
    for (flag, end) in [("-i", "\r\n\r\nbody"), ("-I", "\r\n\r\n")] {
        get_in(folder.path(), [flag, "-o", "file", &origin.url("/")]).printed();
        let text = read(folder.path(), "file");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(end), "{text}");
        assert!(text.contains("\r\nx-one: 1\r\n"), "{text}");
    }
}
