//! Numbers as they stand in fields.

use http::HeaderValue;

/// The digits of a number. They are put together on the stack, as every hit has two of them.
pub(crate) fn value(number: u64) -> HeaderValue {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        // Less than ten, whatever the number.
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
    fn every_number_has_its_digits() {
        for number in [0, 7, 10, 1234567890, u64::MAX] {
            assert_eq!(value(number), number.to_string().as_str());
        }
    }
}
