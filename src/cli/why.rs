//! What would happen to a GET, as the owner of its URL says.

use std::io::{self, Write};
use std::process::ExitCode;

use forwardcache::{Client, Error, NoPeerLeft, Target};
use http::{HeaderMap, Request};

use super::arguments::Why;
use super::failure::Failure;
use super::{fields, pool};

pub(crate) fn run(arguments: &Why) -> Result<ExitCode, Failure> {
    let headers = fields::parsed(&arguments.asking.fields)?;
    let client = pool::asking_client(
        &arguments.peers,
        &arguments.elsewhere,
        &arguments.asking.reaching,
        NoPeerLeft::Fail,
    )?;
    explain(arguments, &client, &headers)
}

fn explain(arguments: &Why, client: &Client, headers: &HeaderMap) -> Result<ExitCode, Failure> {
    // All of what was typed is read before any of it is asked.
    let targets: Vec<Target> =
        arguments.urls.iter().map(|url| Target::parse(url)).collect::<Result<_, _>>().map_err(Error::from)?;
    for (at, target) in targets.iter().enumerate() {
        let mut request = Request::new(());
        *request.uri_mut() = target.uri();
        request.headers_mut().clone_from(headers);
        let owner = client.owner(target.as_str())?.ok_or_else(|| Failure::failed("the pool has no peer"))?;
        let explanation = client.explain(&request)?;
        let between = if at > 0 { "\n" } else { "" };
        write!(io::stdout().lock(), "{between}owner     {owner}\n{explanation}")
            .map_err(|error| Failure::io("cannot write", &error))?;
    }
    Ok(ExitCode::SUCCESS)
}
