//! All sources together.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use super::super::arguments::Arguments;
use super::super::failure::{self, Failure};
use super::options::Options;
use super::setting::{Setting, Value};
use super::{environment, file};

/// The subcommands whose options may come from a file and from the environment.
const CONFIGURABLE: [&str; 1] = ["serve"];

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "FORWARDCACHE_CONFIG";

/// Where the options of this run come from.
#[derive(Debug)]
pub(crate) struct Sources {
    command_line: Vec<OsString>,
    settings: Vec<Setting>,
    unknown_variables: Vec<String>,
}

/// Parses the command line, completed by the configuration file and the environment.
///
/// # Errors
///
/// The result of the parser for `--help` and `--version`, and the fault of a source.
pub(crate) fn parse(command_line: Vec<OsString>) -> Result<(Arguments, Sources), failure::Usage> {
    let sources = Sources::read(command_line)?;
    let arguments = sources.arguments()?;
    Ok((arguments, sources))
}

impl Sources {
    /// Reads the file and the environment, as far as the subcommand takes options from them.
    pub(super) fn read(command_line: Vec<OsString>) -> Result<Self, Failure> {
        let words: Vec<_> = command_line.iter().skip(1).map(|word| word.to_string_lossy()).collect();
        let subcommand = words.iter().find(|word| !word.starts_with('-'));
        let options = subcommand.filter(|name| CONFIGURABLE.contains(&name.as_ref()));
        let Some(options) = options.and_then(|name| Options::of(name)) else {
            return Ok(Self { command_line, settings: Vec::new(), unknown_variables: Vec::new() });
        };
        let flags = words.iter().take_while(|word| *word != "--").filter_map(|word| word.strip_prefix("--"));
        let given: Vec<&str> =
            flags.map(|flag| flag.split_once('=').map_or(flag, |(name, _)| name)).collect();
        let from_file = match config_file(&command_line) {
            Some(path) => file::read(&path, &options)?,
            None => Vec::new(),
        };
        let variables = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        // A value that is not UTF-8 stays recognizable as invalid.
        let variables = variables.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        let (from_environment, unknown_variables) = environment::read(variables, &options)?;
        let settings = combine(from_file, from_environment, &given, &options);
        Ok(Self { command_line, settings, unknown_variables })
    }

    /// Parses the command line together with the settings of the other sources.
    pub(super) fn arguments(&self) -> Result<Arguments, failure::Usage> {
        let at = self.command_line.iter().skip(1).position(|word| !word.to_string_lossy().starts_with('-'));
        let (before, after) = self.command_line.split_at(at.map_or(self.command_line.len(), |at| at + 2));
        let added = self.settings.iter().flat_map(Setting::arguments).map(OsString::from);
        let all = before.iter().cloned().chain(added).chain(after.iter().cloned());
        Arguments::try_parse_from(all).map_err(|error| {
            let source = self.source_of(&error);
            failure::Usage::Parser { error: Box::new(error), source }
        })
    }

    /// Returns where the invalid option comes from, unless it comes from the command line.
    fn source_of(&self, error: &clap::Error) -> Option<String> {
        let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
        let name = flag.trim_start_matches('-').split([' ', '=', '[']).next()?;
        let setting = self.settings.iter().find(|setting| setting.option == name)?;
        Some(setting.source.to_string())
    }

    /// Returns the settings of the file and the environment that are in effect.
    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns the variables that have the prefix of options but are none.
    pub(crate) fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }

    /// Reads all sources again. Returns the new options, the new sources, and the names of the options that changed.
    ///
    /// # Errors
    ///
    /// As for [`parse`].
    pub(crate) fn reread(&self) -> Result<(Arguments, Self, Vec<String>), failure::Usage> {
        let (arguments, sources) = parse(self.command_line.clone())?;
        let changed = self.changed(&sources);
        Ok((arguments, sources, changed))
    }

    /// Returns the names of the options whose values differ.
    pub(super) fn changed(&self, other: &Self) -> Vec<String> {
        fn by_option(settings: &[Setting]) -> BTreeMap<&str, &Value> {
            settings.iter().map(|setting| (setting.option.as_str(), &setting.value)).collect()
        }
        let (old, new) = (by_option(&self.settings), by_option(&other.settings));
        let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| old.get(name) != new.get(name));
        names.into_iter().map(str::to_owned).collect()
    }
}

/// Returns the file of `--config`, or of the variable.
fn config_file(command_line: &[OsString]) -> Option<PathBuf> {
    let mut words = command_line.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            break;
        }
        if text == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Combines the sources: a later one replaces what an earlier one specifies for the same option or for one that it excludes.
pub(super) fn combine(
    from_file: Vec<Setting>,
    from_environment: Vec<Setting>,
    given: &[&str],
    options: &Options,
) -> Vec<Setting> {
    let is_replaced = |setting: &Setting, by: &str| options.may_not_combine(&setting.option, by);
    let mut settings: Vec<Setting> = from_file
        .into_iter()
        .filter(|setting| !from_environment.iter().any(|later| is_replaced(setting, &later.option)))
        .collect();
    settings.extend(from_environment);
    settings.retain(|setting| !given.iter().any(|flag| is_replaced(setting, flag)));
    settings
}
