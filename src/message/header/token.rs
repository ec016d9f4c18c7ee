//! Tokens.

/// Returns whether the byte is a `tchar`, which a token may contain (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// A field name is a token, so `HeaderName` is an independent reference.
    #[test]
    fn token_bytes_are_those_of_field_names() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_token_byte(byte), HeaderName::from_bytes(&[byte]).is_ok(), "{byte:#04x}");
        }
    }
}
