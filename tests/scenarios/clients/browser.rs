//! Chromium as a client of the proxy, and of prefix form.

use serde_json::json;

use super::program::{Gateway, output, program};
use super::site::Files;
use crate::processes::PeerProcess;
use crate::support::browser::Browser;
use crate::support::origin::{Origin, Reply};
use crate::support::tls::TlsOrigin;
use crate::support::wait_until;

/// A page whose parts have relative links. Each part that runs or is loaded sets an attribute of the body.
const PAGE: &str = r#"<!DOCTYPE html><title>page</title><link rel="stylesheet" href="style.css">
<link rel="icon" href="data:,">
<body>text of the page<img src="../pictures/dot.svg" onload="document.body.dataset.image = this.naturalWidth">
<iframe src="below/frame.html" onload="document.body.dataset.frame = this.contentDocument.body.textContent.trim()"></iframe>
<script src="run.js"></script>"#;

fn origin() -> Origin {
    let picture = r#"<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"></svg>"#;
    Files::default()
        .add("/site/page.html", "text/html", PAGE)
        .add("/site/style.css", "text/css", "body { color: red }")
        .add(
            "/site/run.js",
            "text/javascript",
            "document.body.dataset.color = getComputedStyle(document.body).color",
        )
        .add("/site/below/frame.html", "text/html", "<!DOCTYPE html><body>text of the frame")
        .add("/pictures/dot.svg", "image/svg+xml", picture)
        .serve()
}

/// Opens a page in a new browser, with these options. Returns the document after it is loaded, and the messages of the console.
fn browse(url: &str, options: &[&str]) -> (String, Vec<String>) {
    let mut browser = Browser::start_with(options);
    browser.open(url);
    (browser.html(), browser.console())
}

/// The paths of all parts of the page.
const PARTS: [&str; 5] =
    ["/site/page.html", "/site/style.css", "/site/run.js", "/site/below/frame.html", "/pictures/dot.svg"];

/// Checks that the browser has loaded all parts of the page and run the script.
fn assert_complete(page: &str) {
    for expected in [
        "text of the page",
        r#"data-color="rgb(255, 0, 0)""#,
        r#"data-image="7""#,
        r#"data-frame="text of the frame""#,
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

/// Checks that the page came from the origin once, in each part.
fn assert_fetched_once(origin: &Origin) {
    for part in PARTS {
        assert_eq!(origin.count_of(part), 1, "{part}: {:?}", origin.seen());
    }
}

#[test]
fn browser_uses_the_gateway_as_its_proxy() {
    let (origin, mut pool) = (origin(), PeerProcess::pool(3));
    let gateway = Gateway::start(&PeerProcess::urls(&pool), &[]);
    let proxy = format!("--proxy-server={}", gateway.url);
    // The browser sends requests for loopback addresses to a proxy only with this option.
    let options = [proxy.as_str(), "--proxy-bypass-list=<-loopback>"];
    for round in 0..2 {
        let (page, console) = browse(&origin.url("/site/page.html"), &options);
        assert_complete(&page);
        assert!(console.is_empty(), "{round}: {console:?}");
        assert_fetched_once(&origin);
    }
    assert!(origin.seen().iter().all(|received| received.field("via").is_some()), "{:?}", origin.seen());
    pool[0].process.kill();
    assert_complete(&browse(&origin.url("/site/page.html"), &options).0);
}

#[test]
fn browser_opens_https_pages_through_a_tunnel_of_the_proxy() {
    let origin = TlsOrigin::start(|_| Reply::ok("text of the page").field("Content-Type", "text/html"));
    let port = origin.address().port().to_string();
    let peer = PeerProcess::start_as("127.0.0.1:0", &["--http-proxy", "--connect-ports", &port]);
    let proxy = format!("--proxy-server={}", peer.url());
    // The browser does not know the authority of the test. The peer sees the name, but not the certificate.
    let options = [&*proxy, "--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors"];
    let (page, _) = browse(&origin.url_by_name("/page"), &options);
    assert!(page.contains("text of the page"), "{page}");
    assert!(origin.seen().iter().all(|received| received.field("via").is_none()), "{:?}", origin.seen());
    let mut browser = Browser::start_with(&options);
    // Another port than the allowed one.
    let refused = browser.call("Page.navigate", &json!({"url": "https://localhost/"}));
    assert_eq!(refused["errorText"], "net::ERR_TUNNEL_CONNECTION_FAILED");
}

#[test]
fn page_in_prefix_form_is_shown_and_runs_only_if_the_operator_allows_pages() {
    let origin = origin();
    let sandboxed = PeerProcess::start();
    let url = |peer: &PeerProcess| format!("{}/fetch/{}", peer.url(), origin.url("/site/page.html"));
    let (page, console) = browse(&url(&sandboxed), &[]);
    assert!(page.contains("text of the page") && !page.contains("data-"), "{page}");
    assert!(console.iter().any(|line| line.contains("sandboxed")), "{console:?}");
    // The parts would belong to the page of another site, as far as the browser can tell.
    assert_eq!(origin.count_of("/site/run.js") + origin.count_of("/site/below/frame.html"), 0);

    let allowing = PeerProcess::start_as("127.0.0.1:0", &["--allow-pages"]);
    let before = origin.count_of("/site/page.html");
    let (page, console) = browse(&url(&allowing), &[]);
    assert_complete(&page);
    assert!(console.is_empty(), "{console:?}");
    assert_eq!(origin.count_of("/site/page.html"), before + 1);
    for part in &PARTS[1..] {
        assert_eq!(origin.count_of(part), 1, "{part}: {:?}", origin.seen());
    }
}

/// A page with links. Everything else in it leads to a page of another site, and must not be requested.
const PAGE_WITH_LINKS: &str = r#"<!DOCTYPE html><title>links</title><link rel="prefetch" href="@OTHER@prefetch">
<meta http-equiv="refresh" content="0; url=@OTHER@refresh"><link rel="stylesheet" href="@OTHER@style">
<body background="@OTHER@background"><a id="next" href="next.html">next</a> <a id="moved" href="moved">moved</a>
<a id="file" href="file.bin">file</a> <a id="other" href="@OTHER@link-of-the-user">other</a>
<a id="tab" href="@OTHER@tab" target="_blank">tab</a> <a id="ping" href="next.html" ping="@OTHER@ping">ping</a>
<form action="@OTHER@form" method="post"><button id="form">send</button></form>
<iframe src="@OTHER@iframe"></iframe><object data="@OTHER@object"></object><embed src="@OTHER@embed">
<img src="@OTHER@image"><script>location = "@OTHER@script"</script>"#;

#[test]
fn links_of_a_page_in_a_sandbox_work_and_nothing_else_of_it() {
    let other = Origin::start(|received| Reply::target(received).field("Content-Type", "text/html"));
    let peer = PeerProcess::start();
    let of_other = format!("{}/fetch/{}", peer.url(), other.url("/"));
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/a/page" => {
            let link = format!("<{of_other}link-field>; rel=preload; as=image");
            let page = PAGE_WITH_LINKS.replace("@OTHER@", &of_other);
            Reply::ok(page).field("Content-Type", "text/html").field("Link", link)
        }
        "/a/next.html" => Reply::ok("text of the next page").field("Content-Type", "text/html"),
        "/a/moved" => Reply::status(302).field("Location", "/a/next.html"),
        "/a/file.bin" => Reply::ok("content").field("Content-Type", "application/octet-stream"),
        _ => Reply::status(404),
    });
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    browser.call("Page.setDownloadBehavior", &json!({"behavior": "allow", "downloadPath": folder.path()}));
    let page = format!("{}/fetch/{}", peer.url(), origin.url("/a/page"));
    for (link, text) in [
        ("#next", "text of the next page"),
        ("#moved", "text of the next page"),
        ("#ping", "text of the next page"),
        ("#other", "/link-of-the-user"),
    ] {
        browser.open(&page);
        browser.click(link);
        browser.wait_for_load();
        assert!(browser.html().contains(text), "{link}: {}", browser.html());
        // The browser repeats what it states of the link.
        browser.call("Page.reload", &json!({}));
        browser.wait_for_load();
        assert!(browser.html().contains(text), "{link}: {}", browser.html());
    }
    browser.open(&page);
    // A sandbox has no forms and opens no tabs.
    browser.click("#form");
    browser.click("#tab");
    browser.click("#file");
    let file = folder.path().join("file.bin");
    wait_until("the file is not saved", || std::fs::read(&file).is_ok_and(|content| content == b"content"));
    let seen = other.seen();
    assert!(seen.iter().all(|received| received.target == "/link-of-the-user"), "{seen:?}");
}

/// A page of another site that may run scripts. `@PREFIX@` is a URL in prefix form.
const FOREIGN_PAGE: &str = r#"<!DOCTYPE html><title>foreign</title><body>
<button id="open" onclick="opened = window.open('@PREFIX@/opened')">open</button>
<script>
const settled = [
    fetch("@PREFIX@/fetch"), fetch("@PREFIX@/opaque", { mode: "no-cors" }),
    fetch("@PREFIX@/post", { method: "POST", mode: "no-cors", credentials: "include" }),
    fetch("@PREFIX@/credentials", { credentials: "include" }),
    new Promise((resolve) => { const image = new Image(); image.onerror = resolve; image.src = "@PREFIX@/image"; }),
    new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.onload = resolve;
        frame.src = "@PREFIX@/iframe";
        document.body.append(frame);
    }),
];
Promise.allSettled(settled).then(() => { document.title = "settled"; });
</script>"#;

#[test]
fn page_of_another_site_leads_to_prefix_form_only_by_a_click_and_reads_nothing() {
    let origin = Origin::start(|_| Reply::ok("secret").field("Content-Type", "text/html"));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let with_token = ["--token-file", token.to_str().unwrap()];
    for options in [&[][..], &["--allow-pages"], &with_token] {
        let peer = PeerProcess::start_as("127.0.0.1:0", options);
        let prefix = format!("{}/fetch/{}", peer.url(), origin.url(""));
        let page = FOREIGN_PAGE.replace("@PREFIX@", &prefix);
        let foreign = Origin::start(move |_| Reply::ok(page.clone()).field("Content-Type", "text/html"));
        let mut browser = Browser::start();
        if options == with_token {
            // The browser then knows the token, as if its user had entered it.
            browser.open(&prefix.replacen("//", "//any:correct-horse-battery@", 1));
            assert!(browser.html().contains("secret"), "{}", browser.html());
        }
        let before = origin.count();
        // Another name of this machine is another site.
        browser.open(&foreign.url("/").replace("127.0.0.1", "localhost"));
        wait_until("the requests of the page never end", || browser.evaluate("document.title") == "settled");
        assert_eq!(origin.count(), before, "{options:?}: {:?}", origin.seen());
        browser.click("#open");
        let is_shown = options != ["--allow-pages"];
        if is_shown {
            wait_until("the page is not requested", || origin.count_of("/opened") > 0);
        }
        let read = "try { opened.document.title; '' } catch (error) { error.name }";
        wait_until("the page can be read", || browser.evaluate(read) == "SecurityError");
        browser.evaluate(&format!("location = '{prefix}/location'; null"));
        browser.wait_for_load();
        assert_eq!(origin.count() - before, usize::from(is_shown), "{options:?}: {:?}", origin.seen());
    }
}

#[test]
fn browser_sends_the_credentials_for_one_origin_to_no_other() {
    let start = || {
        Origin::start(|received| match received.field("authorization") {
            None => Reply::status(401)
                .field("WWW-Authenticate", "Basic realm=\"wiki\"")
                .field("Cache-Control", "max-age=60"),
            Some(_) => Reply::ok("secret"),
        })
    };
    let (one, other, peer) = (start(), start(), PeerProcess::start_as("127.0.0.1:0", &["--http-proxy"]));
    let prefix = |origin: &Origin| format!("{}/fetch/{}", peer.url(), origin.url("/"));
    let mut browser = Browser::start();
    for _ in 0..2 {
        browser.open(&prefix(&one).replacen("//", "//user:of-one@", 1));
        browser.open(&prefix(&other));
    }
    let has_credentials =
        |origin: &Origin| origin.seen().iter().any(|received| received.field("authorization").is_some());
    assert!(!has_credentials(&other), "{:?}", other.seen());
    assert_eq!((one.count(), other.count()), (1, 1));
    // A program that is not a browser is asked for credentials.
    let curl = ["-sS", "-o", "-", "--anyauth", "-u", "user:of-one"];
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(output(program("curl", folder.path()).args(curl).arg(prefix(&one))), "secret");
    // A browser that uses the peer as its proxy knows the origin of each page.
    let proxy = format!("--proxy-server={}", peer.url());
    let mut browser = Browser::start_with(&[&proxy, "--proxy-bypass-list=<-loopback>"]);
    browser.open(&other.url("/").replacen("//", "//user:of-other@", 1));
    assert!(browser.html().contains("secret"), "{}", browser.html());
}
