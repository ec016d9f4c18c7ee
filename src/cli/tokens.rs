//! By what the pool knows who asks.

use std::env;
use std::path::Path;

use forwardcache::{Error, ErrorKind, Tokens};

/// Where a token may be put that is to stand on no command line.
const VARIABLE: &str = "FORWARDCACHE_TOKEN";

/// Those of the file, or the one of the environment.
pub(super) fn of(file: Option<&Path>) -> Result<Option<Tokens>, Error> {
    if let Some(file) = file {
        return Tokens::from_file(file).map(Some);
    }
    match env::var(VARIABLE) {
        Ok(token) => Tokens::new([token])
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::BadOption, format!("{VARIABLE}: {}", error.message()))),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Error::new(ErrorKind::BadOption, format!("{VARIABLE} is not text")))
        }
    }
}
