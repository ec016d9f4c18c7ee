//! Quality values (RFC 9110 section 12.4.2).

use http::{HeaderMap, HeaderName};

use super::list;

/// Splits a member into its value and its weight in thousandths. Returns `None` if the weight is invalid.
pub(crate) fn weighed(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = list::split(member, b';').map(<[u8]>::trim_ascii);
    let value = parts.next()?;
    let mut weight = 1000;
    for parameter in parts {
        if let [b'q' | b'Q', b'=', digits @ ..] = parameter {
            weight = thousandths(digits)?;
        }
    }
    Some((value, weight))
}

/// Returns the value of the single member with the highest weight. Returns `None` if several members share that weight
/// or if any weight is invalid.
pub(crate) fn favourite<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut best: Option<(&[u8], u16)> = None;
    let mut is_tied = false;
    for member in list::members_of(headers, name) {
        let (value, weight) = weighed(member)?;
        match best {
            Some((_, highest)) if weight < highest => {}
            Some((_, highest)) if weight == highest => is_tied = true,
            _ => {
                best = Some((value, weight));
                is_tied = false;
            }
        }
    }
    best.filter(|(_, weight)| !is_tied && *weight > 0).map(|(value, _)| value)
}

/// Parses a weight such as `0`, `0.5` or `1.000` and returns it in thousandths.
fn thousandths(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let sound = matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|digit| digit.is_ascii_digit());
    let weight = format!("{whole}{fraction:0<3}").parse().ok().filter(|weight| *weight <= 1000);
    weight.filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::ACCEPT_LANGUAGE;

    use super::*;

    #[test]
    fn member_with_the_highest_weight_is_returned() {
        for (field, expected) in [
            ("fr;q=0.5, de;q=1.0", Some("de")),
            ("fr;q=0.5, de", Some("de")),
            ("de", Some("de")),
            ("fr; q=0.5 , de ;Q=0.501", Some("de")),
            ("en, de", None),
            ("de;q=0", None),
            ("de;q=2", None),
            ("de;q=0.1234", None),
            ("de;q=x", None),
            ("", None),
        ] {
            let headers: HeaderMap =
                [(ACCEPT_LANGUAGE, HeaderValue::from_static(field))].into_iter().collect();
            assert_eq!(favourite(&headers, &ACCEPT_LANGUAGE), expected.map(str::as_bytes), "{field}");
        }
    }
}
