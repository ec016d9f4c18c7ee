//! Quality values (RFC 9110 section 12.4.2).

use http::{HeaderMap, HeaderName};

use super::list;

/// A member without its parameters, and its weight in thousandths; `None` where that cannot be read.
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

/// The one member that is wanted more than every other, without its weight; `None` where several are wanted
/// as much, and where a weight cannot be read.
pub(crate) fn favourite<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut best: Option<(&[u8], u16)> = None;
    let mut is_tied = false;
    for member in list::members_of(headers, name) {
        let (value, weight) = weighed(member)?;
        match best {
            Some((_, most)) if weight < most => {}
            Some((_, most)) if weight == most => is_tied = true,
            _ => {
                best = Some((value, weight));
                is_tied = false;
            }
        }
    }
    best.filter(|(_, weight)| !is_tied && *weight > 0).map(|(value, _)| value)
}

/// `0`, `0.5`, `1.000`: a weight in thousandths.
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
    fn the_one_that_is_wanted_most() {
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
