//! `forwardcache owner`: which peer owns each URL.

use std::process::ExitCode;

use forwardcache::Client;

use super::arguments::Owner;
use super::failure::{Failure, print};
use super::pool;

pub(crate) fn run(arguments: &Owner) -> Result<ExitCode, Failure> {
    let members = pool::members(&arguments.peer_list.peers)?;
    let client = pool::with_ring(&arguments.ring, Client::builder()).members(members).build()?;
    arguments.peer_list.load_into(&client)?;
    for url in &arguments.urls {
        let owner = client.owner(url)?.ok_or_else(|| Failure::failed("the pool has no peers"))?;
        print(format_args!("{owner}\t{url}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
