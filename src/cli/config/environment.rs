//! Settings of variables: `FORWARDCACHE_MAX_BODY` sets `--max-body`.

use super::super::failure::Failure;
use super::file;
use super::options::{Form, Options};
use super::setting::{Setting, Source, Value};

const PREFIX: &str = "FORWARDCACHE_";

/// Variables of this prefix that are not options.
const OTHERS: [&str; 2] = ["FORWARDCACHE_TOKEN", "FORWARDCACHE_CONFIG"];

/// Reads the settings of variables. Returns the variables that have the prefix but are not options too.
///
/// Kubernetes defines variables for each service. Those of a service with the name forwardcache have the same prefix, so an
/// unknown variable is not an error.
///
/// # Errors
///
/// [`Failure::Usage`] with the name of the variable if a value has the wrong form.
pub(super) fn read(
    variables: impl IntoIterator<Item = (String, String)>,
    options: &Options,
) -> Result<(Vec<Setting>, Vec<String>), Failure> {
    let (mut settings, mut unknown) = (Vec::new(), Vec::new());
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&variable.as_str()) || is_of_kubernetes(name) {
            continue;
        }
        let option = name.to_ascii_lowercase().replace('_', "-");
        let Some(form) = options.form(&option) else {
            unknown.push(variable);
            continue;
        };
        let value = value(form, &text)
            .and_then(|value| options.check(&option, &value).map(|()| value))
            .map_err(|problem| Failure::Usage(format!("{variable}: {problem}")))?;
        settings.push(Setting { option, value, source: Source::Environment(variable) });
    }
    settings.sort_by(|one, other| one.option.cmp(&other.option));
    unknown.sort();
    Ok((settings, unknown))
}

/// Returns whether Kubernetes defines a variable of this name for a service with the name forwardcache.
fn is_of_kubernetes(name: &str) -> bool {
    name.starts_with("SERVICE_") || name == "PORT" || name.starts_with("PORT_")
}

fn value(form: Form, text: &str) -> Result<Value, String> {
    match (form, text) {
        (Form::Switch | Form::Optional, "true") => Ok(Value::Switch(true)),
        (Form::Switch | Form::Optional, "false") => Ok(Value::Switch(false)),
        (Form::List, text) if text.starts_with('[') => file::parse_list(text),
        (_, text) => Ok(Value::Values(vec![text.to_owned()])),
    }
}
