//! Structured fields (RFC 8941 section 4.2), parsed strictly: a field on which the algorithm fails is ignored.
//!
//! Only the values that caching needs are kept. Parameters are checked and dropped because none of the supported fields
//! uses them.

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

/// Parses a dictionary (section 4.2.2). The last of several members with the same key counts.
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

/// Parses a list (section 4.2.1).
pub(crate) fn list(field: &[u8]) -> Option<Vec<Value>> {
    let mut members = Vec::new();
    each_member(field, |input| {
        members.push(input.item_or_inner_list()?);
        Some(())
    })?;
    Some(members)
}

/// Parses a list of strings. Fails if any member has another type.
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
        // Fails after a trailing comma.
        input.first()?;
    }
    Some(())
}

/// The unparsed rest of a field.
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

    /// Parses an inner list (section 4.2.1.2) after its opening parenthesis, without its parameters.
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

    /// Parses an integer of at most 15 digits, or a decimal with at most 12 integer and 3 fractional digits.
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

/// Accepts missing padding and non-zero bits after the end (section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests;
