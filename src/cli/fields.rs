//! Fields as they are typed.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;

/// Each `Name: value` as a field.
pub(super) fn parsed(typed: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for field in typed {
        let (name, value) = parse(field)
            // What follows the name may be a credential.
            .ok_or_else(|| {
                Failure::Usage(format!("{:?} is no field: write it as 'Name: value'", name_of(field)))
            })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn name_of(field: &str) -> &str {
    field.split([':', ' ', '=']).next().unwrap_or_default()
}

fn parse(field: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = field.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}
