use super::*;

const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

fn count(method: &str, status: u16, fields: &[(&'static str, &str)]) -> usize {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    announced(&method.parse().unwrap(), StatusCode::from_u16(status).unwrap(), &headers).len()
}

#[test]
fn each_field_applies_by_method_and_status() {
    for (method, status, content, representation) in [
        ("GET", 200, 1, 1),
        ("GET", 404, 1, 1),
        ("GET", 206, 1, 0),
        ("GET", 226, 1, 0),
        ("GET", 416, 1, 0),
        ("GET", 304, 0, 0),
        ("GET", 204, 0, 0),
        ("GET", 205, 0, 0),
        ("HEAD", 200, 0, 0),
        ("POST", 200, 1, 0),
    ] {
        assert_eq!(count(method, status, &[("content-digest", HELLO)]), content, "{method} {status}");
        assert_eq!(count(method, status, &[("repr-digest", HELLO)]), representation, "{method} {status}");
    }
    assert_eq!(count("GET", 200, &[("repr-digest", HELLO), ("content-digest", HELLO)]), 1);
}

#[test]
fn unusable_digests_are_ignored() {
    for field in [
        "md5=:XUFAKrxLKna5cZ2REBfFkg==:",
        "sha-256=:YWJj:",
        "sha-256=token",
        "sha-3=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
        "\"",
    ] {
        assert_eq!(count("GET", 200, &[("repr-digest", field)]), 0, "{field}");
    }
    let both = format!("{HELLO}, md5=:XUFAKrxLKna5cZ2REBfFkg==:");
    assert_eq!(count("GET", 200, &[("repr-digest", &both)]), 1);
    let lines = [("repr-digest", "unixsum=:AAA=:"), ("repr-digest", HELLO)];
    assert_eq!(count("GET", 200, &lines), 1);
}
