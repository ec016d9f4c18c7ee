//! Of what a token is made.

/// Whether a token may hold this byte: a `tchar` (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// The twin is not ours: a field name is a token.
    #[test]
    fn the_bytes_of_a_token_are_those_of_a_field_name() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_token_byte(byte), HeaderName::from_bytes(&[byte]).is_ok(), "{byte:#04x}");
        }
    }
}
