//! Hits of 1 KiB in the forms for programs that do not know the pool, with an access log, and through a gateway.
//!
//! The same peer serves all of them, except those that are logged, and each is measured once per round. The partner of the gateway, whose near cache is
//! off, is an nginx that passes each request on to the peer over connections that it keeps open.

use std::{fmt, fs};

use crate::Result;
use crate::figures::median;
use crate::interruption;
use crate::servers::{
    Kind, Origin, SMALL, Server, forwardcache, home, start_gateway, start_logging_peer, start_passing_nginx,
};
use crate::wrk::{self, RequestPattern};

const CONNECTIONS: u32 = 64;

/// A way to request a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Query,
    Prefix,
    Absolute,
    Logged,
    Gateway,
    Nginx,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Query, Self::Prefix, Self::Absolute, Self::Logged, Self::Gateway, Self::Nginx];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Query => "`/proxy?q=`",
            Self::Prefix => "prefix form",
            Self::Absolute => "absolute form",
            Self::Logged => "`/proxy?q=`, logged",
            Self::Gateway => "through a gateway",
            Self::Nginx => "through nginx",
        })
    }
}

/// The requests per second of each way in each round.
#[derive(Debug)]
pub(crate) struct Outcome(Vec<(Way, Vec<f64>)>);

impl Outcome {
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        self.0.iter().map(|(way, _)| *way)
    }

    fn rates(&self, way: Way) -> &[f64] {
        self.0.iter().find(|(other, _)| *other == way).map_or(&[], |(_, rates)| rates)
    }

    pub(crate) fn median(&self, way: Way) -> f64 {
        median(self.rates(way).iter().copied()).unwrap_or(0.0)
    }

    /// Returns the median over the rounds of the rate divided by that of another way.
    pub(crate) fn ratio(&self, way: Way, other: Way) -> Option<f64> {
        median(self.rates(way).iter().zip(self.rates(other)).map(|(rate, other)| rate / other))
    }
}

/// Starts an origin, a peer, a gateway and nginx, and measures each way in each round.
pub(crate) fn measure(rounds: u32, seconds: u32) -> Result<Outcome> {
    let origin = Origin::start()?;
    let peer = Server::start(Kind::Forwardcache, &origin)?;
    let (_logging, logging_address, logging_home) = start_logging_peer()?;
    let (_gateway, gateway_address, _gateway_home) = start_gateway(peer.address)?;
    let (_nginx, nginx_address, _nginx_home) = start_passing_nginx(peer.address)?;
    let query = forwardcache::path(&origin.url(), SMALL.0);
    let url = format!("{}{}", origin.url(), SMALL.0);
    let requests = |way| match way {
        Way::Query => (peer.address, query.clone()),
        Way::Prefix => (peer.address, format!("/fetch/{url}")),
        Way::Absolute => (peer.address, url.clone()),
        Way::Logged => (logging_address, query.clone()),
        Way::Gateway => (gateway_address, format!("/fetch/{url}")),
        Way::Nginx => (nginx_address, query.clone()),
    };
    let folder = home()?;
    let mut outcome = Outcome(Way::ALL.map(|way| (way, Vec::new())).into());
    for round in 0..rounds as usize {
        for place in 0..Way::ALL.len() {
            interruption::check()?;
            let index = (round + place) % Way::ALL.len();
            let way = Way::ALL[index];
            let (address, path) = requests(way);
            let answer = crate::client::get(address, &path)?;
            if answer.body.len() as u64 != SMALL.1 {
                return Err(format!("{way}: unexpected response to {path}").into());
            }
            let pattern = RequestPattern::Script(&path);
            let load = wrk::run(("http", address), pattern, CONNECTIONS, seconds, folder.path())?;
            eprintln!("{way}, round {} of {rounds}: {:.0} requests/s", round + 1, load.requests_per_second);
            if way == Way::Logged {
                let path = logging_home.path().join("access.log");
                let logged = fs::metadata(&path)?.len();
                // A line has more than 100 bytes.
                if (logged as f64) < 50.0 * load.requests_per_second {
                    return Err(format!("the access log has only {logged} bytes").into());
                }
                // The log is in memory.
                fs::write(&path, "")?;
            }
            outcome.0[index].1.push(load.requests_per_second);
        }
    }
    Ok(outcome)
}
