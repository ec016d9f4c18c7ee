//! Chromium as a client of the proxy, and of prefix form.

use super::program::Gateway;
use super::site::Files;
use crate::processes::PeerProcess;
use crate::support::browser::Browser;
use crate::support::origin::Origin;

/// A page whose parts have relative links. Each part that runs or is loaded sets an attribute of the body.
const PAGE: &str = r#"<!DOCTYPE html><title>page</title><link rel="stylesheet" href="style.css">
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
