//! Settings of a TOML file: `name = value` for each option, with the name of its flag without dashes.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::super::failure::Failure;
use super::options::Options;
use super::setting::{Setting, Source, Value};

/// The maximum size of a configuration file in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the settings of a file.
///
/// # Errors
///
/// [`Failure::Usage`] with the name of the file and the line if the file cannot be read, is not valid TOML, or has an unknown
/// option or a value of the wrong form.
pub(super) fn read(path: &Path, options: &Options) -> Result<Vec<Setting>, Failure> {
    let name = path.display().to_string();
    let cannot_read = |error: &dyn std::fmt::Display| Failure::Usage(format!("cannot read {name}: {error}"));
    let size = fs::metadata(path).map_err(|error| cannot_read(&error))?.len();
    if size > MAX_SIZE {
        return Err(cannot_read(&"a configuration file has at most 1 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot_read(&error))?;
    parse(&name, &text, options)
}

/// Parses the text of a file.
pub(super) fn parse(name: &str, text: &str, options: &Options) -> Result<Vec<Setting>, Failure> {
    let line_of = |span: Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let invalid = |line: usize, problem: &str| Failure::Usage(format!("{name}:{line}: {problem}"));
    let table = DeTable::parse(text)
        .map_err(|error| invalid(line_of(error.span().unwrap_or_default()), error.message()))?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let (line, option) = (line_of(key.span()), key.get_ref().to_string());
        let value = value_of(value.get_ref())
            .and_then(|value| options.check(&option, &value).map(|()| value))
            .map_err(|problem| invalid(line, &problem))?;
        settings.push(Setting { option, value, source: Source::File { name: name.to_owned(), line } });
    }
    Ok(settings)
}

/// Parses one value as TOML writes it, for a list in a variable.
pub(super) fn parse_list(text: &str) -> Result<Value, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    value_of(value.get_ref())
}

/// Converts a value of TOML.
fn value_of(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Boolean(is_set) => Ok(Value::Switch(*is_set)),
        DeValue::Array(items) => {
            items.iter().map(|item| text_of(item.get_ref())).collect::<Result<_, _>>().map(Value::Values)
        }
        DeValue::Table(_) => Err("sections are not supported: write each option as name = value".to_owned()),
        single => text_of(single).map(|text| Value::Values(vec![text])),
    }
}

/// Returns the value as its flag writes it.
fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Err("a value is a string, a decimal number, true, false, or a list of strings".to_owned()),
    }
}
