use std::sync::Arc;

use super::*;

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn query(pass_cookies: bool) -> View {
    View {
        form: Form::Query,
        mirrors: Mirrors::default(),
        pass_cookies,
        is_browser: false,
        has_credentials: false,
    }
}

#[test]
fn relative_references_become_absolute() {
    let target = CanonicalUrl::parse("https://a.ex/b/c?d").unwrap();
    for (given, expected) in [
        ("/x?y#z", "https://a.ex/x?y#z"),
        ("x", "https://a.ex/b/x"),
        ("../x", "https://a.ex/x"),
        ("//b.ex/x", "https://b.ex/x"),
        ("?e", "https://a.ex/b/c?e"),
        ("", "https://a.ex/b/c?d"),
        ("#f", "https://a.ex/b/c?d#f"),
        ("http://b.ex/%7e", "http://b.ex/%7e"),
        ("mailto:a@b", "mailto:a@b"),
    ] {
        for name in ["location", "content-location"] {
            let mut headers = fields(&[(name, given)]);
            query(false).rewrite(&mut headers, &target);
            assert_eq!(headers[name], expected, "{name}: {given}");
        }
    }
    for (given, expected) in [
        ("5; url=/x", "5; url=https://a.ex/x"),
        ("0;URL='x'", "0; url=https://a.ex/b/x"),
        ("5", "5"),
        ("5; url=http://b.ex/", "5; url=http://b.ex/"),
        ("0;/x", "0; url=https://a.ex/x"),
        ("0.5, x", "0.5; url=https://a.ex/b/x"),
        ("0 url = x", "0; url=https://a.ex/b/x"),
        ("0; url=\"/x\"y", "0; url=https://a.ex/x"),
        ("0; urls", "0; url=https://a.ex/b/urls"),
    ] {
        let mut headers = fields(&[("refresh", given)]);
        query(false).rewrite(&mut headers, &target);
        assert_eq!(headers["refresh"], expected);
    }
}

#[test]
fn bytes_that_no_reference_contains_are_escaped() {
    let target = CanonicalUrl::parse("https://a.ex/").unwrap();
    for (name, given, expected) in [
        ("location", &b"/\xc3\xa9 x#\xe9"[..], "https://a.ex/%C3%A9%20x#%E9"),
        ("content-location", b"\xe9", "https://a.ex/%E9"),
        ("refresh", b"1; url=/\xc3\xa9", "1; url=https://a.ex/%C3%A9"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(given).unwrap());
        query(false).rewrite(&mut headers, &target);
        assert_eq!(headers[name], expected);
    }
    let prefix = View { form: Form::Prefix, ..query(false) };
    let mut headers = HeaderMap::new();
    headers.insert(LINK, HeaderValue::from_bytes(b"</\xc3\xa9>; title=\"\xc3\xa9\"").unwrap());
    prefix.rewrite(&mut headers, &target);
    assert_eq!(headers[LINK].as_bytes(), b"</fetch/https://a.ex/%C3%A9>; title=\"\xc3\xa9\"");
}

#[test]
fn reference_that_leads_nowhere_is_not_taken_for_one_to_the_peer() {
    let target = CanonicalUrl::parse("https://a.ex/").unwrap();
    let long = format!("/{}", "x".repeat(9000));
    for (name, values, left) in [
        ("location", &["//b.ex:99999/"][..], &[][..]),
        ("location", &["http:/proxy"], &[]),
        ("location", &["HTTP:proxy?q=x"], &[]),
        ("location", &["http:///proxy"], &[]),
        ("location", &[&*long], &[]),
        ("location", &["mailto:a@b", "//b:x/"], &["mailto:a@b"]),
        ("location", &["//b:x/", "/x"], &["/fetch/https://a.ex/x"]),
        ("location", &["/x", "/y"], &["/fetch/https://a.ex/x", "/fetch/https://a.ex/y"]),
        ("content-location", &["//a@b/"], &[]),
        ("refresh", &["0; //b:x/"], &[]),
        ("refresh", &["5", "0; url=/x"], &["5", "0; url=/fetch/https://a.ex/x"]),
        ("link", &["</a>, <//b:x/>", "</b>"], &["</fetch/https://a.ex/b>"]),
        ("location", &["http://u@b/", "http://b:99999/"], &["http://u@b/", "http://b:99999/"]),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        View { form: Form::Prefix, ..query(false) }.rewrite(&mut headers, &target);
        assert_eq!(headers.get_all(name).into_iter().collect::<Vec<_>>(), left, "{name}: {values:?}");
    }
}

#[test]
fn host_policies_are_removed_and_cookies_too_unless_passed() {
    let target = CanonicalUrl::parse("https://a.ex/").unwrap();
    let given = || {
        let mut headers = fields(&[("set-cookie", "a=1"), ("set-cookie2", "b=2"), ("etag", "\"x\"")]);
        SET_FOR_HOST.iter().for_each(|name| drop(headers.insert(name, HeaderValue::from_static("x"))));
        headers
    };
    let mut headers = given();
    query(false).rewrite(&mut headers, &target);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["etag"]);
    let mut headers = given();
    query(true).rewrite(&mut headers, &target);
    assert_eq!(headers.len(), 3);
}

#[test]
fn links_stay_in_the_form_of_the_request() {
    let mirrors: Vec<_> =
        ["a=https://a.ex/b/", "files=http://files.ex/"].map(|mirror| mirror.parse().unwrap()).into();
    let mirrors = Mirrors::new(mirrors);
    let mirror = Arc::clone(mirrors.find("/mirror/a/").unwrap().0);
    let view = |form| View { form, mirrors: mirrors.clone(), ..query(true) };
    let (prefix, mirror) = (view(Form::Prefix), view(Form::Mirror(mirror)));
    let (query, absolute) = (view(Form::Query), view(Form::Absolute));
    let target = CanonicalUrl::parse("https://a.ex/b/c?d").unwrap();
    for (name, given, in_prefix, in_mirror, in_query) in [
        ("location", "x#y", "/fetch/https://a.ex/b/x#y", "/mirror/a/x#y", "https://a.ex/b/x#y"),
        ("location", "/x", "/fetch/https://a.ex/x", "/fetch/https://a.ex/x", "https://a.ex/x"),
        (
            "location",
            "http://files.ex/f?g",
            "/fetch/http://files.ex/f?g",
            "/mirror/files/f?g",
            "http://files.ex/f?g",
        ),
        ("content-location", "//A.ex/b/", "/fetch/https://a.ex/b/", "/mirror/a/", "https://a.ex/b/"),
        ("location", "mailto:a@b", "mailto:a@b", "mailto:a@b", "mailto:a@b"),
        ("location", "http://u@a.ex/", "http://u@a.ex/", "http://u@a.ex/", "http://u@a.ex/"),
        (
            "refresh",
            "3; url=x",
            "3; url=/fetch/https://a.ex/b/x",
            "3; url=/mirror/a/x",
            "3; url=https://a.ex/b/x",
        ),
        (
            "link",
            "<x>; rel=\"<y>\", <https://c.ex/>; title=\"a\\\"<z>\"",
            "</fetch/https://a.ex/b/x>; rel=\"<y>\", </fetch/https://c.ex/>; title=\"a\\\"<z>\"",
            "</mirror/a/x>; rel=\"<y>\", </fetch/https://c.ex/>; title=\"a\\\"<z>\"",
            "<x>; rel=\"<y>\", <https://c.ex/>; title=\"a\\\"<z>\"",
        ),
        ("link", "<unterminated, <", "<unterminated, <", "<unterminated, <", "<unterminated, <"),
    ] {
        let views = [(&prefix, in_prefix), (&mirror, in_mirror), (&query, in_query), (&absolute, given)];
        for (view, expected) in views {
            let mut headers = fields(&[(name, given)]);
            view.rewrite(&mut headers, &target);
            assert_eq!(headers[name], expected, "{name}: {given}: {:?}", view.form);
        }
    }
}

#[test]
fn links_that_would_become_too_long_are_removed() {
    let target = CanonicalUrl::parse(&format!("https://a.ex/{}/", "d".repeat(8000))).unwrap();
    let mut headers = HeaderMap::new();
    headers.append(LINK, HeaderValue::from_static("<a>"));
    headers.append(LINK, "<a>,".repeat(15_000).parse().unwrap());
    View { form: Form::Prefix, ..query(false) }.rewrite(&mut headers, &target);
    assert_eq!(headers[LINK], format!("</fetch/{target}a>"));
    assert_eq!(headers.len(), 1);
    for _ in 0..200 {
        headers.append(LINK, HeaderValue::from_static("<b>, <c>"));
    }
    View { form: Form::Prefix, ..query(false) }.rewrite(&mut headers, &target);
    let length: usize = headers.values().map(HeaderValue::len).sum();
    assert!((MAX_LENGTH - 20_000..MAX_LENGTH + 20_000).contains(&length), "{length}");
}

#[test]
fn cookies_pass_only_where_the_program_knows_the_origin() {
    let target = CanonicalUrl::parse("https://a.ex/").unwrap();
    for (form, passes) in
        [(Form::Prefix, false), (Form::Absolute, true), (Form::Pool, true), (Form::Query, true)]
    {
        let view = View { form, ..query(true) };
        let mut headers = fields(&[("set-cookie", "a=1")]);
        view.rewrite(&mut headers, &target);
        assert_eq!(headers.contains_key("set-cookie"), passes, "{:?}", view.form);
    }
}

#[test]
fn credentials_for_one_origin_lead_to_no_other() {
    let mirrors =
        Mirrors::new(["a=https://a.ex/", "b=https://b.ex/"].map(|text| text.parse().unwrap()).into());
    let mirror = Arc::clone(mirrors.find("/mirror/a/").unwrap().0);
    let target = CanonicalUrl::parse("https://a.ex/x").unwrap();
    for (form, own) in [(Form::Prefix, "/fetch/https://a.ex/"), (Form::Mirror(mirror), "/mirror/a/")] {
        let view = View { form, mirrors: mirrors.clone(), has_credentials: true, ..query(false) };
        for (given, expected) in [
            ("y", format!("{own}y")),
            ("https://A.ex:443/y", format!("{own}y")),
            ("https://b.ex/y#z", "https://b.ex/y#z".to_owned()),
            ("//b.ex/y#z", "https://b.ex/y#z".to_owned()),
            ("http://a.ex/y", "http://a.ex/y".to_owned()),
            ("https://a.ex:444/y", "https://a.ex:444/y".to_owned()),
        ] {
            let (link, refresh) = (format!("<{given}>"), format!("0; url={given}"));
            let mut headers = HeaderMap::new();
            for (name, value) in [("location", given), ("link", &link), ("refresh", &refresh)] {
                headers.insert(name, value.parse().unwrap());
            }
            view.rewrite(&mut headers, &target);
            assert_eq!(headers["location"], expected);
            assert_eq!(headers["refresh"], format!("0; url={expected}"));
            assert!(headers["link"] == format!("<{expected}>") || headers["link"] == link, "{given}");
        }
    }
}

#[test]
fn credentials_are_fields_that_programs_leave_out_at_another_host() {
    for (name, expected) in [
        ("authorization", true),
        ("cookie", true),
        ("proxy-authorization", false),
        // npm sends it with each request.
        ("npm-auth-type", false),
    ] {
        assert_eq!(has_credentials(&fields(&[(name, "x")])), expected, "{name}");
    }
}

#[test]
fn browser_is_not_asked_for_credentials_that_it_would_send_to_every_origin() {
    let target = CanonicalUrl::parse("https://a.ex/x").unwrap();
    for form in [Form::Query, Form::Prefix, Form::Absolute, Form::Pool] {
        for is_browser in [false, true] {
            let is_kept = !is_browser || matches!(form, Form::Absolute | Form::Pool);
            let mut headers = fields(&[("www-authenticate", "Basic realm=\"a\"")]);
            View { form: form.clone(), is_browser, ..query(false) }.rewrite(&mut headers, &target);
            assert_eq!(headers.contains_key("www-authenticate"), is_kept, "{form:?} {is_browser}");
        }
    }
}

#[test]
fn odd_values_lead_to_the_same_form_or_away_from_the_peer() {
    let mirrors: Vec<_> = ["a=https://a.ex/b/", "root=http://r.ex/"].map(|text| text.parse().unwrap()).into();
    let mirrors = Mirrors::new(mirrors);
    let mirror = Arc::clone(mirrors.find("/mirror/a/").unwrap().0);
    let target = CanonicalUrl::parse("https://a.ex/b/c?d").unwrap();
    let long = format!("https://c.ex/{}", "x".repeat(9000));
    let mut headers = HeaderMap::new();
    // Values, and what a program sees in prefix form and through the mirror. `None` is a field that is removed.
    let removed = || (None, None);
    let same = |value: &str| (Some(value.to_owned()), Some(value.to_owned()));
    let seen = |prefix: &str, mirror: &str| (Some(format!("/fetch/{prefix}")), Some(mirror.to_owned()));
    for (given, expected) in [
        ("HTTPS://A.EX:443/b/%7e", seen("https://a.ex/b/~", "/mirror/a/~")),
        ("https://a.ex", seen("https://a.ex/", "/fetch/https://a.ex/")),
        ("https://a.ex/b", seen("https://a.ex/b", "/fetch/https://a.ex/b")),
        ("https://a.ex/b/?", seen("https://a.ex/b/?", "/mirror/a/?")),
        ("../../../x", seen("https://a.ex/x", "/fetch/https://a.ex/x")),
        ("./", seen("https://a.ex/b/", "/mirror/a/")),
        // The mirror refuses this path, because some servers find that it leads out of the mirror.
        ("..%2fx", seen("https://a.ex/b/..%2Fx", "/fetch/https://a.ex/b/..%2Fx")),
        ("..;/x", seen("https://a.ex/b/..;/x", "/fetch/https://a.ex/b/..;/x")),
        ("///x", removed()),
        ("/\\r.ex/", seen("https://a.ex/%5Cr.ex/", "/fetch/https://a.ex/%5Cr.ex/")),
        ("\\\\r.ex/", seen("https://a.ex/b/%5C%5Cr.ex/", "/mirror/a/%5C%5Cr.ex/")),
        ("//r.ex/x", seen("https://r.ex/x", "/fetch/https://r.ex/x")),
        ("http://r.ex?x", seen("http://r.ex/?x", "/mirror/root/?x")),
        ("\"https://r.ex/\"", seen("https://a.ex/b/%22https://r.ex/%22", "/mirror/a/%22https://r.ex/%22")),
        ("<https://r.ex/>", seen("https://a.ex/b/%3Chttps://r.ex/%3E", "/mirror/a/%3Chttps://r.ex/%3E")),
        (
            "/fetch/https://r.ex/",
            seen("https://a.ex/fetch/https://r.ex/", "/fetch/https://a.ex/fetch/https://r.ex/"),
        ),
        ("https://u:p@a.ex/b/", same("https://u:p@a.ex/b/")),
        ("//u:p@a.ex/b/", removed()),
        ("https://a.ex:0x1bb/b/", same("https://a.ex:0x1bb/b/")),
        ("https:b/x", removed()),
        ("https:/b/x", removed()),
        ("ftp://a.ex/b/", same("ftp://a.ex/b/")),
        ("javascript:alert(1)", same("javascript:alert(1)")),
        (
            "java\tscript:alert(1)",
            seen("https://a.ex/b/java%09script:alert(1)", "/mirror/a/java%09script:alert(1)"),
        ),
        ("data:text/html,x", same("data:text/html,x")),
        ("x:y", same("x:y")),
        ("./x:y", seen("https://a.ex/b/x:y", "/mirror/a/x:y")),
        ("1x:y", seen("https://a.ex/b/1x:y", "/mirror/a/1x:y")),
        (
            "https://a.ex/b/x#https://r.ex/",
            seen("https://a.ex/b/x#https://r.ex/", "/mirror/a/x#https://r.ex/"),
        ),
        (&long, same(&long)),
        (&long["https:".len()..], removed()),
    ] {
        for (form, expected) in
            [(Form::Prefix, &expected.0), (Form::Mirror(Arc::clone(&mirror)), &expected.1)]
        {
            let view = View { form, mirrors: mirrors.clone(), ..query(false) };
            for name in ["location", "content-location", "refresh"] {
                let in_refresh = |reference: &str| format!("5; url={reference}");
                let is_refresh = name == "refresh";
                // A refresh may be quoted, so the quotes are not a part of the reference.
                if is_refresh && given.starts_with('"') {
                    continue;
                }
                headers.clear();
                headers.insert(
                    name,
                    (if is_refresh { in_refresh(given) } else { given.to_owned() }).parse().unwrap(),
                );
                view.rewrite(&mut headers, &target);
                let expected = expected
                    .as_deref()
                    .map(|value| if is_refresh { in_refresh(value) } else { value.to_owned() });
                let left = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(left, expected, "{name}: {given}: {:?}", view.form);
            }
            if given.contains(['<', '"']) {
                continue;
            }
            headers.clear();
            headers.insert("link", format!("<{given}>; rel=next, <z>").parse().unwrap());
            view.rewrite(&mut headers, &target);
            let z = if matches!(view.form, Form::Prefix) { "/fetch/https://a.ex/b/z" } else { "/mirror/a/z" };
            let expected = expected.as_deref().map(|value| format!("<{value}>; rel=next, <{z}>"));
            let left = headers.get("link").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(left, expected, "link: {given}: {:?}", view.form);
        }
    }
}
