//! `forwardcache why`: what would happen to a GET request, explained by the owner of the URL.

use std::process::ExitCode;

use forwardcache::client::OnNoPeers;
use forwardcache::origin::CanonicalUrl;
use forwardcache::{Client, Error};
use http::Request;

use super::arguments::Why;
use super::failure::{Failure, print};
use super::{fields, pool};

pub(crate) fn run(arguments: &Why) -> Result<ExitCode, Failure> {
    let headers = fields::parse_all(&arguments.request.fields)?;
    let client = pool::client(Client::builder(), &arguments.request.access, OnNoPeers::Fail)?;
    // Parse all URLs first, so that an invalid URL fails before any request is sent.
    let urls: Vec<CanonicalUrl> = arguments
        .urls
        .iter()
        .map(|url| CanonicalUrl::parse(url))
        .collect::<Result<_, _>>()
        .map_err(Error::from)?;
    for (index, url) in urls.iter().enumerate() {
        let mut request = Request::new(());
        *request.uri_mut() = url.uri();
        request.headers_mut().clone_from(&headers);
        let owner = client.owner(url.as_str())?.ok_or_else(|| Failure::failed("the pool has no peers"))?;
        let explanation = client.explain(&request)?;
        let separator = if index > 0 { "\n" } else { "" };
        print(format_args!("{separator}owner     {owner}\n{explanation}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
