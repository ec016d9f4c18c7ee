//! How evenly a ring places keys: of a given pool, and of a model of a large one.
//!
//! | file | what it holds |
//! |---|---|
//! | `shares` | what each peer of a pool owns |
//! | `simulate` | the model on the command line: a bar while it runs, a table, a plot |
//! | `model` | keys, requests and changes, counted for either ring; pure |
//! | `load` | requests under way, and who takes the next one; pure |
//! | `zipf` | which key is asked for next; pure |
//! | `table` | the counts as text |
//! | `plot` | the counts as SVG |

mod load;
mod model;
mod plot;
mod shares;
mod simulate;
mod table;
mod zipf;

use std::process::ExitCode;

use super::arguments::Ring;
use super::failure::Failure;

pub(crate) fn run(arguments: &Ring) -> Result<ExitCode, Failure> {
    if arguments.simulate { simulate::run(&arguments.simulation) } else { shares::run(arguments) }
}
