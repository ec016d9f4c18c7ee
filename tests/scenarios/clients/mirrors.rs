//! Mirrors with credentials, origins over TLS, and a proxy on an address of its own.

use std::fs;
use std::path::Path;

use super::program::{Gateway, output, program};
use crate::processes::PeerProcess;
use crate::support::origin::{Origin, Reply};
use crate::support::port::Port;
use crate::support::tls::TlsOrigin;
use crate::support::wait_until;

/// Runs curl, and returns the status and the body.
fn curl(home: &Path, arguments: &[&str]) -> (u16, String) {
    let text = output(program("curl", home).args(["-sS", "-w", " %{http_code}"]).args(arguments));
    let (body, status) = text.rsplit_once(' ').expect("a space precedes the status");
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn https_is_cached_in_prefix_form_and_through_mirrors() {
    let origin = TlsOrigin::start(Reply::target);
    let pool = PeerProcess::pool_as(3, &["--cacert", origin.ca_file().to_str().unwrap()]);
    let mirror = format!("tls={}", origin.url_by_name("/below/"));
    let gateway = Gateway::start(&PeerProcess::urls(&pool), &["--mirror", &mirror]);
    let folder = tempfile::tempdir().unwrap();
    let urls: Vec<_> = (0..6).map(|number| origin.url_by_name(&format!("/below/{number}?a=b"))).collect();
    let check = || {
        for (number, url) in urls.iter().enumerate() {
            let path = format!("/below/{number}?a=b");
            let forms = [
                format!("{}/fetch/{url}", gateway.url),
                format!("{}/mirror/tls/{number}?a=b", gateway.url),
                format!("{}/fetch/{url}", pool[number % 3].url()),
            ];
            for form in &forms {
                assert_eq!(curl(folder.path(), &[form]), (200, path.clone()), "{form}");
            }
        }
    };
    check();
    check();
    assert_eq!(origin.count(), urls.len(), "{:?}", origin.seen());
    drop(origin);
    check();
}

#[test]
fn mirror_lends_its_credentials_only_to_its_own_urls() {
    let elsewhere = Origin::start(Reply::target);
    let away = elsewhere.url("/file");
    let origin = Origin::start(move |received| match (&*received.target, received.field("authorization")) {
        // The credentials of the file are the only ones that count: user:of-the-mirror.
        (_, None) => Reply::status(401).field("WWW-Authenticate", "Basic realm=\"a\""),
        (_, Some(shown)) if shown != "Basic dXNlcjpvZi10aGUtbWlycm9y" => Reply::status(403),
        ("/private/away", _) => Reply::status(302).field("Location", &away),
        ("/private/out", _) => Reply::status(302).field("Location", "/public"),
        ("/private/in", _) => Reply::status(302).field("Location", "file"),
        _ => Reply::target(received),
    });
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (credentials, token) =
        (write("credentials", "user:of-the-mirror\n"), write("token", "correct-horse-battery"));
    let mirror = format!("m={} credentials={credentials}", origin.url("/private/"));
    let (with_token, pool) = (["--mirror", &mirror, "--token-file", &token], PeerProcess::pool(3));
    let gateway = Gateway::start(&PeerProcess::urls(&pool), &["--mirror", &mirror]);
    let peer = PeerProcess::start_as("127.0.0.1:0", &with_token);
    let of_client = ["-u", "user:of-the-client"];
    let shows_token = ["-u", "any:correct-horse-battery"];
    for (base, options) in [(&gateway.url, &[][..]), (&gateway.url, &of_client), (&peer.url(), &shows_token)]
    {
        let get = |more: &[&str], path: &str| {
            curl(folder.path(), &[options, more, &["--path-as-is", &format!("{base}{path}")]].concat())
        };
        for _ in 0..2 {
            assert_eq!(get(&[], "/mirror/m/file"), (200, "/private/file".to_owned()), "{options:?}");
            assert_eq!(get(&["-L"], "/mirror/m/in"), (200, "/private/file".to_owned()), "{options:?}");
            assert_eq!(get(&["-L"], "/mirror/m/away"), (200, "/file".to_owned()), "{options:?}");
        }
        // Nothing but the mirror has the credentials: not the rest of its origin, nor prefix form.
        let refused = if options == of_client { 403 } else { 401 };
        assert_eq!(get(&["-L"], "/mirror/m/out").0, refused, "{options:?}");
        assert_eq!(get(&[], &format!("/fetch/{}", origin.url("/private/file"))).0, refused, "{options:?}");
        for path in
            ["../public", "%2e%2e/public", "..%2fpublic", "..;/public", "x/../../public", "..%5cpublic"]
        {
            assert_eq!(get(&[], &format!("/mirror/m/{path}")).0, 400, "{path}");
        }
    }
    for received in elsewhere.seen() {
        assert!(received.field("authorization").is_none(), "{received:?}");
    }
    let seen = origin.seen();
    let shown = |text: &str| seen.iter().any(|received| format!("{received:?}").contains(text));
    assert!(!shown("YW55OmNvcnJlY3Q") && !shown("correct-horse"), "{seen:?}");
}

#[test]
fn proxy_on_its_own_address_is_the_only_one() {
    let (origin, tls) = (Origin::start(Reply::target), TlsOrigin::start(Reply::target));
    let folder = tempfile::tempdir().unwrap();
    let port = Port::hold();
    let proxy = port.address().to_string();
    port.release();
    let ports = tls.address().port().to_string();
    let peer =
        PeerProcess::start_as("127.0.0.1:0", &["--http-proxy-listen", &proxy, "--connect-ports", &ports]);
    let through = |proxy: &str, more: &[&str]| curl(folder.path(), &[&["-x", proxy], more].concat());
    for _ in 0..2 {
        assert_eq!(through(&proxy, &[&origin.url("/a")]), (200, "/a".to_owned()));
    }
    assert_eq!(origin.count(), 1);
    let of_tls = ["--cacert", tls.ca_file().to_str().unwrap(), &tls.url_by_name("/b")];
    assert_eq!(through(&proxy, &of_tls), (200, "/b".to_owned()));
    // Both addresses have the other forms and one cache, and neither leads to itself or to the other.
    for address in [&proxy, &peer.address.to_string()] {
        let prefix = format!("http://{address}/fetch/{}", origin.url("/a"));
        assert_eq!(curl(folder.path(), &[&prefix]), (200, "/a".to_owned()));
        for other in [&proxy, &peer.address.to_string()] {
            let prefix = format!("http://{address}/fetch/http://{other}/fetch/{}", origin.url("/a"));
            assert_eq!(curl(folder.path(), &[&prefix]).0, 508, "{prefix}");
        }
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(through(&peer.address.to_string(), &["http://origin.example/a"]).0, 421);
    let refused =
        program("curl", folder.path()).args(["-sS", "-x", &peer.url()]).args(of_tls).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("405"), "{refused:?}");
    let mut process = peer.process;
    process.signal("TERM");
    wait_until("the proxy still listens", || std::net::TcpStream::connect(&*proxy).is_err());
}
