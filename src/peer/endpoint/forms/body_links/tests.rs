use super::*;

fn links(mirror: &str, method: &Method, fields: &[(&'static str, &str)]) -> (BodyLinks, HeaderMap) {
    let mirrors = ["files=https://files.ex/f/".parse().unwrap(), mirror.parse().unwrap()];
    let mirrors = Mirrors::new(mirrors.into());
    let path = mirror.split('=').next().unwrap();
    let mirror = Arc::clone(mirrors.find(&format!("/mirror/{path}/")).unwrap().0);
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    let links = BodyLinks::of(&mirror, &mirrors, "http://peer:3000".to_owned(), method, &mut headers);
    (links.unwrap(), headers)
}

const MIRROR: &str = "m=https://m.ex/ rewrite=files.ex,cdn.ex:8443";

fn target() -> CanonicalUrl {
    CanonicalUrl::parse("https://m.ex/index").unwrap()
}

fn response(content_type: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .header("content-type", content_type)
        .header("etag", "\"origin\"")
        .header("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")
        .header("repr-digest", "sha-256=:AAAA:")
        .body(body.into())
        .unwrap()
}

fn rewrite(links: &BodyLinks, response: Response<Body>) -> Response<Body> {
    links.rewrite(response, &target(), &Ledger::new(u64::MAX)).unwrap()
}

#[test]
fn urls_of_the_named_hosts_lead_to_mirrors_or_prefix_form() {
    let (links, _) = links(MIRROR, &Method::GET, &[]);
    for (given, expected) in [
        ("<a href=\"https://m.ex/x\">", "<a href=\"/mirror/m/x\">"),
        ("<a href='HTTPS://M.EX/x'>", "<a href='/mirror/m/x'>"),
        ("<a href=https://m.ex>", "<a href=/mirror/m/>"),
        ("<a href=\"//m.ex/x\">", "<a href=\"/mirror/m/x\">"),
        ("<a href=\"http://m.ex/x\">", "<a href=\"/fetch/http://m.ex/x\">"),
        (
            "https://files.ex/f/a#sha256=b https://files.ex/g",
            "/mirror/files/a#sha256=b /fetch/https://files.ex/g",
        ),
        ("(https://cdn.ex:8443/)", "(/fetch/https://cdn.ex:8443/)"),
        (
            "https://cdn.ex/ https://m.ex.evil/ https://m.ex:81/",
            "https://cdn.ex/ https://m.ex.evil/ https://m.ex:81/",
        ),
        (
            "xhttps://m.ex/ //m.ex/ https://m.exe/ https://m.ex@b/",
            "xhttps://m.ex/ //m.ex/ https://m.exe/ https://m.ex@b/",
        ),
        ("https://other.ex/?u=https://m.ex/", "https://other.ex/?u=/mirror/m/"),
        ("https://m.ex:443/x http://m.ex:80/", "/mirror/m/x /fetch/http://m.ex/"),
        ("https://m.ex:80/ http://m.ex:443/", "https://m.ex:80/ http://m.ex:443/"),
        ("https://m.ex:4430/ https://m.ex:443@b/", "https://m.ex:4430/ https://m.ex:443@b/"),
        (
            "<a href=\"/x\"><a href=\"/mirror/m/\">",
            "<a href=\"/mirror/m/x\"><a href=\"/mirror/m/mirror/m/\">",
        ),
        ("<a HREF='/'><img\nsrc=/x?/>", "<a HREF='/mirror/m/'><img\nsrc=/mirror/m/x?/>"),
        ("<a href=\"/?u=https://m.ex/\">", "<a href=\"/mirror/m/?u=/mirror/m/\">"),
        ("<a href=\"/\\m.ex\"><a href=\"///m.ex\">", "<a href=\"/\\m.ex\"><a href=\"///m.ex\">"),
        (
            "<a data-href=\"/x\"><a href=x/y>=\"/x\" 'src/' /",
            "<a data-href=\"/x\"><a href=x/y>=\"/x\" 'src/' /",
        ),
        ("href=\"/x\"", "href=\"/x\""),
        ("nothing", "nothing"),
    ] {
        let rewritten = rewrite(&links, response("text/html; charset=utf-8", given));
        assert_eq!(rewritten.into_body().into_text().unwrap(), expected, "{given}");
    }
    for (given, expected) in [
        (r#"{"dl":"https://m.ex/x"}"#, r#"{"dl":"http://peer:3000/mirror/m/x"}"#),
        (r#"{"dl":"https:\/\/m.ex\/x"}"#, r#"{"dl":"http://peer:3000/mirror/m/x"}"#),
        (
            r#"["https:\/\/files.ex\/f\/a","https://files.ex/g"]"#,
            r#"["http://peer:3000/mirror/files/a","http://peer:3000/fetch/https://files.ex/g"]"#,
        ),
        (r#"{"a":"//m.ex/x"}"#, r#"{"a":"//m.ex/x"}"#),
        (r#"{"a":" href='/x'"}"#, r#"{"a":" href='/x'"}"#),
        (r#"["https:\/\/m.ex:443\/x"]"#, r#"["http://peer:3000/mirror/m/x"]"#),
    ] {
        let rewritten = rewrite(&links, response("application/vnd.index+json", given));
        assert_eq!(rewritten.into_body().into_text().unwrap(), expected, "{given}");
    }
}

#[test]
fn paths_of_the_host_lead_below_the_mirror_or_to_prefix_form() {
    let (links, _) = links("m=http://m.ex/a/ rewrite=", &Method::GET, &[]);
    for (given, expected) in [
        ("<a href=\"/a/x\">", "<a href=\"/mirror/m/x\">"),
        ("<a href=\"/a\">", "<a href=\"/fetch/http://m.ex/a\">"),
        ("<a href=\"/\">", "<a href=\"/fetch/http://m.ex/\">"),
        ("<a href=\"/fetch/http://o.ex/\">", "<a href=\"/fetch/http://m.ex/fetch/http://o.ex/\">"),
    ] {
        let rewritten = rewrite(&links, response("text/html", given));
        assert_eq!(rewritten.into_body().into_text().unwrap(), expected, "{given}");
    }
}

#[test]
fn rewritten_response_has_a_weak_validator_of_its_own() {
    let (first, headers) =
        links(MIRROR, &Method::GET, &[("if-none-match", "\"origin\""), ("range", "bytes=0-1")]);
    assert_eq!(headers["if-none-match"], "\"origin\"");
    assert!(!headers.contains_key("range"));
    assert_eq!(headers["accept-encoding"], "identity");
    let rewritten = rewrite(&first, response("text/html", "https://m.ex/"));
    let tag = rewritten.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/\"rewritten-"), "{tag}");
    for name in ["last-modified", "repr-digest"] {
        assert!(!rewritten.headers().contains_key(name), "{name}");
    }
    let fields = [("if-none-match", &*format!("\"x\", {tag}")), ("if-modified-since", "now")];
    let (again, headers) = links(MIRROR, &Method::GET, &fields);
    assert!(!headers.contains_key("if-none-match") && !headers.contains_key("if-modified-since"));
    let same = rewrite(&again, response("text/html", "https://m.ex/"));
    assert_eq!((same.status(), same.headers()["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, &*tag));
    assert_eq!(rewrite(&again, response("text/html", "https://m.ex/new")).status(), StatusCode::OK);
    let unchanged = rewrite(&again, response("text/html", "no link"));
    assert_eq!(unchanged.headers()["etag"], "\"origin\"");
    let (head, _) = links(MIRROR, &Method::HEAD, &[]);
    assert!(!rewrite(&head, response("text/html", Body::empty())).headers().contains_key("etag"));
}

#[test]
fn gzip_stays_gzip_and_other_codings_are_not_changed() {
    let (links, headers) = links(MIRROR, &Method::GET, &[("accept-encoding", "br, GZIP;q=0.5")]);
    assert_eq!(headers["accept-encoding"], "gzip");
    let with_coding = |coding: &str, body: Vec<u8>| {
        let mut response = response("text/html", body);
        response.headers_mut().insert(CONTENT_ENCODING, coding.parse().unwrap());
        response
    };
    let text = b"<a href='https://m.ex/'>";
    let gzip = |text: &[u8]| compressed(text, &Ledger::new(u64::MAX)).unwrap().to_vec();
    let of_rewritten = |body: Vec<u8>| {
        let rewritten = rewrite(&links, with_coding("gzip", body));
        assert_eq!(rewritten.headers()["content-encoding"], "gzip");
        let (mut text, bytes) = (String::new(), rewritten.into_body().into_bytes().unwrap());
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(of_rewritten(gzip(text)), "<a href='/mirror/m/'>");
    // A body of several members (RFC 1952 section 2.2) keeps all of them.
    assert_eq!(of_rewritten([gzip(text), gzip(b" end")].concat()), "<a href='/mirror/m/'> end");
    assert!(!links.may_change(&with_coding("br", text.to_vec()), &target()));
    assert_eq!(
        rewrite(&links, with_coding("gzip", text.to_vec())).into_body().into_bytes().unwrap(),
        &text[..]
    );
    let bomb = gzip(&vec![b' '; MAX_BODY + 1]);
    assert_eq!(rewrite(&links, with_coding("gzip", bomb.clone())).into_body().into_bytes().unwrap(), bomb);
}

#[test]
fn only_short_html_and_json_is_changed() {
    let (links, _) = links(MIRROR, &Method::GET, &[]);
    for (content_type, may_change) in [
        ("text/html", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/vnd.pypi.simple.v1+html", true),
        ("text/plain", false),
        ("application/octet-stream", false),
        ("image/png", false),
        ("text/html; charset=utf-16", false),
    ] {
        assert_eq!(links.may_change(&response(content_type, "x"), &target()), may_change, "{content_type}");
    }
    let config = CanonicalUrl::parse("https://m.ex/config.json").unwrap();
    assert!(links.may_change(&response("text/plain", "x"), &config));
    let mut forbidden = response("text/html", "x");
    forbidden.headers_mut().insert(CACHE_CONTROL, "max-age=1, no-transform".parse().unwrap());
    assert!(!links.may_change(&forbidden, &target()));
    let mut missing = response("text/html", "x");
    *missing.status_mut() = StatusCode::PARTIAL_CONTENT;
    assert!(!links.may_change(&missing, &target()));

    let long = vec![b' '; MAX_BODY + 1];
    assert!(!links.may_change(&response("text/html", long.clone()), &target()));
    let stream = Body::from_reader(io::Cursor::new(long.clone()), None);
    let response = rewrite(&links, response("text/html", stream));
    assert_eq!(response.headers()["etag"], "\"origin\"");
    assert!(response.into_body().into_bytes().unwrap() == long);
}

#[test]
fn exhausted_memory_is_an_error() {
    let (links, _) = links(MIRROR, &Method::GET, &[]);
    let error =
        links.rewrite(response("text/html", "https://m.ex/"), &target(), &Ledger::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // A body of some KiB that is long when it is decompressed, and one with many short URLs, need the memory for that.
    let spaces = [&vec![b' '; 8 << 20][..], b"https://m.ex/"].concat();
    let mut bomb = response("text/html", compressed(&spaces, &Ledger::new(u64::MAX)).unwrap().to_vec());
    bomb.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for response in [bomb, response("text/html", "//files.ex=//files.ex=".repeat(100_000))] {
        let error = links.rewrite(response, &target(), &Ledger::new(6 << 20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn body_that_would_become_too_long_stays_as_it_is() {
    let (mut links, _) = links(MIRROR, &Method::GET, &[]);
    links.peer = format!("http://{}", "p".repeat(1000));
    let urls = r#""https://m.ex/","#.repeat(MAX_RESULT / 1000);
    let unchanged = rewrite(&links, response("application/json", urls.clone()));
    assert_eq!(unchanged.headers()["etag"], "\"origin\"");
    assert!(unchanged.into_body().into_bytes().unwrap() == urls);
}
