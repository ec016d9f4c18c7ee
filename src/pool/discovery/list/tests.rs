use super::*;

fn members(text: &str) -> Vec<String> {
    parse(text).unwrap().members.iter().map(Member::to_string).collect()
}

#[test]
fn a_list_has_one_member_on_each_line_with_comments_and_whitespace() {
    let text = "# the pool\n\n  http://a:1/\t\r\nhttp://b:1 weight=3 # the large one\n#http://c:1\n \t\n";
    assert_eq!(members(text), ["http://a:1", "http://b:1 weight=3"]);
    assert!(parse(text).unwrap().repeated.is_empty());
}

#[test]
fn an_empty_list_is_valid() {
    for text in ["", "\n", "# empty\n\n"] {
        assert!(parse(text).unwrap().members.is_empty(), "{text:?}");
    }
}

#[test]
fn a_repeated_member_counts_once_and_is_reported() {
    let list = parse("http://a:1\nhttp://b:1\n\nHTTP://A:1/\nhttp://a:1\n").unwrap();
    assert_eq!(list.members.len(), 2);
    assert_eq!(
        list.repeated,
        [
            "line 4 names http://a:1 as line 1 does: it counts once",
            "line 5 names http://a:1 as line 1 does: it counts once"
        ]
    );
}

#[test]
fn an_error_names_its_line_without_showing_its_content() {
    for (text, expected) in [
        ("http://a:1", "line 1 is the last one and has no line end: it may be half written"),
        ("http://a:1\n# the en", "line 2 is the last one and has no line end: it may be half written"),
        ("http://a:1\nhttp://a:1 weight=2\n", "line 2 gives the peer of line 1 another weight"),
        ("http://a:1 weight=0\n", "line 1: the weight of a peer must be a whole number from 1 to 1000"),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected);
    }
    for text in ["http://a:1\n\nnonsense\n", "\n\nhttp://user:secret@a:1\n", "\n\n\0\0\0\0\n"] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with("line 3: invalid URL of a peer: ") && !error.contains("secret"), "{error}");
    }
    assert_eq!(parse("http://a:1#b\n").unwrap_err(), "line 1: the URL of a peer must not have a fragment");
}

#[test]
fn a_truncated_list_is_refused_unless_it_ends_with_a_complete_line() {
    let text = "http://a:1\nhttp://b:12 weight=13 # b\n";
    for end in 0..text.len() {
        let is_good = parse(&text[..end]).is_ok();
        assert_eq!(is_good, end == 0 || text[..end].ends_with('\n'), "{:?}", &text[..end]);
    }
}
