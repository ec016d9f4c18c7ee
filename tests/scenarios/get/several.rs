use std::fs;

use super::{Ran, files, get, get_in, read, start_in};
use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Reply};
use crate::support::port::Port;
use crate::support::process::command;
use crate::support::wait_until;

#[test]
fn bodies_are_printed_in_the_order_of_the_urls_and_as_they_arrive() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| match received.target.as_str() {
            "/slow" => Reply::ok("slow body;").chunked().gate_body(4, &gate),
            target => Reply::ok(format!("{target};")),
        })
    };
    let urls = ["/a", "/slow", "/b"].map(|target| origin.url(target));
    let process = start_in(std::path::Path::new("."), &urls);
    wait_until("the first bytes are printed", || process.stdout() == "/a;slow");
    gate.open();
    assert_eq!(Ran::of(process).printed(), "/a;slow body;/b;");
}

#[test]
fn failure_of_one_url_does_not_stop_the_others_and_the_worst_decides() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/404" => Reply::status(404),
        "/500" => Reply::status(500),
        "/cut" => Reply::ok("x".repeat(300_000)).cut_after(200_000),
        _ => Reply::ok("body"),
    });
    for (targets, code, lines) in [
        (&["/a", "/b"][..], 0, 0),
        (&["/404", "/a"], 4, 1),
        (&["/500", "/404", "/a"], 5, 2),
        (&["/cut", "/500", "/404", "/a"], 1, 3),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let urls: Vec<_> = targets.iter().map(|target| origin.url(target)).collect();
        let run = |flag: &str| {
            get_in(folder.path(), [flag, "-O"].into_iter().chain(urls.iter().map(String::as_str)))
        };
        for flag in ["--parallel=1", "--parallel=4", "-sS"] {
            let ran = run(flag);
            assert_eq!((ran.code, ran.stderr.lines().count()), (Some(code), lines), "{targets:?}: {ran:?}");
            for target in targets.iter().filter(|target| ["/404", "/500", "/cut"].contains(*target)) {
                assert!(ran.stderr.lines().any(|line| line.contains(target)), "{target}: {ran:?}");
            }
            assert_eq!(read(folder.path(), "a"), "body");
            fs::remove_file(folder.path().join("a")).unwrap();
        }
        let ran = run("-s");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{targets:?}");
    }
}

#[test]
fn body_of_an_error_is_printed_unless_it_is_unwanted() {
    let origin = Origin::start(|_| Reply::status(404).body("missing"));
    let url = origin.url("/a");
    for (flags, stdout, lines) in
        [(&[][..], "missing", 0), (&["-f"], "", 1), (&["-fi"], "", 1), (&["-fs"], "", 0)]
    {
        let ran = get([flags, &[&url]].concat());
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.lines().count()),
            (Some(4), stdout, lines),
            "{flags:?}"
        );
    }
}

#[test]
fn several_urls_are_fetched_at_the_same_time() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| Reply::ok(received.target.clone()).gate_head(&gate))
    };
    let folder = tempfile::tempdir().unwrap();
    let urls = (0..6).map(|number| origin.url(&format!("/{number}")));
    let arguments = ["--parallel", "3", "-O"].map(str::to_owned).into_iter().chain(urls);
    let process = start_in(folder.path(), arguments);
    origin.wait_for(3);
    wait_until("three files are open", || files(folder.path()).len() == 3);
    gate.open();
    Ran::of(process).printed();
    assert_eq!(files(folder.path()), ["0", "1", "2", "3", "4", "5"]);
    assert!((0..6).all(|number| read(folder.path(), &number.to_string()) == format!("/{number}")));
}

#[test]
fn json_has_a_line_for_each_url() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/missing" => Reply::status(404).body("missing"),
        _ => Reply::target(received),
    });
    let peer = LocalPeer::start();
    let port = Port::hold();
    let refused = format!("http://{}/?q=1", port.address());
    let urls = [origin.url("/a"), origin.url("/a"), origin.url("/missing"), refused];
    let flags = ["--json", "--peer", &peer.url()].map(str::to_owned);
    let ran = get(flags.iter().chain(&urls));
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{ran:?}");
    let lines = ran.json();
    let column = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("url"), urls);
    assert_eq!(column("status"), [200.into(), 200.into(), 404.into(), serde_json::Value::Null]);
    assert_eq!(column("outcome")[..3], ["miss", "hit", "miss"]);
    assert_eq!(column("bytes"), [2, 2, 7, 0]);
    assert_eq!(column("peer")[..2], [peer.url(), peer.url()]);
    assert_eq!(column("attempts"), [1, 1, 1, 1]);
    assert!(lines[1]["age"].is_u64() && lines.iter().all(|line| line["duration"].as_f64() > Some(0.0)));
    assert!(lines[..3].iter().all(|line| line["error"].is_null() && line["error_kind"].is_null()));
    assert!(lines[3]["error"].as_str().unwrap().contains("refused"), "{lines:?}");
    assert_eq!(lines[3]["error_kind"], "unreachable");

    let folder = tempfile::tempdir().unwrap();
    let ran = get_in(folder.path(), ["--json", "-o", "file", &origin.url("/a")]);
    assert_eq!((&ran.json()[0]["file"], read(folder.path(), "file").as_str()), (&"file".into(), "/a"));
    assert_eq!((&ran.json()[0]["peer"], &ran.json()[0]["direct"]), (&().into(), &false.into()));
}

#[test]
fn closed_standard_output_ends_the_command_quietly() {
    let origin = Origin::start(|_| Reply::ok("x".repeat(1 << 20))).may_be_unused();
    let url = origin.url("/");
    for arguments in [&["get", &url, &url][..], &["get", "--json", &url, &url], &["get", "-I", &url]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(arguments);
        let output = command.stdout(writer).output().unwrap();
        let ran = Ran::of_output(output);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    assert!(origin.count() <= 3, "the second URL is not requested");
}
