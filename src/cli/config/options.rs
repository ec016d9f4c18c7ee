//! The options that the parser knows.

use clap::{Arg, ArgAction, ArgGroup, Command, CommandFactory};

use super::super::arguments::Arguments;
use super::setting::Value;

/// Options that make no sense in a file or a variable: they name the file, or print and exit.
const COMMAND_LINE_ONLY: [&str; 3] = ["config", "help", "version"];

/// The form of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A flag without a value.
    Switch,
    /// One value.
    One,
    /// A value that may be omitted.
    Optional,
    /// An option that may be repeated.
    List,
}

/// The options of one subcommand.
#[derive(Debug)]
pub(super) struct Options {
    command: Command,
}

impl Options {
    /// Returns the options of a subcommand, or `None` if there is no such subcommand.
    pub(super) fn of(subcommand: &str) -> Option<Self> {
        let mut arguments = Arguments::command();
        arguments.build();
        let command = arguments.find_subcommand(subcommand)?.clone();
        Some(Self { command })
    }

    fn configurable(&self) -> impl Iterator<Item = (&str, &Arg)> {
        let named = self.command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
        named.filter(|(name, _)| !COMMAND_LINE_ONLY.contains(name))
    }

    fn find(&self, name: &str) -> Option<&Arg> {
        self.configurable().find(|(option, _)| *option == name).map(|(_, arg)| arg)
    }

    /// Returns the names of all options that a file or a variable may set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.configurable().map(|(name, _)| name)
    }

    /// Returns the form of the option's value, or `None` if there is no such option.
    pub(super) fn form(&self, name: &str) -> Option<Form> {
        let arg = self.find(name)?;
        Some(match arg.get_action() {
            ArgAction::SetTrue | ArgAction::Count => Form::Switch,
            ArgAction::Append => Form::List,
            _ if arg.get_num_args().is_some_and(|number| number.min_values() == 0) => Form::Optional,
            _ => Form::One,
        })
    }

    /// Returns whether the two options exclude each other, or are the same.
    pub(super) fn may_not_combine(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.find(one), self.find(other)) else { return false };
        let excludes = |one: &Arg, other: &Arg| {
            self.command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        let has_both = |group: &ArgGroup| {
            let has = |arg: &Arg| group.get_args().any(|id| id == arg.get_id());
            !group.clone().is_multiple() && has(one) && has(other)
        };
        one.get_id() == other.get_id()
            || excludes(one, other)
            || excludes(other, one)
            || self.command.get_groups().any(has_both)
    }

    /// Returns the known option whose name is most similar, if one is similar at all.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let similarity = |option: &str| strsim::jaro_winkler(option, name);
        let options = self.names().map(|option| (option, similarity(option)));
        let nearest = options.max_by(|one, other| one.1.total_cmp(&other.1))?;
        (nearest.1 > 0.8).then_some(nearest.0)
    }

    /// Checks that the value has the form of the option.
    ///
    /// # Errors
    ///
    /// A message without the name of the source, if there is no such option or the value has another form.
    pub(super) fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let Some(form) = self.form(name) else {
            let nearest = self.nearest(name).map(|nearest| format!(": did you mean {nearest}?"));
            return Err(format!("unknown option {name}{}", nearest.unwrap_or_default()));
        };
        match (form, value) {
            (Form::Switch, Value::Switch(_)) | (Form::Optional, _) | (Form::List, Value::Values(_)) => Ok(()),
            (Form::Switch, Value::Values(_)) => Err(format!("{name} is true or false")),
            (Form::One, Value::Values(values)) if values.len() == 1 => Ok(()),
            (Form::One, Value::Values(_)) => Err(format!("{name} has one value, not a list")),
            (Form::One | Form::List, Value::Switch(_)) => Err(format!("{name} needs a value")),
        }
    }
}
