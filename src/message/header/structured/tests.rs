use proptest::prelude::*;

use super::Value::{Boolean, ByteSequence, Decimal, InnerList, Integer, Token};
use super::*;

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// The examples of sections 3.1 and 3.3, and inputs on which section 4.2 fails.
#[test]
fn lists_parse_strictly() {
    let rows: &[(&str, Option<&[Value]>)] = &[
        ("", Some(&[])),
        ("   ", Some(&[])),
        ("sugar, tea, rum", Some(&[Token, Token, Token])),
        ("sugar\t,  tea", Some(&[Token, Token])),
        (
            "(\"foo\" \"bar\"), (\"baz\"), (\"bat\" \"one\"), ()",
            Some(&[InnerList, InnerList, InnerList, InnerList]),
        ),
        ("(\"foo\"; a=1;b=2);lvl=5, (\"bar\" \"baz\");lvl=1", Some(&[InnerList, InnerList])),
        ("abc;a=1;b=2; cde_456, (ghi;jk=4 l);q=\"9\";r=w", Some(&[Token, InnerList])),
        ("1; a; b=?0", Some(&[Integer(1)])),
        ("42", Some(&[Integer(42)])),
        ("-0", Some(&[Integer(0)])),
        ("00042", Some(&[Integer(42)])),
        ("-999999999999999", Some(&[Integer(-999_999_999_999_999)])),
        ("1000000000000000", None),
        ("4.5, -123456789012.123", Some(&[Decimal, Decimal])),
        ("1234567890123.1", None),
        ("1.1234", None),
        ("1.", None),
        (".5", None),
        ("-", None),
        ("--1", None),
        ("+1", None),
        ("1 2", None),
        ("\"hello world\"", Some(&[Value::String(Vec::new())])),
        ("foo123/456:*, *a", Some(&[Token, Token])),
        (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", Some(&[ByteSequence(Vec::new())])),
        (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg:", Some(&[ByteSequence(Vec::new())])),
        ("::", Some(&[ByteSequence(Vec::new())])),
        (":a:", None),
        (":aGk===:", None),
        (":aG=k:", None),
        (":aG k:", None),
        (":aGk", None),
        ("?1, ?0", Some(&[Boolean(true), Boolean(false)])),
        ("?2", None),
        ("?", None),
        ("a,", None),
        ("a,,b", None),
        (",a", None),
        ("a b", None),
        ("\ta", None),
        ("a\t", Some(&[Token])),
        ("(a", None),
        ("(a,b)", None),
        ("(a\"b\")", None),
        ("((a))", None),
        ("(a\tb)", None),
        ("a;B=1", None),
        ("a;", None),
        ("a ;b", None),
        ("a;\tb", None),
        ("a;b=", None),
        ("a;b=(c)", None),
        ("é", None),
        ("@1659578233", None),
    ];
    for (field, expected) in rows {
        let kinds = |values: Vec<Value>| -> Vec<Value> { values.into_iter().map(blank).collect() };
        assert_eq!(list(field.as_bytes()).map(kinds).as_deref(), *expected, "{field}");
    }
}

/// Removes the content of strings and byte sequences, so that tests compare only types.
fn blank(value: Value) -> Value {
    if matches!(value, Value::String(_)) { text("") } else { blank_bytes(value) }
}

fn blank_bytes(value: Value) -> Value {
    if matches!(value, ByteSequence(_)) { ByteSequence(Vec::new()) } else { value }
}

#[test]
fn byte_sequences_are_decoded() {
    for (field, bytes) in
        [(":aGVsbG8=:", "hello"), (":aGVsbG8:", "hello"), ("::", ""), (":YQ:", "a"), (":YR==:", "a")]
    {
        assert_eq!(list(field.as_bytes()), Some(vec![ByteSequence(bytes.into())]), "{field}");
    }
}

#[test]
fn dictionaries_parse_strictly() {
    type Members<'a> = &'a [(&'a str, Value)];
    let rows: &[(&str, Option<Members<'_>>)] = &[
        ("", Some(&[])),
        (
            "en=\"Applepie\", da=:w4ZibGV0w6ZydGUK:",
            Some(&[("da", ByteSequence(Vec::new())), ("en", text("Applepie"))]),
        ),
        ("a=?0, b, c; foo=bar", Some(&[("a", Boolean(false)), ("b", Boolean(true)), ("c", Boolean(true))])),
        ("rating=1.5, feelings=(joy sadness)", Some(&[("feelings", InnerList), ("rating", Decimal)])),
        (
            "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid",
            Some(&[("a", InnerList), ("b", Integer(3)), ("c", Integer(4)), ("d", InnerList)]),
        ),
        ("foo=1, bar=2, foo=3", Some(&[("bar", Integer(2)), ("foo", Integer(3))])),
        ("*a-_.*1=x", Some(&[("*a-_.*1", Token)])),
        ("a=1 , b=2", Some(&[("a", Integer(1)), ("b", Integer(2))])),
        ("Max-Age=1", None),
        ("max-age =1", None),
        ("max-age= 1", None),
        ("max-age=", None),
        ("max-age=1 no-store", None),
        ("max-age=1,", None),
        ("max-age=1, &&&&&", None),
        ("1a=1", None),
        ("=1", None),
    ];
    for (field, expected) in rows {
        let read = dictionary(field.as_bytes());
        let read = read.map(|members| {
            members.into_iter().map(|(key, value)| (key, blank_bytes(value))).collect::<Vec<_>>()
        });
        let expected = expected.map(|members| {
            members.iter().map(|(key, value)| (key.as_bytes(), value.clone())).collect::<Vec<_>>()
        });
        assert_eq!(read, expected, "{field}");
    }
}

#[test]
fn lists_of_strings_reject_other_types() {
    let rows: &[(&str, Option<&[&str]>)] = &[
        ("\"eurovision-results\", \"australia\";a=1", Some(&["eurovision-results", "australia"])),
        (r#""a \"b\" \\, c", """#, Some(&[r#"a "b" \, c"#, ""])),
        ("", Some(&[])),
        ("\"a\", b", None),
        ("\"a\", (\"b\")", None),
        ("\"a", None),
        ("\"a\\", None),
        ("\"a\\b\"", None),
        ("\"a\tb\"", None),
        ("\"é\"", None),
        ("\"\u{7f}\"", None),
    ];
    for (field, expected) in rows {
        let expected = expected.map(|texts| texts.iter().map(|text| text.as_bytes().to_vec()).collect());
        assert_eq!(strings(field.as_bytes()), expected, "{field}");
    }
}

proptest! {
    #[test]
    fn parser_never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (dictionary(&bytes), list(&bytes));
    }

    #[test]
    fn parser_never_panics_on_field_like_text(field in "[ab1\"\\\\:?()=;, .*-]{0,40}") {
        let _ = (dictionary(field.as_bytes()), list(field.as_bytes()));
    }

    #[test]
    fn every_string_parses_back(texts in proptest::collection::vec("[ -~]{0,12}", 0..5)) {
        let quoted = texts.iter().map(|text| {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        });
        let field = quoted.collect::<Vec<_>>().join(", ");
        let expected: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        prop_assert_eq!(strings(field.as_bytes()), Some(expected));
    }
}
