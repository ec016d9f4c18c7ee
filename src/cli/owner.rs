//! Which peer owns which URL.

use std::process::ExitCode;

use forwardcache::Client;

use super::arguments::Owner;
use super::failure::{Failure, print};
use super::pool;

pub(crate) fn run(arguments: &Owner) -> Result<ExitCode, Failure> {
    let members = pool::members(&arguments.listed.peers)?;
    let client = pool::placing(&arguments.ring, Client::builder()).members(members).build()?;
    arguments.listed.read_into(&client)?;
    for url in &arguments.urls {
        let owner = client.owner(url)?.ok_or_else(|| Failure::failed("the pool has no peer"))?;
        print(format_args!("{owner}\t{url}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
