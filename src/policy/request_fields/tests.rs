use super::*;
use crate::policy::Mode;

fn headers(names: &[&str]) -> HeaderMap {
    names.iter().map(|name| (name.parse::<HeaderName>().unwrap(), "x".parse().unwrap())).collect()
}

fn rules(unknown_fields: UnknownFields) -> Rules {
    Rules { unknown_fields, known_fields: vec!["x-mine".parse().unwrap()], ..Rules::new(Mode::Shared) }
}

fn sent(method: &Method, names: &[&str], unknown_fields: UnknownFields) -> Vec<String> {
    let mut headers = headers(names);
    remove_unforwarded_fields(method, &mut headers, &rules(unknown_fields));
    headers.keys().map(ToString::to_string).collect()
}

#[test]
fn the_lists_are_sorted() {
    assert!(ABOUT_THE_CLIENT.is_sorted() && KNOWN.is_sorted());
    let first = ['x', 'f', 'c', 't', 'p', 'b', 'r', 's', 'w', 'z', 'm'];
    let all = ABOUT_THE_CLIENT.iter().chain(&METHOD_OVERRIDES).chain(&CLIENT_PREFIXES).chain(&ABOUT_CONTENT);
    assert!(all.into_iter().all(|name| name.starts_with(first)));
}

#[test]
fn fields_about_the_client_or_another_url_are_never_forwarded() {
    for method in [Method::GET, Method::POST] {
        for name in ABOUT_THE_CLIENT.into_iter().chain([
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded",
            "x_forwarded_host",
            "x-original_url",
            "x-middleware-rewrite",
            "ssl-client-cert",
        ]) {
            assert!(sent(&method, &[name], UnknownFields::Forward).is_empty(), "{name}");
        }
    }
    for name in METHOD_OVERRIDES {
        assert!(sent(&Method::GET, &[name], UnknownFields::Forward).is_empty());
        assert_eq!(sent(&Method::POST, &[name], UnknownFields::Forward), [name]);
    }
    let names = ["accept", "x-anything"];
    assert_eq!(sent(&Method::GET, &names, UnknownFields::Forward), names);
}

#[test]
fn unknown_fields_are_dropped_from_get_requests_if_configured() {
    let names = ["accept", "sec-fetch-mode", "x-b3-spanid", "x-mine", "x-anything"];
    assert_eq!(sent(&Method::GET, &names, UnknownFields::Drop), names[..4]);
    assert_eq!(sent(&Method::POST, &names, UnknownFields::Drop), names);
    assert_eq!(sent(&Method::GET, &names, UnknownFields::Vary), names);
}

#[test]
fn unknown_fields_select_the_response_if_configured() {
    let headers = headers(&["accept", "cookie", "x-mine", "x-anything"]);
    for (unknown_fields, selecting_fields) in [
        (UnknownFields::Forward, &[][..]),
        (UnknownFields::Drop, &[]),
        (UnknownFields::Vary, &["x-anything"]),
    ] {
        let rules = rules(unknown_fields);
        assert_eq!(selecting(&headers, &rules).collect::<Vec<_>>(), selecting_fields);
    }
}
