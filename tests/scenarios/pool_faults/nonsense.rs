//! A peer that resets, cuts, trickles, or talks nonsense.

use forwardcache::ErrorKind;

use super::load::{self, get, under_load};
use super::table::{BOUND, Table};
use super::world::World;
use crate::processes::PeerProcess;
use crate::support::relay::{Harm, Relay};

pub(super) fn rows(table: &mut Table) {
    for (harm, what, bound) in [
        (Harm::ResetAfterHead, "resets every connection after the head", BOUND),
        (Harm::ResetInBody, "resets every connection in the middle of the body", BOUND),
        (Harm::CutInBody, "closes every connection in the middle of the body", BOUND),
        (Harm::Garbage, "answers garbage", BOUND),
        (Harm::TrickledHead, "answers a byte a second", BOUND),
        (Harm::TrickledBody, "answers at once, and its bodies come a byte a second", BOUND),
        (Harm::Altered, "alters a byte of what it announced", BOUND),
        (Harm::Silent, "takes requests and answers nothing", BOUND),
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
            // Each that it is asked for takes its time.
            load.wait_for_more(if harm == Harm::TrickledBody { 40 } else { 300 });
            bad.set(None);
            load.wait_for_more(150);
        });
        let counts = client.counts();
        let (failed, altered) = (seen.failed(), seen.failed_as(ErrorKind::DigestMismatch));
        let what = format!("one of three {what}");
        let row = if harm == Harm::Altered {
            // What was handed out before its end was seen cannot be taken back: it ends in an error.
            table.row(&what, "bodies of over 64 KiB", seen, bound).and(failed == altered, "the error says so")
        } else {
            table.all_answered(&what, seen, bound)
        };
        row.saw(format!("{} failovers, {} bodies went on", counts.failovers, counts.resumed_bodies))
            .and(counts.direct_fetches == 0, "the others carry its keys");
    }
}
