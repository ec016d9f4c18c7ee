//! What is stored, removed from every peer.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use forwardcache::{Client, Error, OnNoPeers, PeerUrl, Purge, Purged};

use super::arguments;
use super::failure::{Failure, print};
use super::pool;

pub(crate) fn run(arguments: &arguments::Purge) -> Result<ExitCode, Failure> {
    // All of what was typed is read before any of it is done.
    let purges = purges(arguments)?.into_iter();
    let purges: Vec<_> = purges.map(|purge| if arguments.soft { purge.soft() } else { purge }).collect();
    let client = Client::builder().purge_timeout(arguments.max_time);
    let client = pool::client(client, &arguments.reaching, OnNoPeers::Fail)?;
    let mut went: BTreeMap<PeerUrl, Purged> = BTreeMap::new();
    let mut failed: Vec<(PeerUrl, Error)> = Vec::new();
    let mut left = client.pool();
    let mut of_other_pools = BTreeSet::new();
    for purge in &purges {
        for answered in client.purge_at(&left, purge)?.peers {
            if answered.knows_other_pool {
                of_other_pools.insert(answered.peer.clone());
            }
            match answered.result {
                Ok(purged) => {
                    let sum = went.entry(answered.peer).or_default();
                    *sum = sum.and(purged);
                }
                Err(error) => failed.push((answered.peer, error)),
            }
        }
        // Who did not do one would keep the others waiting for each of the rest.
        left.retain(|peer| failed.iter().all(|(gone, _)| gone != peer));
        if left.is_empty() {
            break;
        }
    }
    for (peer, purged) in &went {
        // What it did of several before it failed is no whole.
        if failed.iter().all(|(gone, _)| gone != peer) {
            let other = if of_other_pools.contains(peer) { " other-pool" } else { "" };
            print(format_args!("{peer}\t{purged}{other}\n"))?;
        }
    }
    for (peer, error) in &failed {
        eprintln!("forwardcache: {peer} may still hold it: {}", error.message());
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
