//! Tokens from a file or from the environment.

use std::env;
use std::path::Path;

use forwardcache::pool::Tokens;
use forwardcache::{Error, ErrorKind};

/// The environment variable for a token. Unlike a command line, other users cannot read it.
const VARIABLE: &str = "FORWARDCACHE_TOKEN";

/// Returns the tokens of the file, or without a file the token of the environment variable.
pub(super) fn load(file: Option<&Path>) -> Result<Option<Tokens>, Error> {
    if let Some(file) = file {
        return Tokens::from_file(file).map(Some);
    }
    match env::var(VARIABLE) {
        Ok(token) => Tokens::new([token])
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::BadOption, format!("{VARIABLE}: {}", error.reason()))),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Error::new(ErrorKind::BadOption, format!("{VARIABLE} is not valid UTF-8")))
        }
    }
}
