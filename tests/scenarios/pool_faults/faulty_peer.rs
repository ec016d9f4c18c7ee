//! A peer that resets, truncates, trickles or sends invalid HTTP.

use forwardcache::ErrorKind;

use super::load::{self, get, under_load};
use super::table::{BOUND, Table};
use super::versioned_origin::World;
use crate::processes::PeerProcess;
use crate::support::relay::{Harm, Relay};

pub(super) fn rows(table: &mut Table) {
    for (harm, what, bound) in [
        (Harm::ResetAfterHead, "resets every connection after the head", BOUND),
        (Harm::ResetInBody, "resets every connection in the middle of the body", BOUND),
        (Harm::CutInBody, "closes every connection in the middle of the body", BOUND),
        (Harm::Garbage, "sends invalid HTTP", BOUND),
        (Harm::TrickledHead, "sends one byte per second", BOUND),
        (Harm::TrickledBody, "sends heads at once and bodies at one byte per second", BOUND),
        (Harm::Altered, "changes a byte of a body whose digest it has sent", BOUND),
        (Harm::Silent, "accepts requests and never responds", BOUND),
    ] {
        let (world, pool) = (World::new("max-age=600"), PeerProcess::pool(3));
        let bad = Relay::to(pool[0].address);
        let members = [bad.url(), pool[1].url(), pool[2].url()];
        let client = load::client(members).build().unwrap();
        let did = || client.counts().failovers + client.counts().resumed_bodies;
        let seen = under_load(&world, &|url| get(&client, url), |load| {
            load.wait_for_more(300);
            bad.set(Some(harm));
            load.wait_until(|| did() > 0);
            // Each request to this peer is slow, so fewer are needed.
            load.wait_for_more(if harm == Harm::TrickledBody { 40 } else { 300 });
            bad.set(None);
            load.wait_for_more(150);
        });
        let counts = client.counts();
        let (failed, altered) = (seen.failed(), seen.failed_as(ErrorKind::DigestMismatch));
        let what = format!("one of three peers {what}");
        let row = if harm == Harm::Altered {
            // The digest covers the whole body, so a body that is passed on while it is read can only end in an
            // error.
            table
                .row(&what, "bodies over 64 KiB", seen, bound)
                .and(failed == altered, "every failure is a digest mismatch")
        } else {
            table.all_answered(&what, seen, bound)
        };
        row.saw(format!("{} failovers, {} resumed bodies", counts.failovers, counts.resumed_bodies))
            .and(counts.direct_fetches == 0, "the other peers serve its keys");
    }
}
