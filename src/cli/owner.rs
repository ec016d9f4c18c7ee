//! Which peer owns which URL.

use std::io::{self, Write};
use std::process::ExitCode;

use forwardcache::Client;

use super::arguments::Owner;
use super::failure::Failure;
use super::pool;

pub(crate) fn run(arguments: &Owner) -> Result<ExitCode, Failure> {
    let members = pool::members(&arguments.peers)?;
    let client = pool::placing(&arguments.ring, Client::builder()).members(members).build()?;
    arguments.elsewhere.read_into(&client)?;
    let mut output = io::stdout().lock();
    for url in &arguments.urls {
        let owner = client.owner(url)?.ok_or_else(|| Failure::failed("the pool has no peer"))?;
        writeln!(output, "{owner}\t{url}").map_err(|error| Failure::io("cannot write", &error))?;
    }
    Ok(ExitCode::SUCCESS)
}
