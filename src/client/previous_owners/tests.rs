use super::super::members::{RingChoice, parse};
use super::super::pool::Pool;
use super::*;

const HANDOVER: Duration = Duration::from_secs(60);

/// Records one change per second; before each, one of these peers was the only member. Oldest first.
fn changed(alone: &[&str], begun: Instant) -> PreviousOwners {
    let former = PreviousOwners::default();
    for (peer, second) in alone.iter().zip(0..) {
        remember(&former, peer, begun + Duration::from_secs(second));
    }
    former
}

fn remember(former: &PreviousOwners, peer: &str, now: Instant) {
    let pool = Pool::new(parse([peer]).unwrap(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
    former.remember(pool.snapshot(), HANDOVER, now);
}

fn owner(former: &PreviousOwners, url: &str, now: Instant, members: &[&str]) -> Option<String> {
    let target = CanonicalUrl::parse(url).unwrap();
    let owner = former.owner(&target, now, |peer| members.contains(&peer.as_str()));
    owner.map(|owner| owner.to_string())
}

#[test]
fn newest_eligible_owner_is_returned_until_it_expires() {
    let begun = Instant::now();
    let former = changed(&["http://a", "http://b", "http://c"], begun);
    let all = ["http://a", "http://b", "http://c"];
    for (second, members, expected) in [
        (3, &all[..], Some("http://c")),
        (3, &all[..2], Some("http://b")),
        (3, &all[..1], Some("http://a")),
        (3, &[], None),
        (60, &all[..1], None),
        (60, &all[..2], Some("http://b")),
        (61, &all[..2], None),
        (61, &all[..], Some("http://c")),
    ] {
        let found = owner(&former, "http://h/", begun + Duration::from_secs(second), members);
        assert_eq!(found.as_deref(), expected, "{second} {members:?}");
    }
    assert!(former.are_any());
    assert_eq!(owner(&former, "http://h/", begun + Duration::from_secs(62), &all), None);
    assert!(!former.are_any());
}

#[test]
fn at_most_four_changes_are_remembered() {
    let begun = Instant::now();
    let former = changed(&["http://a", "http://b", "http://c", "http://d", "http://e"], begun);
    let now = begun + Duration::from_secs(5);
    assert_eq!(owner(&former, "http://h/", now, &["http://a"]), None);
    assert_eq!(owner(&former, "http://h/", now, &["http://b"]).as_deref(), Some("http://b"));
    let former = PreviousOwners::default();
    let pool = Pool::new(parse(["http://a"]).unwrap(), RingChoice::Rendezvous, Duration::ZERO).unwrap();
    former.remember(pool.snapshot(), Duration::ZERO, begun);
    assert!(!former.are_any());
}

#[test]
fn unresponsive_owner_is_not_replaced_by_an_older_one() {
    let begun = Instant::now();
    let former = changed(&["http://a", "http://b"], begun);
    let all = ["http://a", "http://b"];
    former.is_gone(&"http://b".parse().unwrap());
    assert_eq!(owner(&former, "http://h/", begun, &all), None);
    assert_eq!(owner(&former, "http://h/", begun, &all[..1]).as_deref(), Some("http://a"));
    remember(&former, "http://b", begun);
    assert_eq!(owner(&former, "http://h/", begun, &all).as_deref(), Some("http://b"));
}

#[test]
fn purge_excludes_the_urls_that_it_covers() {
    let begun = Instant::now();
    let group = Purge::group("http://g", "news").unwrap();
    for (purge, covered, other) in [
        (Purge::url("http://h/a").unwrap(), "http://h/a", "http://h/ab"),
        (Purge::prefix("http://h/a").unwrap(), "http://h/ab", "http://h/b"),
        (group, "http://g/anything", "http://h/a"),
    ] {
        let former = changed(&["http://a", "http://b"], begun);
        former.purge(&purge);
        let after = begun + Duration::from_secs(2);
        // A purge stays in force after the next change.
        remember(&former, "http://c", after);
        for member in ["http://a", "http://b", "http://c"] {
            assert_eq!(owner(&former, covered, after, &[member]), None, "{purge}");
            assert_eq!(owner(&former, other, after, &[member]).as_deref(), Some(member), "{purge}");
        }
        // The purge belongs to a change that has expired.
        let late = begun + Duration::from_secs(61);
        assert_eq!(owner(&former, covered, late, &["http://c"]).as_deref(), Some("http://c"));
    }
    let former = changed(&["http://a", "http://b"], begun);
    former.purge(&Purge::all());
    assert!(!former.are_any());
}

#[test]
fn too_many_purges_exclude_every_url() {
    let (begun, former) = (Instant::now(), changed(&["http://a"], Instant::now()));
    let purge = |number: usize| Purge::url(&format!("http://h/{number}")).unwrap();
    for _ in 0..2 {
        (0..MAX_PURGES).for_each(|number| former.purge(&purge(number)));
    }
    assert_eq!(owner(&former, "http://h/", begun, &["http://a"]).as_deref(), Some("http://a"));
    former.purge(&purge(MAX_PURGES));
    assert!(!former.are_any());
    assert_eq!(owner(&former, "http://h/", begun, &["http://a"]), None);
    // Without a change, purges are not remembered.
    former.purge(&purge(0));
    remember(&former, "http://a", begun);
    assert_eq!(owner(&former, "http://h/0", begun, &["http://a"]).as_deref(), Some("http://a"));
}
