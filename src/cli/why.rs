//! What would happen to a GET, as the owner of its URL says.

use std::process::ExitCode;

use forwardcache::{CanonicalUrl, Client, Error, OnNoPeers};
use http::Request;

use super::arguments::Why;
use super::failure::{Failure, print};
use super::{fields, pool};

pub(crate) fn run(arguments: &Why) -> Result<ExitCode, Failure> {
    let headers = fields::parsed(&arguments.asking.fields)?;
    let client = pool::client(Client::builder(), &arguments.asking.reaching, OnNoPeers::Fail)?;
    // All of what was typed is read before any of it is asked.
    let targets: Vec<CanonicalUrl> = arguments
        .urls
        .iter()
        .map(|url| CanonicalUrl::parse(url))
        .collect::<Result<_, _>>()
        .map_err(Error::from)?;
    for (at, target) in targets.iter().enumerate() {
        let mut request = Request::new(());
        *request.uri_mut() = target.uri();
        request.headers_mut().clone_from(&headers);
        let owner = client.owner(target.as_str())?.ok_or_else(|| Failure::failed("the pool has no peer"))?;
        let explanation = client.explain(&request)?;
        let between = if at > 0 { "\n" } else { "" };
        print(format_args!("{between}owner     {owner}\n{explanation}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
