//! `forwardcache purge`: removes stored responses from every peer.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use forwardcache::client::OnNoPeers;
use forwardcache::pool::{PeerUrl, Purged};
use forwardcache::{Client, Error, Purge};

use super::arguments;
use super::failure::{Failure, print};
use super::pool;

pub(crate) fn run(arguments: &arguments::Purge) -> Result<ExitCode, Failure> {
    // Parse all URLs first, so that an invalid URL fails before anything is removed.
    let purges = purges(arguments)?.into_iter();
    let purges: Vec<_> = purges.map(|purge| if arguments.soft { purge.soft() } else { purge }).collect();
    let client = Client::builder().purge_timeout(arguments.max_time);
    let client = pool::client(client, &arguments.access, OnNoPeers::Fail)?;
    let mut removed: BTreeMap<PeerUrl, Purged> = BTreeMap::new();
    let mut failed: Vec<(PeerUrl, Error)> = Vec::new();
    let mut remaining = client.pool();
    let mut knows_other_pool = BTreeSet::new();
    for purge in &purges {
        for result in client.purge_at(&remaining, purge)?.peers {
            if result.knows_other_pool {
                knows_other_pool.insert(result.peer.clone());
            }
            match result.result {
                Ok(purged) => {
                    let sum = removed.entry(result.peer).or_default();
                    *sum = sum.and(purged);
                }
                Err(error) => failed.push((result.peer, error)),
            }
        }
        // Skip a failed peer from now on: it would delay each of the remaining purges.
        remaining.retain(|peer| failed.iter().all(|(failed, _)| failed != peer));
        if remaining.is_empty() {
            break;
        }
    }
    for (peer, purged) in &removed {
        // The count of a peer that failed later covers only a part of the purges.
        if failed.iter().all(|(failed, _)| failed != peer) {
            let suffix = if knows_other_pool.contains(peer) { " other-pool" } else { "" };
            print(format_args!("{peer}\t{purged}{suffix}\n"))?;
        }
    }
    for (peer, error) in &failed {
        eprintln!("forwardcache: {peer} may still serve purged responses: {}", error.reason());
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn purges(arguments: &arguments::Purge) -> Result<Vec<Purge>, Error> {
    if let Some(prefix) = &arguments.prefix {
        return Ok(vec![Purge::prefix(prefix)?]);
    }
    if let (Some(group), Some(origin)) = (&arguments.group, &arguments.origin) {
        return Ok(vec![Purge::group(origin, group)?]);
    }
    if arguments.all {
        return Ok(vec![Purge::all()]);
    }
    arguments.urls.iter().map(|url| Purge::url(url)).collect()
}
