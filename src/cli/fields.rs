//! Header fields of the flag `-H`.

use std::fs;
use std::io;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;

/// Parses each `Name: value` into a header field. `@FILE` stands for the lines of a file, `@-` for those of standard input.
pub(super) fn parse_all(arguments: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for argument in arguments {
        let Some(file) = argument.strip_prefix('@') else {
            add(&mut headers, argument, || format!("{:?}", name_of(argument)))?;
            continue;
        };
        let text = if file == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
        let text = text.map_err(|error| Failure::Usage(format!("cannot read -H {argument}: {error}")))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            add(&mut headers, line, || format!("{argument}, line {}", number + 1))?;
        }
    }
    Ok(headers)
}

/// Parses a line. `place` names it in an error without its value, which may be a credential.
fn add(headers: &mut HeaderMap, line: &str, place: impl FnOnce() -> String) -> Result<(), Failure> {
    let (name, value) = parse(line).ok_or_else(|| {
        Failure::Usage(format!("invalid header field -H {}: write it as 'Name: value'", place()))
    })?;
    headers.append(name, value);
    Ok(())
}

fn name_of(line: &str) -> &str {
    line.split([':', ' ', '=']).next().unwrap_or_default()
}

fn parse(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}
