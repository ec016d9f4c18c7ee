//! The store that the command keeps between runs: hits, shared fetches of several processes, and `store`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::support::origin::{Gate, Origin, Received, Reply};
use crate::support::process::{Process, command, run};
use crate::support::wait_until;

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs the command with a store.
fn run_with(folder: &Path, arguments: &[&str]) -> Output {
    let store = ["--store", folder.to_str().unwrap()];
    run([&arguments[..1], &store, &arguments[1..]].concat())
}

/// Runs the command with a store, and returns what it printed.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = run_with(folder, arguments);
    assert_eq!((code(&output), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Starts `get` with a store.
fn start(folder: &Path, url: &str) -> Process {
    Process::spawn(["get", "--store", folder.to_str().unwrap(), url])
}

/// Returns all files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files(from) {
        let copied = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::copy(file, copied).unwrap();
    }
}

/// Blocks until so many processes have opened the store.
fn wait_for_processes(folder: &Path, count: usize) {
    wait_until("the processes have opened the store", || files(&folder.join("processes")).len() == count);
}

/// Blocks until each process has exited with 0, and checks what it printed.
fn expect(processes: &mut [Process], body: &str) {
    for process in processes {
        assert_eq!(process.wait().code(), Some(0), "{}", process.stderr());
        assert_eq!((process.stdout().as_str(), process.stderr().as_str()), (body, ""));
    }
}

fn fresh(received: &Received) -> Reply {
    Reply::target(received).field("Cache-Control", "max-age=3600")
}

#[test]
fn second_run_is_a_hit() {
    let origin = Origin::start(fresh);
    let folder = TempDir::new().unwrap();
    let url = origin.url("/a");
    for (variable, store) in [("XDG_CACHE_HOME", "forwardcache"), ("HOME", ".cache/forwardcache")] {
        let home = folder.path().join(variable);
        let get = |option: &[&str]| {
            let mut command = command([&["get", "-i"], option, &[&url]].concat());
            command.env(variable, &home);
            let mut process = Process::start(command).unwrap();
            assert_eq!((process.wait().code(), process.stderr().as_str()), (Some(0), ""));
            process.stdout()
        };
        let before = origin.count();
        assert!(get(&["--no-store"]).contains("fwd=uri-miss") && !home.exists());
        assert!(get(&[]).contains("fwd=uri-miss"));
        assert!(get(&[]).contains("cache-status: forwardcache; hit"));
        assert!(home.join(store).join("index.redb").exists());
        assert_eq!(origin.count(), before + 2);
    }
}

#[test]
fn flags_of_the_store_exclude_a_pool() {
    for flags in [&["--store", "x"][..], &["--disk", "1GiB"], &["--offline"]] {
        let output = run([&["get", "--peer", "http://127.0.0.1:9"], flags, &["http://host/"]].concat());
        assert_eq!(code(&output), Some(2), "{flags:?}");
        let output = run([&["get", "--no-store"], flags, &["http://host/"]].concat());
        assert_eq!(code(&output), Some(2), "{flags:?}");
    }
    let output = run(["get", "--offline", "http://host/"]);
    assert!(code(&output) == Some(2) && text(&output.stderr).contains("requires --store DIR"));
}

#[test]
fn unusable_directory_is_a_warning() {
    let origin = Origin::start(fresh);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let output = run_with(&file, &["get", &origin.url("/a")]);
    assert_eq!((code(&output), text(&output.stdout)), (Some(0), "/a"));
    let warning = text(&output.stderr);
    assert!(warning.contains("nothing is kept between runs") && warning.lines().count() == 1, "{warning}");
    fs::create_dir(folder.path().join("store")).unwrap();
    fs::write(folder.path().join("store/index.redb"), vec![1; 50_000]).unwrap();
    let output = run_with(&folder.path().join("store"), &["get", &origin.url("/a")]);
    assert_eq!((code(&output), text(&output.stdout)), (Some(0), "/a"));
}

#[test]
fn no_credential_reaches_the_directory() {
    let origin = Origin::start(|received| {
        let reply = fresh(received);
        match received.target.as_str() {
            "/set" => reply.field("Set-Cookie", "sid=SECRET-set-cookie"),
            "/key" => reply.field("Vary", "X-Api-Key, Cookie"),
            _ => reply,
        }
    });
    let folder = TempDir::new().unwrap();
    for (target, field) in [
        ("/public", "Accept: text/PUBLIC"),
        ("/bearer", "Authorization: Bearer SECRET-bearer"),
        ("/basic", "Authorization: Basic dXNlcjpTRUNSRVQ="),
        ("/cookie", "Cookie: sid=SECRET-cookie"),
        ("/key", "X-Api-Key: SECRET-key"),
        ("/key", "Cookie: sid=SECRET-cookie"),
        ("/set", "Accept: text/plain"),
        ("/plain", "Proxy-Authorization: Basic SECRET-proxy"),
    ] {
        for _ in 0..2 {
            printed(folder.path(), &["get", "-H", field, &origin.url(target)]);
        }
    }
    let holds = |words: &str| {
        let holds = |file: &PathBuf| {
            fs::read(file).unwrap().windows(words.len()).any(|part| part == words.as_bytes())
        };
        files(folder.path()).iter().any(holds)
    };
    assert!(holds("/public"));
    assert!(!holds("SECRET") && !holds("dXNlcjpTRUNSRVQ"));
    assert_eq!(origin.count_of("/public"), 1);
}

#[test]
fn key_file_keeps_responses_of_a_credential_for_that_credential_only() {
    let origin = Origin::start(|received| {
        fresh(received).body(format!("for {:?}", received.field("authorization").map(str::len)))
    });
    let folder = TempDir::new().unwrap();
    let (store, key) = (folder.path().join("store"), folder.path().join("key"));
    let get = |credential: &str| {
        let field = format!("Authorization: Bearer {credential}");
        printed(&store, &["get", "-H", &field, "--store-key-file", key.to_str().unwrap(), &origin.url("/a")])
    };
    for credential in ["SECRET-one", "SECRET-another", "SECRET-one", "SECRET-another"] {
        assert_eq!(get(credential), format!("for Some({})", "Bearer ".len() + credential.len()));
    }
    assert_eq!(origin.count(), 2);
    let holds = |file: &PathBuf| fs::read(file).unwrap().windows(6).any(|part| part == b"SECRET");
    assert!(!files(folder.path()).iter().any(holds));
    // The operator sees both, and takes one by its digest.
    let listed = printed(&store, &["store", "ls", "--json"]);
    let digests = listed.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["private"], line["url"].as_str()), (&true.into(), Some(origin.url("/a").as_str())));
        line["sha256"].as_str().unwrap().to_owned()
    });
    let digests: Vec<_> = digests.collect();
    assert_eq!(
        (digests.len(), code(&run_with(&store, &["store", "export", &origin.url("/a")]))),
        (2, Some(2))
    );
    for digest in digests {
        let body = printed(&store, &["store", "export", "--digest", &digest, &origin.url("/a")]);
        assert!(body.starts_with("for Some("), "{body}");
    }
    // Without the key there is no such response.
    printed(&store, &["get", "-H", "Authorization: Bearer SECRET-one", &origin.url("/a")]);
    assert_eq!(origin.count(), 3);
}

#[test]
fn eight_processes_share_one_fetch() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| fresh(received).gate_head(&gate))
    };
    let folder = TempDir::new().unwrap();
    let mut processes: Vec<_> = (0..8).map(|_| start(folder.path(), &origin.url("/a"))).collect();
    wait_for_processes(folder.path(), 8);
    origin.wait_for(1);
    gate.open();
    expect(&mut processes, "/a");
    assert_eq!(origin.count(), 1);
    assert!(files(&folder.path().join("leases")).is_empty());
}

#[test]
fn eight_processes_share_one_validation() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| match received.field("if-none-match") {
            None => fresh(received).field("Age", "4000").field("ETag", "\"1\""),
            Some(_) => {
                let reply = Reply::status(304).field("Cache-Control", "max-age=3600");
                reply.field("ETag", "\"1\"").gate_head(&gate)
            }
        })
    };
    let folder = TempDir::new().unwrap();
    printed(folder.path(), &["get", &origin.url("/a")]);
    let mut processes: Vec<_> = (0..8).map(|_| start(folder.path(), &origin.url("/a"))).collect();
    wait_for_processes(folder.path(), 8);
    origin.wait_for(2);
    gate.open();
    expect(&mut processes, "/a");
    assert_eq!(origin.count(), 2);
}

#[test]
fn next_process_fetches_when_the_first_one_is_killed() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| fresh(received).gate_body(1, &gate))
    };
    let folder = TempDir::new().unwrap();
    let mut first = start(folder.path(), &origin.url("/a"));
    origin.wait_for(1);
    let mut others: Vec<_> = (0..7).map(|_| start(folder.path(), &origin.url("/a"))).collect();
    wait_for_processes(folder.path(), 8);
    first.kill();
    origin.wait_for(2);
    gate.open();
    expect(&mut others, "/a");
    assert_eq!(origin.count(), 2);
}

#[test]
fn other_processes_go_on_at_once_when_the_response_may_not_be_shared() {
    let (gate, count) = (Gate::new(), AtomicUsize::new(0));
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| {
            let reply = Reply::target(received).field("Cache-Control", "no-store");
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first { reply.gate_body(1, &gate) } else { reply }
        })
    };
    let folder = TempDir::new().unwrap();
    let mut first = [start(folder.path(), &origin.url("/a"))];
    origin.wait_for(1);
    let mut others: Vec<_> = (0..7).map(|_| start(folder.path(), &origin.url("/a"))).collect();
    // The first response is not complete yet.
    expect(&mut others, "/a");
    gate.open();
    expect(&mut first, "/a");
    assert_eq!(origin.count(), 8);
}

#[test]
fn waiting_for_another_process_ends_at_the_deadline() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |received| fresh(received).gate_head(&gate))
    };
    let folder = TempDir::new().unwrap();
    let mut first = [start(folder.path(), &origin.url("/a"))];
    origin.wait_for(1);
    let output = run_with(folder.path(), &["get", "--max-time", "0.5", &origin.url("/a")]);
    assert_eq!((code(&output), text(&output.stdout)), (Some(1), ""));
    assert_eq!(origin.count(), 1);
    gate.open();
    expect(&mut first, "/a");
}

#[test]
fn stale_response_is_refreshed_before_the_command_ends() {
    let origin = Origin::start(|received| {
        let reply = Reply::target(received).field("Age", "100");
        reply.field("Cache-Control", "max-age=10, stale-while-revalidate=1000")
    });
    let folder = TempDir::new().unwrap();
    printed(folder.path(), &["get", &origin.url("/a")]);
    assert_eq!(origin.count(), 1);
    assert!(printed(folder.path(), &["get", "-i", &origin.url("/a")]).contains("hit; ttl=-9"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn store_lists_verifies_exports_and_removes() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/large" => Reply::ok(vec![b'x'; 100_000]).field("Cache-Control", "max-age=3600"),
        "/missing" => Reply::status(404).field("Cache-Control", "max-age=60").body("nothing"),
        _ => Reply::target(received)
            .field("Cache-Control", "max-age=10")
            .field("Age", "100")
            .field("ETag", "\"1\""),
    });
    let folder = TempDir::new().unwrap();
    let store = folder.path();
    let urls = ["/large", "/missing", "/stale?q=\"1\""].map(|target| origin.url(target));
    let absent = run_with(&store.join("nothing"), &["store", "ls"]);
    assert_eq!((code(&absent), absent.stdout.len()), (Some(1), 0));
    assert!(text(&absent.stderr).contains("there is no store in") && !store.join("nothing").exists());
    urls.iter().for_each(|url| drop(run_with(store, &["get", url])));

    let listed = printed(store, &["store", "ls"]);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    let urls_listed: Vec<_> = rows.iter().map(|row| row[4].replace("%22", "\"")).collect();
    assert_eq!(urls_listed, urls);
    assert_eq!((rows[0][0], rows[0][1], rows[1][0], rows[1][1]), ("200", "100000", "404", "7"));
    assert!(rows[0][3].starts_with("fresh 3") && rows[2][3].starts_with("stale 9"), "{listed}");
    assert_eq!(printed(store, &["store", "ls", &origin.url("/m")]).lines().count(), 1);
    let json: Vec<serde_json::Value> = printed(store, &["store", "ls", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(json[0]["fresh"] == true && json[0]["size"] == 100_000 && json[2]["fresh"] == false, "{json:?}");
    let stat: serde_json::Value =
        serde_json::from_str(&printed(store, &["store", "stat", "--json"])).unwrap();
    assert!(
        stat["responses"] == 3
            && stat["fresh"] == 2
            && stat["body_bytes"] == 100_007 + rows[2][1].parse::<u64>().unwrap()
    );
    assert!(printed(store, &["store", "stat"]).contains("responses\t3\n"));

    assert_eq!(printed(store, &["store", "export", &urls[0]]).len(), 100_000);
    let file = store.join("exported");
    printed(store, &["store", "export", "-o", file.to_str().unwrap(), &urls[2]]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("/stale"));
    fs::remove_file(file).unwrap();
    let output = run_with(store, &["store", "export", &origin.url("/other")]);
    assert!(code(&output) == Some(1) && output.stdout.is_empty());

    assert_eq!(printed(store, &["store", "verify"]), "responses 3 damaged 0\n");
    let body = files(&store.join("bodies")).remove(0);
    let mut altered = fs::read(&body).unwrap();
    altered[50_000] ^= 1;
    fs::write(&body, altered).unwrap();
    let output = run_with(store, &["store", "export", &urls[0]]);
    assert!(code(&output) == Some(1) && output.stdout.is_empty());
    assert!(text(&output.stderr).contains("damaged"), "{}", text(&output.stderr));
    run_with(store, &["get", &urls[0]]);
    fs::write(&files(&store.join("bodies"))[0], "cut").unwrap();
    let output = run_with(store, &["store", "verify"]);
    let damaged = format!("damaged\t{}\nresponses 3 damaged 1\n", urls[0]);
    assert_eq!((code(&output), text(&output.stdout)), (Some(1), damaged.as_str()));
    assert_eq!(printed(store, &["store", "verify"]), "responses 2 damaged 0\n");

    assert_eq!(printed(store, &["store", "rm", &urls[1]]), "responses 1 bytes 7\n");
    assert_eq!(
        printed(store, &["store", "rm", "--prefix", &origin.url("/s")]).matches("responses 1").count(),
        1
    );
    assert_eq!(printed(store, &["store", "ls"]), "");
    assert_eq!(code(&run_with(store, &["store", "rm"])), Some(2));
}

#[test]
fn copied_directory_answers_without_an_origin() {
    let folder = TempDir::new().unwrap();
    let (store, bundle) = (folder.path().join("store"), folder.path().join("bundle"));
    let urls = {
        let origin = Origin::start(|received| fresh(received).field("Age", "4000"));
        let urls = ["/a", "/b?key=secret"].map(|target| origin.url(target));
        urls.iter().for_each(|url| drop(printed(&store, &["get", url])));
        urls
    };
    copy(&store, &bundle);
    for (url, body) in urls.iter().zip(["/a", "/b?key=secret"]) {
        assert_eq!(printed(&bundle, &["get", "--offline", url]), body);
    }
    let missing = urls[0].replace("/a", "/c?key=secret");
    let output = run_with(&bundle, &["get", "--offline", &missing]);
    let message = text(&output.stderr);
    assert_eq!((code(&output), output.stdout.len(), message.lines().count()), (Some(1), 0, 1));
    assert!(
        message.contains("has no response") && message.contains("/c") && !message.contains("secret"),
        "{message}"
    );
    let output = run_with(&folder.path().join("nothing"), &["get", "--offline", &urls[0]]);
    assert!(code(&output) == Some(1) && text(&output.stderr).contains("there is no store in"));
}

#[test]
fn frozen_accepts_only_listed_responses() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/changes" => Reply::ok(format!("{}", count.fetch_add(1, Ordering::Relaxed)))
            .field("Cache-Control", "max-age=60"),
        _ => fresh(received),
    });
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let urls = ["/a", "/changes"].map(|target| origin.url(target));
    urls.iter().for_each(|url| drop(printed(&store, &["get", url])));
    let manifest = printed(&store, &["store", "manifest"]);
    assert_eq!(manifest.lines().filter(|line| line.contains("\t200\tsha256:")).count(), 2);
    let (list, output_file) = (folder.path().join("list"), folder.path().join("body"));
    fs::write(&list, &manifest).unwrap();
    let frozen = |url: &str| {
        let [list, output] = [&list, &output_file].map(|path| path.to_str().unwrap());
        run(["get", "--no-store", "--frozen", list, "-o", output, url])
    };
    assert_eq!(code(&frozen(&urls[0])), Some(0));
    assert_eq!(fs::read_to_string(&output_file).unwrap(), "/a");
    let output = frozen(&urls[1]);
    let message = text(&output.stderr);
    assert!(code(&output) == Some(1) && message.matches("sha256:").count() == 2, "{message}");
    assert_eq!(fs::read_to_string(&output_file).unwrap(), "/a", "nothing of it is written");
    let output = frozen(&origin.url("/unlisted"));
    assert!(code(&output) == Some(1) && text(&output.stderr).contains("is not in"));
    assert_eq!(origin.count_of("/unlisted"), 0);
    fs::write(&list, "nonsense").unwrap();
    assert_eq!(code(&frozen(&urls[0])), Some(2));
}

/// An origin of a body that it also sends in parts. The first response is cut after so many bytes.
fn origin_of_parts(length: usize, tag: Option<&'static str>, cut: Option<usize>) -> Origin {
    let cut = std::sync::Mutex::new(cut);
    Origin::start(move |received| {
        let first = received.field("range").map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            assert!(last.is_empty() || last == (length - 1).to_string());
            first.parse::<usize>().unwrap()
        });
        let reply = match (first, cut.lock().unwrap().take()) {
            (None, Some(cut)) => Reply::ok(large(0..cut)).announcing(length as u64),
            (None, None) => Reply::ok(large(0..length)),
            (Some(first), _) => Reply::status(206)
                .field("Content-Range", format!("bytes {first}-{}/{length}", length - 1))
                .body(large(first..length)),
        };
        let reply = reply.field("Cache-Control", "max-age=3600");
        if let Some(tag) = tag { reply.field("ETag", tag) } else { reply }
    })
}

fn large(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|at| (at / 9 % 251).to_le_bytes()[0]).collect()
}

/// Changes a byte of the only file of a store.
fn damage(store: &Path, at: usize) {
    let file = files(&store.join("bodies")).remove(0);
    let mut altered = fs::read(&file).unwrap();
    altered[at] ^= 1;
    fs::write(&file, altered).unwrap();
}

#[test]
fn a_body_that_is_damaged_after_its_beginning_is_completed() {
    const LENGTH: usize = 3_000_000;
    for tag in [Some("\"1\""), None] {
        let (origin, folder) = (origin_of_parts(LENGTH, tag, None), TempDir::new().unwrap());
        let url = origin.url("/a");
        run_with(folder.path(), &["get", &url]);
        damage(folder.path(), 2_000_000);
        let offline = run_with(folder.path(), &["get", "--offline", &url]);
        assert_eq!((code(&offline), origin.count()), (Some(1), 1));
        assert!(text(&offline.stderr).contains("checksum"), "{}", text(&offline.stderr));
        let output = run_with(folder.path(), &["get", &url]);
        assert!(code(&output) == Some(0) && output.stdout == large(0..LENGTH), "{}", text(&output.stderr));
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn a_part_that_is_damaged_is_fetched_anew() {
    const LENGTH: usize = 3_000_000;
    for damaged in [Some(10), Some(1_000_000), None] {
        let origin = origin_of_parts(LENGTH, Some("\"1\""), Some(2_000_000));
        let (folder, url) = (TempDir::new().unwrap(), origin.url("/a"));
        assert_eq!(code(&run_with(folder.path(), &["get", "--retry", "0", &url])), Some(1));
        match damaged {
            Some(at) => damage(folder.path(), at),
            None => {
                let file = files(&folder.path().join("bodies")).remove(0);
                fs::File::options().write(true).open(file).unwrap().set_len(1_000_000).unwrap();
            }
        }
        let output = run_with(folder.path(), &["get", &url]);
        assert!(code(&output) == Some(0) && output.stdout == large(0..LENGTH), "{}", text(&output.stderr));
        assert!(text(&run_with(folder.path(), &["store", "verify"]).stdout).ends_with(" damaged 0\n"));
    }
}

#[test]
fn a_part_of_a_body_is_neither_exported_nor_listed_as_the_response() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/cut" => {
            let reply = Reply::ok(vec![b'x'; 200_000]).announcing(300_000);
            reply.field("Cache-Control", "max-age=3600").field("ETag", "\"1\"")
        }
        _ => fresh(received),
    });
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("store");
    let url = origin.url("/cut");
    assert_eq!(code(&run_with(&store, &["get", &url])), Some(1));
    printed(&store, &["get", &origin.url("/a")]);
    assert!(printed(&store, &["store", "ls"]).contains("206\t"));
    let output = run_with(&store, &["store", "export", &url]);
    let message = text(&output.stderr);
    assert!(code(&output) == Some(1) && output.stdout.is_empty() && message.contains("/300000"), "{message}");
    let output = run_with(&store, &["get", "--offline", &url]);
    let message = text(&output.stderr);
    assert!(code(&output) == Some(1) && message.contains("only a part of the response"), "{message}");
    // The list is one that `--frozen` accepts.
    let (manifest, list) = (printed(&store, &["store", "manifest"]), folder.path().join("list"));
    assert_eq!(manifest.lines().count(), 1, "{manifest}");
    fs::write(&list, &manifest).unwrap();
    let frozen = ["get", "--offline", "--frozen", list.to_str().unwrap(), &origin.url("/a")];
    assert_eq!(printed(&store, &frozen), "/a");
}

#[test]
fn agent_with_a_directory_finds_what_an_earlier_one_stored() {
    let origin = Origin::start(fresh);
    let folder = TempDir::new().unwrap();
    for is_stored in [false, true] {
        let agent = forwardcache::cached_agent(folder.path()).unwrap();
        let mut response = agent.get(origin.url("/a")).call().unwrap();
        assert_eq!(response.headers().contains_key("x-from-cache"), is_stored);
        assert_eq!(response.body_mut().read_to_string().unwrap(), "/a");
    }
    // A directory that cannot be used only costs the requests.
    let agent = forwardcache::cached_agent("/proc/forwardcache").unwrap();
    assert_eq!(agent.get(origin.url("/a")).call().unwrap().status(), 200);
    assert_eq!(origin.count(), 2);
}

/// Runs the command as a user who may write nothing in the folder.
#[cfg(unix)]
fn run_without_rights(folder: &Path, arguments: &[&str]) -> Output {
    use std::os::unix::fs::MetadataExt;
    let store = ["--store", folder.to_str().unwrap()];
    let command = command([&arguments[..1], &store, &arguments[1..]].concat());
    // The rights of files do not bind root.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return { command }.output().unwrap();
    }
    let mut other = std::process::Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    other.arg(folder.parent().unwrap().join("forwardcache")).args(command.get_args());
    other.output().expect("setpriv is installed")
}

/// Runs the command in a mount namespace of its own, in which the folder is mounted for reading only. Returns `None` if
/// this machine does not allow that.
#[cfg(target_os = "linux")]
fn run_on_read_only_mount(folder: &Path, arguments: &[&str]) -> Option<Output> {
    /// The exit code if it cannot be mounted.
    const NOT_MOUNTED: i32 = 99;
    // A file system of its own with a copy of the folder `$1`, which nothing outside of the namespace sees.
    const SCRIPT: &str = r#"
        { mount -t tmpfs tmpfs /mnt && cp -a "$1" /mnt/copy && mount -o remount,ro /mnt && mount --bind /mnt/copy "$1" &&
            ! touch "$1/written"; } 2>/dev/null || exit 99
        shift
        exec "$@"
    "#;
    let store = ["--store", folder.to_str().unwrap()];
    let command = command([&arguments[..1], &store, &arguments[1..]].concat());
    // Root may mount; other users may in a user namespace, where the system has these.
    let options: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    options.into_iter().find_map(|options| {
        let mut own = std::process::Command::new("unshare");
        own.args(options).args(["sh", "-c", SCRIPT, "sh"]).arg(folder);
        own.arg(command.get_program()).args(command.get_args());
        let output = own.output().ok()?;
        // `unshare` itself says so if it fails.
        let is_run = code(&output) != Some(NOT_MOUNTED) && !text(&output.stderr).starts_with("unshare:");
        is_run.then_some(output)
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_may_only_be_read_answers() {
    check_reading_only(&run_without_rights);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_on_a_read_only_mount_answers() {
    let probe = TempDir::new().unwrap();
    if run_on_read_only_mount(probe.path(), &["store", "ls"]).is_none() {
        eprintln!(
            "NOT TESTED HERE: this machine allows no mounts; a directory without rights to write is tested instead"
        );
        return check_reading_only(&run_without_rights);
    }
    check_reading_only(&|folder, arguments| {
        run_on_read_only_mount(folder, arguments).expect("it was possible before")
    });
}

/// Checks what the command does with a store that it may only read, if it is run in this way.
#[cfg(target_os = "linux")]
fn check_reading_only(run: &dyn Fn(&Path, &[&str]) -> Output) {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::start(|received: &Received| {
        let body = received.target.repeat(if received.target.len() > 3 { 20_000 } else { 1 });
        Reply::ok(body).field("Cache-Control", "max-age=3600")
    });
    let folder = TempDir::new().unwrap();
    let bundle = folder.path().join("bundle");
    let urls = [origin.url("/a"), origin.url("/large"), origin.url("/b")];
    let bodies = urls[..2].iter().map(|url| printed(&bundle, &["get", url])).collect::<Vec<_>>();
    let manifest = printed(&bundle, &["store", "manifest"]);
    fs::copy(env!("CARGO_BIN_EXE_forwardcache"), folder.path().join("forwardcache")).unwrap();
    let set_mode =
        |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(folder.path(), 0o755);
    let folders = ["", "bodies", "processes", "leases"].map(|name| bundle.join(name));
    let all = || {
        files(&bundle).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().modified().unwrap()))
    };
    for path in files(&bundle) {
        set_mode(&path, 0o444);
        set_mode(path.parent().unwrap(), 0o555);
    }
    folders.iter().filter(|path| path.exists()).for_each(|path| set_mode(path, 0o555));
    let before: Vec<_> = all().collect();
    let read = |arguments: &[&str]| {
        let output = run(&bundle, arguments);
        assert_eq!((code(&output), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = folder.path().join("urls.lock");
    fs::write(&list, &manifest).unwrap();
    let asked = origin.count();
    for (url, body) in urls.iter().zip(&bodies) {
        assert!(read(&["get", "--offline", url]) == *body);
        assert!(read(&["get", "--offline", "--frozen", list.to_str().unwrap(), url]) == *body);
        assert!(read(&["store", "export", url]) == *body);
        // A hit needs no rights either, and the user is told.
        let output = run(&bundle, &["get", url]);
        assert!(code(&output) == Some(0) && text(&output.stdout) == *body);
        assert!(text(&output.stderr).contains("nothing more is kept"), "{}", text(&output.stderr));
    }
    assert_eq!(origin.count(), asked);
    assert_eq!(read(&["store", "manifest"]), manifest);
    assert_eq!(read(&["store", "ls"]).lines().count(), 2);
    assert!(read(&["store", "stat"]).contains("responses\t2"));
    read(&["store", "verify"]);
    let output = run(&bundle, &["get", &urls[2]]);
    assert!(code(&output) == Some(0) && text(&output.stdout) == "/b", "{output:?}");
    let output = run(&bundle, &["store", "rm", &urls[0]]);
    assert!(code(&output) != Some(0) && text(&output.stderr).contains("cannot be written to"), "{output:?}");
    assert_eq!(all().collect::<Vec<_>>(), before);
    folders.iter().chain([&bundle]).filter(|path| path.exists()).for_each(|path| set_mode(path, 0o755));
    for path in files(&bundle) {
        set_mode(path.parent().unwrap(), 0o755);
    }
}
