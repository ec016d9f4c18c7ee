//! One option with its values and where they come from.

use std::fmt;

/// Where a setting comes from. A later source replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A file and a line of it, counted from 1.
    File { name: String, line: usize },
    /// The variable of this name.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

/// The values of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The long flag without its dashes.
    pub(super) option: String,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// What a source specifies for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The flag is set or not set, without a value.
    Switch(bool),
    /// One value, or several for an option that may be repeated.
    Values(Vec<String>),
}

impl Setting {
    /// Returns the arguments of the command line that have the same effect.
    pub(super) fn arguments(&self) -> Vec<String> {
        match &self.value {
            Value::Switch(true) => vec![format!("--{}", self.option)],
            Value::Switch(false) => Vec::new(),
            Value::Values(values) => {
                values.iter().map(|value| format!("--{}={value}", self.option)).collect()
            }
        }
    }
}
