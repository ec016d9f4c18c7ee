use super::*;

fn joined(reference: &str) -> Option<String> {
    let base = CanonicalUrl::parse("http://a/b/c/d;p?q").unwrap();
    base.join(reference).map(|target| target.to_string())
}

/// The table of RFC 3986 section 5.4.1, without fragments and with `/` for an empty path.
#[test]
fn normal_examples_of_the_rfc_resolve() {
    for (reference, expected) in [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("g;x", "http://a/b/c/g;x"),
        ("g;x?y#s", "http://a/b/c/g;x?y"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../", "http://a/"),
        ("../../g", "http://a/g"),
    ] {
        assert_eq!(joined(reference).as_deref(), Some(expected), "{reference}");
    }
    assert_eq!(joined("g:h"), None);
}

/// The table of RFC 3986 section 5.4.2.
#[test]
fn abnormal_examples_of_the_rfc_resolve() {
    for (reference, expected) in [
        ("../../../g", "http://a/g"),
        ("../../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        (".g", "http://a/b/c/.g"),
        ("g..", "http://a/b/c/g.."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/./x", "http://a/b/c/g"),
        ("g#s/../x", "http://a/b/c/g"),
    ] {
        assert_eq!(joined(reference).as_deref(), Some(expected), "{reference}");
    }
    // Strict parsing: the reference has a scheme, so the base is not used.
    assert_eq!(joined("http:g"), None);
}

#[test]
fn absolute_references_resolve_and_invalid_ones_do_not() {
    assert_eq!(joined("HTTPS://Other.example:443").as_deref(), Some("https://other.example/"));
    assert_eq!(joined("./x:y").as_deref(), Some("http://a/b/c/x:y"));
    assert_eq!(joined("?a:b").as_deref(), Some("http://a/b/c/d;p?a:b"));
    assert_eq!(joined("1:2").as_deref(), Some("http://a/b/c/1:2"));
    for reference in ["//", "///g", "//user@g/", "a b", "javascript:alert(1)", "http://h:0/"] {
        assert_eq!(joined(reference), None, "{reference}");
    }
    assert_eq!(joined(&"a".repeat(MAX_LENGTH)), None);
}

#[test]
fn path_of_a_reference_cannot_change_the_authority() {
    assert_eq!(joined("/.//evil.example/").as_deref(), Some("http://a//evil.example/"));
    assert_eq!(joined("/\\evil.example/").as_deref(), Some("http://a/%5Cevil.example/"));
}

#[test]
fn bytes_outside_ascii_and_spaces_in_a_field_are_escaped() {
    let base = CanonicalUrl::parse("http://a/b").unwrap();
    for (value, expected) in [
        (&b" c "[..], "http://a/c"),
        (b"/c d", "http://a/c%20d"),
        (b"/\xc3\xa9", "http://a/%C3%A9"),
        (b"/\xe9?\xe9#\xe9", "http://a/%E9?%E9"),
    ] {
        assert_eq!(base.join_field(value).unwrap().as_str(), expected);
    }
    assert!(base.join_field(b"http://\xc3\xa9/").is_none());
}
