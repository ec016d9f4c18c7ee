//! Options from a file, from the environment and from the command line, with real processes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::origin::{Origin, Reply};
use crate::support::process::{Process, command, run};
use crate::support::raw::Connection;

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("forwardcache.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs `config` with this action and file. Returns the exit code, standard output and standard error.
fn config(action: &str, path: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = command(["config", action, "--config", path.to_str().unwrap()]);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn flag_replaces_variable_and_variable_replaces_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "listen = \"127.0.0.1:0\"\npath = \"/file\"\nmemory = \"64MiB\"\n");
    let start = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = command(["serve", "--config", path.to_str().unwrap()]);
        command.args(flags).envs(variables.iter().copied());
        let process = Process::start(command).unwrap();
        process.wait_for_line("try it:")
    };
    assert!(start(&[], &[]).contains("/file"));
    assert!(start(&[("FORWARDCACHE_PATH", "/variable")], &[]).contains("/variable"));
    assert!(start(&[("FORWARDCACHE_PATH", "/variable")], &["--path", "/flag"]).contains("/flag"));
}

#[test]
fn variable_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "listen = \"127.0.0.1:0\"\npath = \"/file\"\n");
    let mut command = command(["serve"]);
    command.env("FORWARDCACHE_CONFIG", &path);
    assert!(Process::start(command).unwrap().wait_for_line("try it:").contains("/file"));
}

#[test]
fn show_prints_each_option_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        file(folder.path(), "workers = 5\npeer = [\"http://a:1\", \"http://b:2\"]\nmemory = \"1GiB\"\n");
    let (code, output, _) = config("show", &path, &[("FORWARDCACHE_MEMORY", "2GiB")]);
    let name = path.display();
    let expected = format!(
        "peer = [\"http://a:1\", \"http://b:2\"]  # {name}:2\nworkers = \"5\"  # {name}:1\n\
         memory = \"2GiB\"  # FORWARDCACHE_MEMORY\n"
    );
    assert_eq!((code, output.as_str()), (Some(0), expected.as_str()));
    // What it prints is a configuration file with the same options.
    let again = folder.path().join("again.toml");
    fs::write(&again, &output).unwrap();
    assert_eq!(
        config("check", &again, &[]).2,
        "forwardcache: this peer (http://127.0.0.1:3000) is not in its own pool: add it with --peer, as on the other peers\n"
    );
}

#[test]
fn check_rejects_each_kind_of_fault_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("memory = \"1GiB\"\nmemroy = \"2GiB\"", ":2: unknown option memroy: did you mean memory?"),
        ("workers = 0", ":1: invalid value '0' for '--workers <N>'"),
        ("memory = \"much\"", ":1: invalid value 'much' for '--memory <SIZE>'"),
        ("listen = \"nowhere\"", "--listen \"nowhere\": "),
        ("token-file = \"/does/not/exist\"", "/does/not/exist"),
        (
            "listen = \"0.0.0.0:3000\"\nself-url = \"http://10.0.0.1:3000\"",
            "specify which clients are allowed",
        ),
        ("peers-file = \"/does/not/exist\"", "/does/not/exist"),
        ("store-set-cookie = true", "--store-set-cookie requires --mode shared"),
        ("tls-cert = \"c.pem\"", "required arguments were not provided: --tls-key <FILE>"),
        ("memory = ", ":1: "),
    ] {
        let path = file(folder.path(), text);
        let (code, output, error) = config("check", &path, &[]);
        assert!(matches!(code, Some(1 | 2)) && output.is_empty(), "{text}: {code:?} {output}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{text}: {error}");
    }
    let path = file(folder.path(), "memory = \"1GiB\"\nlisten = \"127.0.0.1:3000\"\n");
    assert_eq!(
        config("check", &path, &[]),
        (Some(0), "the configuration is valid\n".to_owned(), String::new())
    );
    let (code, _, error) = config("check", &path, &[("FORWARDCACHE_MEMROY", "1")]);
    assert_eq!(code, Some(0));
    assert_eq!(error, "forwardcache: FORWARDCACHE_MEMROY is ignored: it is not an option of serve\n");
    let output = run(["serve", "--config", "/does/not/exist.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot read /does/not/exist.toml"),
        "{output:?}"
    );
}

#[test]
fn sighup_applies_what_can_change_and_names_what_needs_a_restart() {
    let origin = Origin::start(|_| Reply::ok("content"));
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "listen = \"127.0.0.1:0\"\nmemory = \"64MiB\"\n");
    let mut command = command(["serve", "--config", path.to_str().unwrap()]);
    command.env("RUST_LOG", "info");
    let mut process = Process::start(command).unwrap();
    let line = process.wait_for_line("serving on http://");
    let address = line.split(' ').nth(2).unwrap().trim_start_matches("http://").parse().unwrap();
    let status = |path: &str| {
        let mut connection = Connection::open(address);
        connection.write(format!("GET /proxy?q={} HTTP/1.1\r\nHost: {address}\r\n\r\n", origin.url(path)));
        connection.read_response().status
    };
    assert_eq!(status("/1"), 200);

    file(folder.path(), "listen = \"127.0.0.1:0\"\nmemory = \"65MiB\"\norigins = \"deny:127.0.0.1\"\n");
    process.signal("HUP");
    process.wait_for_line("--memory has changed: restart to apply it");
    process.wait_for_line("applied the new --origins");
    assert_eq!(status("/2"), 403);

    file(folder.path(), "listen = \"127.0.0.1:0\"\norigins = \"public\"\nmemroy = 1\n");
    process.signal("HUP");
    let line = process.wait_for_line("cannot reload the configuration");
    assert!(line.contains(":3: unknown option memroy") && line.contains("previous options stay"), "{line}");
    assert_eq!(status("/3"), 403);
}
