//! Numbers as field values.

use http::HeaderValue;

/// Formats a number as a field value. The digits are written on the stack because every hit formats two numbers.
pub(crate) fn value(number: u64) -> HeaderValue {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        // The remainder is a single digit, so the conversion cannot fail.
        digits[start] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&digits[start..]).expect("digits are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_decimal_digits() {
        for number in [0, 7, 10, 1234567890, u64::MAX] {
            assert_eq!(value(number), number.to_string().as_str());
        }
    }
}
