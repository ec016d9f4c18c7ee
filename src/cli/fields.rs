//! Header fields of the flag `-H`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;

/// Parses each `Name: value` into a header field.
pub(super) fn parse_all(lines: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = parse(line)
            // The message leaves the value out, because it may be a credential.
            .ok_or_else(|| {
                let name = name_of(line);
                Failure::Usage(format!("invalid header field -H {name:?}: write it as 'Name: value'"))
            })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn name_of(line: &str) -> &str {
    line.split([':', ' ', '=']).next().unwrap_or_default()
}

fn parse(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}
