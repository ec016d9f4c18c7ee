//! Options of `serve` from a file and from the environment, besides the command line.
//!
//! Every flag of `serve` is also a key of the file and a variable of the environment. The list of flags comes from the argument
//! parser, so a new flag needs no code here. A value of the environment replaces that of the file, and the
//! command line replaces both.
//!
//! | file | content |
//! |---|---|
//! | `options` | the options that the parser knows, and the nearest name for a misspelled one |
//! | `setting` | one option with its values and where they come from |
//! | `file` | settings of a TOML file |
//! | `environment` | settings of variables |
//! | `sources` | all sources together: the command line that results, and what changed since |
//! | `show` | `config check` and `config show` |

mod environment;
mod file;
mod options;
mod setting;
pub(crate) mod show;
mod sources;

pub(crate) use sources::{Sources, parse};

#[cfg(test)]
mod tests;
