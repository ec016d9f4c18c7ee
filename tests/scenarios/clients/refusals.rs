//! Clients and requests that get nothing through prefix form, a mirror or the proxy.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use base64::Engine as _;
use forwardcache::Peer;
use forwardcache::server::ServerConfig;

use super::program::{Gateway, output, program};
use crate::local::{LocalPeer, listen};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::raw::{Connection, Response};

const TOKEN: &str = "correct-horse-battery";

fn origin() -> Origin {
    Origin::start(|received| Reply::target(received).field("Set-Cookie", "a=b"))
}

/// Returns the credentials of the scheme `Basic` with this password.
fn basic(password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("any:{password}"))
}

/// Sends a GET with this target, `Host` and further lines.
fn get(peer: SocketAddr, target: &str, host: &str, lines: &str) -> Response {
    let mut connection = Connection::open(peer);
    connection.write(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"));
    connection.read_response()
}

/// Returns an address of this machine that is not a loopback address.
fn address_of_this_machine() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Connecting sends nothing; it selects the address of this machine for a destination.
    socket.connect("192.0.2.200:9").expect("this test needs a network interface besides loopback");
    let address = socket.local_addr().unwrap().ip();
    assert!(!address.is_loopback(), "this test needs a network interface besides loopback");
    address
}

#[test]
fn without_a_token_only_programs_on_this_machine_may_use_these_forms() {
    let origin = origin();
    let mirror = format!("m={}", origin.url("/"));
    let options = [
        "--self-url",
        "http://127.0.0.1:1",
        "--allow-anyone",
        "--origins",
        "any",
        "--http-proxy",
        "--mirror",
        &mirror,
    ];
    let peer =
        PeerProcess::start_as("0.0.0.0:0", &[&options[..], &["--peer", "http://127.0.0.1:1"]].concat());
    let other = SocketAddr::new(address_of_this_machine(), peer.address.port());
    let (url, query) = (origin.url("/a"), format!("/proxy?q={}", origin.url("/a")));
    let targets = [format!("/fetch/{url}"), "/mirror/m/a".to_owned(), url.clone()];
    for target in &targets {
        for round in 0..2 {
            // With `max-stale`, the request is not answered by the event loop.
            for lines in ["", "Cache-Control: max-stale=1\r\n"] {
                let local = get(peer.address, target, "127.0.0.1", lines);
                assert_eq!((local.status, &*local.body), (200, &b"/a"[..]), "{target} {round}");
                let refused = get(other, target, "127.0.0.1", lines);
                assert_eq!(refused.status, 403, "{target} {round}");
                let reason = String::from_utf8_lossy(&refused.body).into_owned();
                assert!(reason.contains("token") && reason.lines().count() == 1, "{reason}");
            }
        }
    }
    assert_eq!(get(other, &query, "127.0.0.1", "").status, 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn with_a_token_programs_show_it_as_a_password_and_origins_never_see_it() {
    let origin = origin();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let token_file = file.to_str().unwrap();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--token-file", token_file, "--http-proxy"]);
    let (url, authority) = (origin.url("/a"), peer.address.to_string());
    let prefix = format!("/fetch/{url}");
    let of_proxy = get(peer.address, &url, "h", "");
    assert_eq!(
        (of_proxy.status, of_proxy.field("proxy-authenticate")),
        (407, Some("Basic realm=\"forwardcache\""))
    );
    let of_origin = get(peer.address, &prefix, "h", "");
    assert_eq!(
        (of_origin.status, of_origin.field("www-authenticate")),
        (401, Some("Basic realm=\"forwardcache\""))
    );
    for lines in ["Proxy-Authorization: Basic eDp5\r\n", "Authorization: Bearer wrong-horse-battery\r\n"] {
        assert_eq!(get(peer.address, &url, "h", lines).status, 407, "{lines}");
        assert_eq!(get(peer.address, &prefix, "h", lines).status, 401, "{lines}");
    }
    assert_eq!(get(peer.address, &url, "h", &format!("Authorization: Bearer {TOKEN}\r\n")).status, 407);
    let curl = |arguments: &[&str]| output(program("curl", folder.path()).args(["-sSf"]).args(arguments));
    for _ in 0..2 {
        assert_eq!(curl(&["-x", &format!("http://any:{TOKEN}@{authority}"), &url]), "/a");
        assert_eq!(curl(&[&format!("http://any:{TOKEN}@{authority}{prefix}")]), "/a");
        assert_eq!(
            curl(&[
                "--proxy-header",
                &format!("Proxy-Authorization: Bearer {TOKEN}"),
                "-x",
                &authority,
                &url
            ]),
            "/a"
        );
    }
    // The credentials of the origin pass if the token is in Proxy-Authorization.
    let proxy = format!("http://any:{TOKEN}@{authority}");
    assert_eq!(curl(&["-x", &proxy, "-u", "user:of-the-origin", &origin.url("/b")]), "/b");
    assert_eq!(origin.count(), 2);
    for received in origin.seen() {
        let has_credentials = received.field("authorization").is_some();
        assert_eq!(has_credentials, received.target == "/b", "{received:?}");
        assert!(received.field("proxy-authorization").is_none() && !format!("{received:?}").contains(TOKEN));
    }
}

#[test]
fn no_origin_sees_a_token_of_the_pool_wherever_a_program_shows_it() {
    let (origin, folder) = (origin(), tempfile::tempdir().unwrap());
    let write = |name: &str, token: &str| {
        let path = folder.path().join(name);
        fs::write(&path, token).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (file, of_operators) = (write("token", TOKEN), write("operators", "battery-horse-staple"));
    let tokens = ["--token-file", &file, "--operator-token-file", &of_operators, "--http-proxy"];
    let pool = PeerProcess::pool_as(2, &tokens);
    // A gateway needs no token of its programs, but one may be set up for a peer.
    let gateway = Gateway::start(&PeerProcess::urls(&pool), &["--token-file", &file]);
    let curl = |arguments: &[&str]| output(program("curl", folder.path()).args(["-sSf"]).args(arguments));
    let to_proxy = format!("Proxy-Authorization: Bearer {TOKEN}");
    for (number, base) in [&gateway.url, &pool[0].url(), &pool[1].url()].iter().enumerate() {
        for token in [TOKEN, "battery-horse-staple"] {
            if number == 0 && token != TOKEN {
                // The gateway does not know it.
                continue;
            }
            for shown in
                [format!("Authorization: Bearer {token}"), format!("Authorization: Basic {}", basic(token))]
            {
                let path = format!("/{number}");
                let escaped = origin.url(&path).replace(':', "%3A").replace('/', "%2F");
                let both = ["-H", &shown, "-H", &to_proxy];
                for arguments in [
                    &["-H", &shown, &format!("{base}/fetch/{}", origin.url(&path))][..],
                    &[&both[..], &[&format!("{base}/fetch/{}", origin.url(&path))]].concat(),
                    &["-H", &shown, "--proxy-header", &to_proxy, "-x", base, &origin.url(&path)],
                    &[&both[..], &[&format!("{}/proxy?q={escaped}", pool[0].url())]].concat(),
                ] {
                    assert_eq!(curl(arguments), path, "{arguments:?}");
                }
            }
        }
    }
    assert!(origin.count() >= 3);
    for received in origin.seen() {
        assert!(received.field("authorization").is_none(), "{received:?}");
    }
}

#[test]
fn credentials_for_one_origin_do_not_follow_a_redirect_to_another() {
    let elsewhere = Origin::start(|received| Reply::target(received).field("Cache-Control", "max-age=60"));
    // For cookies, only another name is another site.
    let (there, folder) =
        (elsewhere.url("/file").replace("127.0.0.1", "localhost"), tempfile::tempdir().unwrap());
    let away = there.clone();
    let origin = Origin::start(move |received| match &*received.target {
        "/away" => Reply::status(302).field("Location", &away),
        "/here" => Reply::status(302).field("Location", "/file"),
        _ => Reply::target(received),
    });
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let mirror = format!("m={}", origin.url("/"));
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--mirror", &mirror]);
    let pool = PeerProcess::pool(2);
    let with_token = PeerProcess::start_as("127.0.0.1:0", &["--token-file", token.to_str().unwrap()]);
    let curl = |arguments: &[&str]| {
        let mut curl = program("curl", folder.path());
        output(curl.args(["-sSfL", "-w", " %{url_effective}"]).args(arguments))
    };
    let gateway = |peer: &PeerProcess| format!("{}/fetch/{}", peer.url(), origin.url(""));
    // Of two peers, at least one passes the request on.
    for of_origin in
        [gateway(&peer), gateway(&pool[0]), gateway(&pool[1]), format!("{}/mirror/m", peer.url())]
    {
        for credentials in [["-u", "user:of-the-origin"], ["-H", "Cookie: a=of-the-origin"]] {
            let away = curl(&[&credentials[..], &[&format!("{of_origin}/away")]].concat());
            assert_eq!(away, format!("/file {there}"));
            let here = curl(&[&credentials[..], &[&format!("{of_origin}/here")]].concat());
            let authority = of_origin.strip_prefix("http://").unwrap();
            assert!(here.starts_with("/file ") && here.ends_with(&format!("{authority}/file")), "{here}");
        }
        assert!(curl(&[&format!("{of_origin}/away")]).contains("/fetch/"), "{of_origin}");
    }
    // The token is not for the origin.
    let prefix = format!("{}/fetch/{}", with_token.url(), origin.url("/away"));
    assert!(curl(&["-u", &format!("any:{TOKEN}"), &prefix]).contains("/fetch/"));
    let is_shown = |origin: &Origin| {
        origin.seen().iter().any(|received| format!("{received:?}").contains("of-the-origin"))
    };
    let has_basic =
        |origin: &Origin| origin.seen().iter().any(|received| received.field("authorization").is_some());
    assert!(is_shown(&origin) && has_basic(&origin), "{:?}", origin.seen());
    assert!(!is_shown(&elsewhere) && !has_basic(&elsewhere), "{:?}", elsewhere.seen());
}

#[test]
fn pages_are_sandboxed_and_cookies_removed_in_prefix_form_only() {
    let origin = origin();
    let start =
        |options: &[&str]| PeerProcess::start_as("127.0.0.1:0", &[options, &["--http-proxy"]].concat());
    for (options, is_sandboxed) in [(&[][..], true), (&["--allow-pages"], false)] {
        let peer = start(options);
        for _ in 0..2 {
            let page = get(peer.address, &format!("/fetch/{}", origin.url("/a")), "127.0.0.1", "");
            assert_eq!(
                page.field("content-security-policy"),
                is_sandboxed.then_some("sandbox allow-downloads")
            );
            assert_eq!(
                (page.field("x-content-type-options"), page.field("set-cookie")),
                (Some("nosniff"), None)
            );
            let proxied = get(peer.address, &origin.url("/a"), "a.example", "");
            assert_eq!(
                (proxied.field("content-security-policy"), proxied.field("set-cookie")),
                (None, Some("a=b"))
            );
        }
        let target = format!("/fetch/{}", origin.url("/a"));
        for (site, may_pass) in [("same-origin", !is_sandboxed), ("cross-site", false), ("none", true)] {
            let status =
                get(peer.address, &target, "127.0.0.1", &format!("Sec-Fetch-Site: {site}\r\n")).status;
            assert_eq!(status, if may_pass { 200 } else { 403 }, "{site}");
        }
        assert_eq!(get(peer.address, &target, "evil.example", "").status, 421);
    }
    let plain = PeerProcess::start();
    assert_eq!(get(plain.address, "http://other.example/a", "127.0.0.1", "").status, 421);
}

#[test]
fn loops_end_with_508() {
    let listeners = [listen(), listen()];
    let [one, two] = [0, 1].map(|index: usize| format!("http://{}", listeners[index].local_addr().unwrap()));
    let mirror = |name: &str, url: &str| format!("{name}={url}").parse().unwrap();
    let peers = [
        Peer::builder(&one).mirror(mirror("a", &format!("{two}/mirror/b/"))).build().unwrap(),
        Peer::builder(&two).mirror(mirror("b", &format!("{one}/mirror/a/"))).build().unwrap(),
    ];
    let servers = listeners.map(|listener| {
        let own = format!("http://{}", listener.local_addr().unwrap());
        let peer = peers.iter().find(|peer| peer.self_url().as_str() == own).unwrap();
        peer.serve_on(listener, ServerConfig::new().http_proxy(true)).unwrap()
    });
    let address = servers[0].local_addr();
    for target in [
        "/mirror/a/x".to_owned(),
        format!("/fetch/{two}/mirror/b/x"),
        format!("{two}/mirror/b/x"),
        format!("/fetch/{one}/x"),
        format!("/fetch/{one}/fetch/{one}/x"),
        format!("/fetch/{one}/proxy?q=http://h/"),
        format!("/fetch/http://localhost:{}/x", address.port()),
    ] {
        let response = get(address, &target, "127.0.0.1", "");
        assert_eq!(response.status, 508, "{target}: {}", String::from_utf8_lossy(&response.body));
    }
}

#[test]
fn gateways_that_ask_each_other_end_with_508() {
    let listeners = [listen(), listen()];
    let urls = [0, 1].map(|index: usize| format!("http://{}", listeners[index].local_addr().unwrap()));
    let [one, two] = listeners;
    let gateway = |listener, own: &String, other: &String| {
        let gateway = Peer::builder(own).pool([other]).gateway(true).build().unwrap();
        gateway.serve_on(listener, ServerConfig::new().http_proxy(true)).unwrap()
    };
    let one = gateway(one, &urls[0], &urls[1]);
    let _two = gateway(two, &urls[1], &urls[0]);
    let origin = origin().may_be_unused();
    for target in [origin.url("/a"), format!("/fetch/{}", origin.url("/a"))] {
        let response = get(one.local_addr(), &target, "127.0.0.1", "");
        let reason = String::from_utf8_lossy(&response.body);
        assert!(
            response.status == 508 && reason.contains("gateway"),
            "{target}: {} {reason}",
            response.status
        );
    }
    assert_eq!(origin.count(), 0);
}

/// What is not the URL of an origin in any form.
const BAD_URLS: [&str; 32] = [
    "http:",
    "http:/",
    "http://",
    "http:///",
    "ftp://h/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "ws://h/",
    "http:h/",
    "http://u@h/",
    "http://u:p@h/",
    "http://:80/",
    "http://h:99999/",
    "http://h:-1/",
    "http://h:0x50/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://017700000001/",
    "http://2130706433/",
    "http://[::1/",
    "http://::1/",
    "http://[fe80::1%25eth0]/",
    "http://h\\/",
    "http://a..b/",
    "http://%31/",
    "http://h%2Fx/",
    "http://h%00/",
    "http://?x",
    "hhttp://h/",
    "http;//h/",
    "http://h|x/",
    "http://h<x/",
];

/// Targets in prefix form that no server may fetch.
fn bad_prefixes(url: &str) -> Vec<String> {
    let authority = url.strip_prefix("http://").unwrap();
    let mut bad: Vec<String> = [
        "",
        "/",
        "x",
        "http",
        "https://",
        "//h/",
        "data:,x",
        "http://h:/%zz:0x50",
        "?q=http://h/",
        "http%3A%2F%2Fh%2F",
        "HTTP//h/",
        "http://169.254.169.254/",
    ]
    .iter()
    .chain(&BAD_URLS)
    .map(|rest| format!("/fetch/{rest}"))
    .collect();
    bad.extend([
        format!("/fetch/http://{authority}#fragment"),
        format!("/fetch/{url}/{}", "a".repeat(9000)),
        format!("/fetch/http://{}/", "a".repeat(300)),
        format!("/fetch//fetch/{url}/"),
        format!("/fetch/fetch/{url}/"),
        format!("/FETCH/{url}/"),
        format!("/fetch/{url}/\u{7f}"),
        format!("/fetch/{url}/a\tb"),
        format!("/fetch/{url}/a b"),
        format!("//fetch/{url}/"),
    ]);
    bad
}

/// Targets that name no URL of the mirror `m`, for some server at least.
fn bad_mirrors(url: &str) -> Vec<String> {
    let ends =
        ["", "/", "/x", "%2fx", "%2F..%2fx", "%5cx", "\\x", ";/x", ";a=b/x", "?x", "/./x", "//x", "/a/../x"];
    let below = ["..", "%2e%2e", ".%2E", "%2e.", "a/../.."].into_iter();
    let mut bad: Vec<String> = below
        .flat_map(|dots| ends.map(|end| format!("/mirror/m/{dots}{end}")))
        .chain(
            [
                "",
                "/",
                "/m",
                "/m?x",
                "/m;x/",
                "/m%2fx",
                "/m/../../fetch/",
                "/M/x",
                "/%6d/x",
                "//m/x",
                "/./m/x",
                "/none/x",
            ]
            .map(|rest| format!("/mirror{rest}")),
        )
        .collect();
    bad.extend([
        format!("/mirror/{url}/"),
        format!("/mirror/none/{url}"),
        format!("/mirror/m/{}", "a".repeat(9000)),
        "/mirror/m/x#f".to_owned(),
        "/mirror/m/a b".to_owned(),
        "/mirror/m/a\tb".to_owned(),
        "/mirror/m/\u{7f}".to_owned(),
        "/mirror/m/\u{1}".to_owned(),
        "//mirror/m/x".to_owned(),
        "/MIRROR/m/x".to_owned(),
        "/x/../mirror/m/x".to_owned(),
    ]);
    bad
}

/// Targets in absolute form that no proxy may fetch.
fn bad_absolutes(url: &str) -> Vec<String> {
    let authority = url.strip_prefix("http://").unwrap();
    let mut bad: Vec<String> = [
        "gopher://h/",
        "mailto:a@b",
        "urn:x:y",
        "http://@h/",
        "http://h:8o/",
        "http//h/",
        "http://h>x/",
        "http://h\"x/",
        "http://h^x/",
        "http://h`x/",
        "http://h{x}/",
        "://h/",
        "h/",
        "http://h:80:80/",
        "http://169.254.169.254/latest/",
    ]
    .iter()
    .chain(&BAD_URLS)
    .map(|url| (*url).to_owned())
    .collect();
    bad.extend([
        format!("http://{authority}/#fragment"),
        format!("{url}/{}", "a".repeat(9000)),
        format!("http://{}/", "a".repeat(300)),
        format!("{url}/\u{7f}"),
        format!("{url}/a\tb"),
        format!("{url}/a b"),
        format!("{url}\u{1}/"),
        format!("http://user@{authority}/"),
    ]);
    bad
}

#[test]
fn malformed_targets_reach_no_origin() {
    let origin = origin().may_be_unused();
    let mirror = format!("m={}", origin.url("/below/"));
    let options = ["--http-proxy", "--mirror", &mirror];
    let peer = PeerProcess::start_as("127.0.0.1:0", &options);
    let url = origin.url("");
    let bad = [bad_prefixes(&url), bad_absolutes(&url), bad_mirrors(&url)];
    for targets in &bad {
        assert!(targets.len() >= 50, "{}", targets.len());
        for target in targets {
            for lines in ["", "Cache-Control: max-stale=1\r\n"] {
                let response = get(peer.address, target, "127.0.0.1", lines);
                // 403 and 404: a forbidden address, an unknown path; 502 and 504: a name that does not exist.
                let is_refused = matches!(response.status, 400 | 403 | 404 | 414 | 421 | 502 | 504);
                assert!(is_refused, "{target}: {}", response.status);
            }
        }
    }
    // A target replaces Host (RFC 9112 section 3.2.2), and CONNECT and TRACE are not a way around the forms.
    let absolute = get(peer.address, &format!("{url}/a"), "other.example", "");
    assert_eq!((absolute.status, origin.seen()[0].field("host")), (200, url.strip_prefix("http://")));
    let mut connection = Connection::open(peer.address);
    connection
        .write(format!("TRACE {url}/t HTTP/1.1\r\nHost: h\r\n\r\nPURGE {url}/t HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!([connection.read_response().status, connection.read_response().status], [405, 405]);
    assert_eq!(origin.count(), 1);
    assert!(peer.process.stderr().lines().all(|line| !line.contains("panic")), "{}", peer.process.stderr());
}

#[test]
fn handler_of_another_server_needs_the_address_of_its_client() {
    use forwardcache::Body;
    use forwardcache::server::RemoteAddress;
    let origin = origin();
    let peer = LocalPeer::start();
    let ask = |remote: Option<&str>| {
        let request = http::Request::get(format!("/fetch/{}", origin.url("/a"))).header("host", "127.0.0.1");
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(remote) = remote {
            request.extensions_mut().insert(RemoteAddress(remote.parse().unwrap()));
        }
        peer.peer.handler()(request).status().as_u16()
    };
    assert_eq!([None, Some("10.0.0.1:1"), Some("127.0.0.1:1")].map(ask), [403, 403, 200]);
}
