//! Structured fields (RFC 8941 section 4.2), read strictly: what the algorithm fails on is no field at all.
//!
//! Of values only what caching asks for is kept. Parameters are checked and left out: nothing that is read
//! here gives them a meaning.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::token::is_token_byte;

/// An item of a list, or the value of a dictionary's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    String(Vec<u8>),
    Boolean(bool),
    Decimal,
    Token,
    ByteSequence(Vec<u8>),
    InnerList,
}

/// Reads a dictionary (section 4.2.2). Of members with the same key the last one counts.
pub(crate) fn dictionary(field: &[u8]) -> Option<BTreeMap<&[u8], Value>> {
    let mut members = BTreeMap::new();
    each_member(field, |input| {
        let key = input.key()?;
        let value = if input.take(b'=') {
            input.item_or_inner_list()?
        } else {
            input.parameters()?;
            Value::Boolean(true)
        };
        members.insert(key, value);
        Some(())
    })?;
    Some(members)
}

/// Reads a list (section 4.2.1).
pub(crate) fn list(field: &[u8]) -> Option<Vec<Value>> {
    let mut members = Vec::new();
    each_member(field, |input| {
        members.push(input.item_or_inner_list()?);
        Some(())
    })?;
    Some(members)
}

/// Reads a list of strings. One with another type in it is not such a field.
pub(crate) fn strings(field: &[u8]) -> Option<Vec<Vec<u8>>> {
    let string = |value| if let Value::String(text) = value { Some(text) } else { None };
    list(field)?.into_iter().map(string).collect()
}

fn each_member<'a>(field: &'a [u8], mut member: impl FnMut(&mut Input<'a>) -> Option<()>) -> Option<()> {
    let mut input = Input { rest: field };
    input.skip(b" ");
    while !input.rest.is_empty() {
        member(&mut input)?;
        input.skip(b" \t");
        if input.rest.is_empty() {
            break;
        }
        input.expect(b',')?;
        input.skip(b" \t");
        // A comma at the end.
        input.first()?;
    }
    Some(())
}

/// What is left to read.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let Some(rest) = self.rest.strip_prefix(&[byte]) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.while_in(|byte| bytes.contains(&byte));
    }

    fn while_in(&mut self, is_in: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take_while(|byte| is_in(**byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn item_or_inner_list(&mut self) -> Option<Value> {
        let value = if self.take(b'(') {
            self.inner_list()?;
            Value::InnerList
        } else {
            self.bare_item()?
        };
        self.parameters()?;
        Some(value)
    }

    /// Section 4.2.1.2, past its opening parenthesis and without its parameters.
    fn inner_list(&mut self) -> Option<()> {
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(());
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.first()?, b'a'..=b'z' | b'*') {
            return None;
        }
        Some(self.while_in(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
                self.while_in(|byte| is_token_byte(byte) || matches!(byte, b':' | b'/'));
                Some(Value::Token)
            }
            b':' => self.byte_sequence(),
            b'?' => {
                self.next();
                match self.next()? {
                    b'0' => Some(Value::Boolean(false)),
                    b'1' => Some(Value::Boolean(true)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// An integer of at most 15 digits, or a decimal of at most 12 and 3.
    fn number(&mut self) -> Option<Value> {
        let is_negative = self.take(b'-');
        let digits = self.while_in(|byte| byte.is_ascii_digit());
        if self.take(b'.') {
            let fraction = self.while_in(|byte| byte.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Decimal);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number = digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Value::Integer(if is_negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Value> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Some(Value::String(text)),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => text.push(escaped),
                    _ => return None,
                },
                byte @ b' '..=b'~' => text.push(byte),
                _ => return None,
            }
        }
    }

    fn byte_sequence(&mut self) -> Option<Value> {
        self.expect(b':')?;
        let encoded =
            self.while_in(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        self.expect(b':')?;
        BASE64.decode(encoded).ok().map(Value::ByteSequence)
    }
}

/// Padding may be missing, and the bits behind the end may be set (section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Value::{Boolean, ByteSequence, Decimal, InnerList, Integer, Token};
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.into())
    }

    /// The examples of sections 3.1 and 3.3, and where section 4.2 fails.
    #[test]
    fn lists() {
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

    /// Without its text.
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
    fn dictionaries() {
        type Members<'a> = &'a [(&'a str, Value)];
        let rows: &[(&str, Option<Members<'_>>)] = &[
            ("", Some(&[])),
            (
                "en=\"Applepie\", da=:w4ZibGV0w6ZydGUK:",
                Some(&[("da", ByteSequence(Vec::new())), ("en", text("Applepie"))]),
            ),
            (
                "a=?0, b, c; foo=bar",
                Some(&[("a", Boolean(false)), ("b", Boolean(true)), ("c", Boolean(true))]),
            ),
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
    fn lists_of_strings() {
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
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (dictionary(&bytes), list(&bytes));
        }

        #[test]
        fn what_looks_like_a_field_is_read_without_a_panic(field in "[ab1\"\\\\:?()=;, .*-]{0,40}") {
            let _ = (dictionary(field.as_bytes()), list(field.as_bytes()));
        }

        #[test]
        fn every_string_is_read_back(texts in proptest::collection::vec("[ -~]{0,12}", 0..5)) {
            let quoted = texts.iter().map(|text| {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            });
            let field = quoted.collect::<Vec<_>>().join(", ");
            let expected: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            prop_assert_eq!(strings(field.as_bytes()), Some(expected));
        }
    }
}
