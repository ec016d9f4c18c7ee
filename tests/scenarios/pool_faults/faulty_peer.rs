//! A peer that resets, truncates, trickles or sends invalid HTTP.

use forwardcache::ErrorKind;

use super::load::{self, get, under_load};
use super::table::{TIME_LIMIT, Table};
use super::versioned_origin::VersionedOrigin;
use crate::processes::PeerProcess;
use crate::support::relay::{Fault, Relay};

pub(super) fn rows(table: &mut Table) {
    for (fault, what, bound) in [
        (Fault::ResetAfterHead, "resets every connection after the head", TIME_LIMIT),
        (Fault::ResetInBody, "resets every connection in the middle of the body", TIME_LIMIT),
        (Fault::CutInBody, "closes every connection in the middle of the body", TIME_LIMIT),
        (Fault::Garbage, "sends invalid HTTP", TIME_LIMIT),
        (Fault::TrickledHead, "sends one byte per second", TIME_LIMIT),
        (Fault::TrickledBody, "sends heads at once and bodies at one byte per second", TIME_LIMIT),
        (Fault::CorruptBody, "changes a byte of a body whose digest it has sent", TIME_LIMIT),
        (Fault::Silent, "accepts requests and never responds", TIME_LIMIT),
    ] {
        let (origin, pool) = (VersionedOrigin::new("max-age=600"), PeerProcess::pool(3));
        let relay = Relay::to(pool[0].address);
        let members = [relay.url(), pool[1].url(), pool[2].url()];
        let client = load::client(members).build().unwrap();
        let recoveries = || client.counts().failovers + client.counts().resumed_bodies;
        let results = under_load(&origin, &|url| get(&client, url), |load| {
            load.wait_for_more(300);
            relay.set(Some(fault));
            load.wait_until(|| recoveries() > 0);
            // Each request to this peer is slow, so fewer are needed.
            load.wait_for_more(if fault == Fault::TrickledBody { 40 } else { 300 });
            relay.set(None);
            load.wait_for_more(150);
        });
        let counts = client.counts();
        let (failed, altered) = (results.failed(), results.failed_as(ErrorKind::DigestMismatch));
        let what = format!("one of three peers {what}");
        let row = if fault == Fault::CorruptBody {
            // The digest covers the whole body, so a body that is passed on while it is read can only end in an
            // error.
            table
                .row(&what, "bodies over 64 KiB", results, bound)
                .require(failed == altered, "every failure is a digest mismatch")
        } else {
            table.all_answered(&what, results, bound)
        };
        row.note(format!("{} failovers, {} resumed bodies", counts.failovers, counts.resumed_bodies))
            .require(counts.direct_fetches == 0, "the other peers serve its keys");
    }
}
