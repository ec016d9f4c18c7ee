//! `config check` and `config show`: what the sources specify, without serving.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::super::arguments::Command;
use super::super::failure::{self, Failure, print};
use super::super::serve;
use super::options::{Form, Options};
use super::setting::Value;
use super::sources::{Sources, parse};

/// Checks the file and the environment as `serve` would, including the files that they name.
pub(crate) fn check(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let (arguments, sources) = parse(serve_command(file)).map_err(failure::Usage::into_failure)?;
    for variable in sources.unknown_variables() {
        eprintln!("forwardcache: {variable} is ignored: it is not an option of serve");
    }
    if let Command::Serve(arguments) = arguments.command {
        serve::check(&arguments)?;
    }
    print("the configuration is valid\n")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the options that the file and the environment set, as a configuration file.
pub(crate) fn show(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let sources = Sources::read(serve_command(file))?;
    sources.arguments().map_err(failure::Usage::into_failure)?;
    let mut text = String::new();
    for setting in sources.settings() {
        let value = match &setting.value {
            Value::Switch(is_set) => is_set.to_string(),
            Value::Values(values) if is_list(&setting.option) => {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Values(values) => {
                values.iter().map(|value| quoted(&without_credentials(&setting.option, value))).collect()
            }
        };
        text.push_str(&format!("{} = {value}  # {}\n", setting.option, setting.source));
    }
    if text.is_empty() {
        text.push_str("# no file and no variable sets an option: all have their defaults\n");
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn serve_command(file: Option<&Path>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["forwardcache".into(), "serve".into()];
    if let Some(file) = file {
        words.extend(["--config".into(), file.into()]);
    }
    words
}

fn is_list(option: &str) -> bool {
    Options::of("serve").and_then(|options| options.form(option)) == Some(Form::List)
}

/// Hides the credentials in the URL of a server.
fn without_credentials<'a>(option: &str, value: &'a str) -> Cow<'a, str> {
    let place = value.find("://").map(|at| at + 3).zip(value.rfind('@')).filter(|(start, end)| start < end);
    match place {
        Some((start, end)) if option == "redis" => format!("{}***{}", &value[..start], &value[end..]).into(),
        _ => value.into(),
    }
}

/// Returns the text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}
