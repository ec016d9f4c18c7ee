//! `forwardcache ring`: the share of the keys that each peer owns.

use std::num::NonZeroU32;
use std::process::ExitCode;

use forwardcache::Client;
use forwardcache::pool::{HashFunction, Member, Rendezvous, Ring};

use super::arguments::{Ring as Arguments, RingName};
use super::failure::{Failure, print};
use super::pool;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options = &arguments.ring;
    let members = pool::members(&arguments.peers)?;
    // Building a client validates the combination of options and the pool.
    pool::with_ring(options, Client::builder()).build()?;
    let members = Client::builder().members(members).build()?.members();
    let weighted = members.iter().map(|member| (member.url().as_str(), member.weight()));
    let shares = match options.ring {
        RingName::Compatible => {
            let replicas = options.replicas.and_then(NonZeroU32::new).unwrap_or(Ring::DEFAULT_REPLICAS);
            Ring::weighted(weighted, replicas, HashFunction::default()).shares()
        }
        RingName::Rendezvous => Rendezvous::new(weighted).shares(),
    };
    print(table(&members, &shares))?;
    Ok(ExitCode::SUCCESS)
}

/// Formats one line for each peer: its share of the keys, the ratio to its fair share, and its URL.
fn table(members: &[Member], shares: &[f64]) -> String {
    let total: f64 = members.iter().map(|member| f64::from(member.weight().get())).sum();
    let line = |(member, share): (&Member, &f64)| {
        let fair = f64::from(member.weight().get()) / total;
        format!("{:.4} %\t{:.3}\t{member}\n", share * 100.0, share / fair)
    };
    members.iter().zip(shares).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_compares_each_share_with_its_weight() {
        let members = ["http://a", "http://b weight=3"].map(|text| Member::parse(text).unwrap());
        let table = table(&members, &[0.2, 0.8]);
        assert_eq!(table, "20.0000 %\t0.800\thttp://a\n80.0000 %\t1.067\thttp://b weight=3\n");
    }
}
