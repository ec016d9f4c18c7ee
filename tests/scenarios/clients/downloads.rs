//! Programs that download files: curl, wget, Python requests, Go's `net/http`, git, and this crate's own command.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::program::{Gateway, check_through_pool, output, program};
use super::site::Files;
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::process::run;

fn files() -> Files {
    (0..6).fold(Files::default(), |files, number| {
        files.add(&format!("/{number}.txt"), "text/plain", format!("file {number}"))
    })
}

#[test]
fn curl_uses_the_gateway_as_its_proxy_and_as_an_origin() {
    let origin = files().serve();
    let urls: Vec<_> = (0..6).map(|number| origin.url(&format!("/{number}.txt"))).collect();
    let moved = origin.url("/moved/3.txt");
    check_through_pool(origin, &[], |home, gateway| {
        for (number, url) in urls.iter().enumerate() {
            let curl = |arguments: &[&str]| output(program("curl", home).args(["-sSf"]).args(arguments));
            assert_eq!(curl(&["-x", gateway, url]), format!("file {number}"));
            assert_eq!(curl(&[&format!("{gateway}/fetch/{url}")]), format!("file {number}"));
        }
        let curl = |arguments: &[&str]| output(program("curl", home).args(["-sSfL"]).args(arguments));
        assert_eq!(curl(&["-x", gateway, &moved]), "file 3");
        let written = curl(&["-w", " %{url_effective}", &format!("{gateway}/fetch/{moved}")]);
        assert_eq!(written, format!("file 3 {gateway}/fetch/{}", urls[3]));
    });
}

#[test]
fn wget_uses_the_gateway_as_its_proxy() {
    let origin = files().serve();
    let urls: Vec<_> = (0..6).map(|number| origin.url(&format!("/moved/{number}.txt"))).collect();
    check_through_pool(origin, &[], |home, gateway| {
        let mut wget = program("wget", home);
        output(
            wget.env("http_proxy", gateway).args(["-q", "--tries=1", "--no-hsts", "-O", "all"]).args(&urls),
        );
        let expected: String = (0..6).map(|number| format!("file {number}")).collect();
        assert_eq!(fs::read_to_string(home.join("all")).unwrap(), expected);
    });
}

#[test]
fn requests_of_python_use_the_gateway_as_their_proxy() {
    let origin = files().serve();
    let url = origin.url("/moved/");
    check_through_pool(origin, &[], |home, gateway| {
        let script = "
import sys, requests
with requests.Session() as session:
    session.proxies = {'http': sys.argv[1]}
    for number in range(6):
        response = session.get(f'{sys.argv[2]}{number}.txt')
        response.raise_for_status()
        assert response.text == f'file {number}', response.text
        assert response.history
";
        output(program("python3", home).args(["-c", script, gateway, &url]));
    });
}

/// Requests each URL with the default client, and prints the bodies.
const GO_PROGRAM: &str = r#"
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for _, url := range os.Args[1:] {
		response, err := http.Get(url)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 {
			fmt.Fprintln(os.Stderr, url, response.Status, err)
			os.Exit(1)
		}
		response.Body.Close()
		fmt.Print(string(body), ";")
	}
}
"#;

#[test]
fn net_http_of_go_uses_the_gateway_as_its_proxy_and_as_an_origin() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.go"), GO_PROGRAM).unwrap();
    let mut go = program("go", folder.path());
    go.env("GO111MODULE", "off").env("GOPROXY", "off").env("GOFLAGS", "").env("CGO_ENABLED", "0");
    // The standard library is compiled once.
    go.env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go")).env("GOPATH", folder.path().join("go"));
    output(go.args(["build", "-o", "client", "main.go"]));
    let client = folder.path().join("client");
    let origin = files().serve();
    // Go sends no request for a loopback address to a proxy. The unspecified address leads to this machine, too.
    let urls: Vec<_> = (0..6)
        .map(|number| format!("http://0.0.0.0:{}/moved/{number}.txt", origin.address().port()))
        .collect();
    let expected: String = (0..6).map(|number| format!("file {number};")).collect();
    check_through_pool(origin, &[], |home, gateway| {
        let proxied = output(program(&client, home).env("http_proxy", gateway).args(&urls));
        assert_eq!(proxied, expected);
        let prefixed = urls.iter().map(|url| format!("{gateway}/fetch/{url}"));
        assert_eq!(output(program(&client, home).args(prefixed)), expected);
    });
}

#[test]
fn git_clones_over_dumb_http_through_a_mirror() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        output(program("git", folder.path()).args(identity).args(arguments))
    };
    git(&["init", "-q", "work"]);
    fs::write(folder.path().join("work/README"), "cloned").unwrap();
    git(&["-C", "work", "add", "README"]);
    git(&["-C", "work", "commit", "-q", "-m", "First"]);
    git(&["clone", "-q", "--bare", "work", "bare.git"]);
    git(&["-C", "bare.git", "update-server-info"]);
    let origin = Files::default().add_folder("/bare.git", &folder.path().join("bare.git")).unwrap().serve();
    let mirror = format!("git={} ignore-client-cache-control", origin.url("/"));
    check_through_pool(origin, &["--mirror", &mirror], |home, gateway| {
        output(program("git", home).args([
            "clone",
            "-q",
            &format!("{gateway}/mirror/git/bare.git"),
            "clone",
        ]));
        assert_eq!(fs::read_to_string(home.join("clone/README")).unwrap(), "cloned");
    });
}

/// Answers a request as the program `git http-backend` does, for the repositories below a folder.
fn git_backend(folder: &Path, received: &Received) -> Reply {
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let field = |name| received.field(name).unwrap_or_default();
    let mut backend = Command::new("git");
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("REQUEST_METHOD", received.method.as_str()).env("PATH_INFO", path).env("QUERY_STRING", query);
    backend.env("CONTENT_TYPE", field("content-type")).env("CONTENT_LENGTH", received.body.len().to_string());
    backend.env("HTTP_CONTENT_ENCODING", field("content-encoding"));
    backend
        .env("GIT_PROTOCOL", field("git-protocol"))
        .env("REMOTE_USER", "a")
        .env("REMOTE_ADDR", "127.0.0.1");
    let mut child = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A repository that is empty or does not exist needs no input.
    let _ = child.stdin.take().unwrap().write_all(&received.body);
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the output has a head");
    let (head, body) = (String::from_utf8_lossy(&output[..end]).into_owned(), output[end + 4..].to_vec());
    let lines: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = lines.iter().find(|(name, _)| *name == "Status").map_or("200", |(_, status)| &status[..3]);
    let fields = lines.iter().filter(|(name, _)| *name != "Status");
    fields.fold(Reply::status(status.parse().unwrap()).body(body), |reply, (name, value)| {
        reply.field(name, value)
    })
}

#[test]
fn git_clones_pushes_and_fetches_over_smart_http_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_owned();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        output(program("git", folder.path()).args(identity).args(arguments))
    };
    git(&["init", "-q", "--bare", "bare.git"]);
    git(&["-C", "bare.git", "config", "http.receivepack", "true"]);
    let origin = Origin::start(move |received| git_backend(&home, received));
    let mut pool = PeerProcess::pool(3);
    let mirror = format!("git={}", origin.url("/"));
    let gateway = Gateway::start(&PeerProcess::urls(&pool), &["--mirror", &mirror]);
    let (url, through) = (origin.url("/bare.git"), &gateway.url);
    git(&["clone", "-q", &url, "first"]);
    // The pack is longer than the buffer of git, so it is sent in chunks.
    let content: Vec<u8> = (0..2_000_000_u32)
        .flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 7).to_le_bytes())
        .collect();
    fs::write(folder.path().join("first/data"), &content).unwrap();
    for (round, url) in
        [format!("{through}/mirror/git/bare.git"), format!("{through}/fetch/{url}"), url].iter().enumerate()
    {
        let proxy = if round == 2 { format!("http.proxy={through}") } else { "http.proxy=".to_owned() };
        fs::write(folder.path().join("first/round"), round.to_string()).unwrap();
        git(&["-C", "first", "add", "."]);
        git(&["-C", "first", "commit", "-q", "-m", "Round"]);
        git(&["-c", &proxy, "-C", "first", "push", "-q", url, "HEAD:main"]);
        let clone = format!("clone{round}");
        git(&["-c", &proxy, "clone", "-q", url, &clone]);
        for name in ["data", "round"] {
            let [pushed, cloned] =
                ["first", &clone].map(|copy| fs::read(folder.path().join(copy).join(name)).unwrap());
            assert!(pushed == cloned, "{url}: {name}");
        }
        if round == 0 {
            pool[1].process.kill();
        } else {
            // What is never stored is up to date, whatever was fetched before.
            git(&["-C", "clone0", "pull", "-q", "--ff-only"]);
            assert_eq!(fs::read_to_string(folder.path().join("clone0/round")).unwrap(), round.to_string());
        }
    }
}

#[test]
fn get_follows_redirects_through_the_owners() {
    let origin = files().serve();
    let pool = PeerProcess::pool(3);
    let peers = PeerProcess::urls(&pool);
    let get = |more: &[&str], path: &str| {
        let url = origin.url(path);
        let peers = peers.iter().flat_map(|peer| ["--peer", peer]);
        let output = run(["get"].into_iter().chain(peers).chain(more.iter().copied()).chain([url.as_str()]));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for _ in 0..2 {
        assert_eq!(get(&["-L"], "/moved/moved/1.txt"), (Some(0), "file 1".to_owned()));
        assert_eq!(get(&[], "/moved/1.txt"), (Some(0), String::new()));
    }
    for path in ["/moved/moved/1.txt", "/moved/1.txt", "/1.txt"] {
        assert_eq!(origin.count_of(path), 1, "{path}");
    }
    let (url, without_peers) = (origin.url("/moved/2.txt"), run(["get", "-L", &origin.url("/moved/2.txt")]));
    assert_eq!(String::from_utf8(without_peers.stdout).unwrap(), "file 2", "{url}");
}
