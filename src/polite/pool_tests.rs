//! A keeper and those who borrow of it, over a network that delays and loses, by a clock that is moved by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bucket::Rate;
use super::kept::Kept;
use super::lease::{Ask, Grant, LEASE};
use super::leased::{AWAY, Leased, SLOW};
use super::options::{Limits, Politeness};
use crate::peer_url::PeerUrl;

fn at(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(milliseconds)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn limits(concurrent: u32, rate: f64, burst: u32) -> Limits {
    Politeness::new().concurrent(concurrent).rate(rate).burst(burst).limits().unwrap()
}

fn leased(limits: Limits, peers: u32) -> Leased {
    Leased::new(PeerUrl::parse("http://keeper").unwrap(), limits.share(peers), None)
}

fn wants(busy: u32, waiting: u32) -> Ask {
    Ask { busy, waiting, places: busy + waiting, requests: waiting, pause: Duration::ZERO }
}

#[test]
fn what_is_lent_is_lent_once_until_it_has_run_out() {
    let mut kept = Kept::new(limits(4, 100.0, 100), None, at(0));
    assert_eq!(kept.lend("a", &wants(0, 3), 0, at(0)).places, 3);
    assert_eq!(kept.lend("b", &wants(0, 3), 0, at(0)).places, 1);
    assert_eq!(kept.admit(0, at(10)), Err(Some(ms(990))));
    // Both are gone, and nobody was told.
    assert_eq!(kept.admit(0, at(999)), Err(Some(ms(1))));
    assert_eq!(kept.admit(0, at(1_000)), Ok(()));
    assert_eq!(kept.lend("a", &wants(0, 4), 1, at(1_000)).places, 3);
    assert!(!kept.is_whole(at(1_999)) && kept.is_whole(at(2_100)));
}

#[test]
fn what_is_under_way_counts_also_where_nothing_is_lent() {
    let mut kept = Kept::new(limits(4, 100.0, 100), None, at(0));
    assert_eq!(kept.lend("a", &wants(0, 2), 2, at(0)).places, 2);
    // It has more under way than it may: this one has lost what it knew.
    let mut kept = Kept::new(limits(4, 100.0, 100), None, at(0));
    assert_eq!(kept.lend("a", &wants(6, 0), 0, at(0)).places, 4);
    assert!(kept.admit(0, at(1)).is_err());
    assert_eq!(kept.lend("b", &wants(0, 1), 0, at(1)).places, 0);
}

#[test]
fn who_waits_is_left_a_part_and_those_before_go_first() {
    let mut kept = Kept::new(limits(1, 1_000.0, 1_000), None, at(0));
    assert_eq!(kept.lend("a", &wants(0, 1), 0, at(0)).places, 1);
    for (peer, time) in [("b", 1), ("c", 2)] {
        let grant = kept.lend(peer, &wants(0, 1), 0, at(time));
        assert_eq!((grant.places, grant.again), (0, ms(100)), "{peer}");
    }
    // It is done, and wants it again.
    assert_eq!(kept.lend("a", &wants(0, 1), 0, at(500)).places, 0);
    assert_eq!(kept.lend("c", &wants(0, 1), 0, at(501)).places, 0);
    assert!(kept.admit(0, at(502)).is_err());
    assert_eq!(kept.lend("b", &wants(0, 1), 0, at(503)).places, 1);
    assert_eq!(kept.lend("b", &wants(0, 0), 0, at(504)).places, 0);
    assert_eq!(kept.lend("a", &wants(0, 1), 0, at(505)).places, 0);
    assert_eq!(kept.lend("c", &wants(0, 1), 0, at(506)).places, 1);

    // Where all want all, each gets its part.
    let mut kept = Kept::new(limits(6, 1_000.0, 1_000), None, at(0));
    assert_eq!(kept.lend("a", &wants(0, 6), 0, at(0)).places, 6);
    assert_eq!(kept.lend("b", &wants(0, 6), 0, at(0)).places, 0);
    assert_eq!(kept.lend("a", &wants(6, 6), 0, at(500)).places, 3);
    assert_eq!(kept.lend("b", &wants(0, 6), 0, at(500)).places, 0);
    assert_eq!(kept.lend("a", &wants(3, 6), 0, at(600)).places, 3);
    assert_eq!(kept.lend("b", &wants(0, 6), 0, at(600)).places, 3);
}

#[test]
fn the_next_request_is_of_who_has_waited_for_it() {
    let mut kept = Kept::new(limits(9, 1.0, 1), None, at(0));
    let mut sent = |peer, time| {
        let grant = kept.lend(peer, &wants(0, 1), 0, at(time));
        grant.at_once + grant.later
    };
    assert_eq!(sent("a", 0), 1);
    assert_eq!(sent("b", 10), 0);
    assert_eq!(sent("a", 1_000), 0);
    assert_eq!(sent("b", 1_005), 1);
}

#[test]
fn one_who_died_waiting_holds_nobody_up_for_longer_than_a_lease() {
    let mut kept = Kept::new(limits(1, 1_000.0, 1_000), None, at(0));
    assert_eq!(kept.admit(0, at(0)), Ok(()));
    assert_eq!(kept.lend("b", &wants(0, 1), 1, at(0)).places, 0);
    assert_eq!(kept.admit(0, at(999)), Err(Some(ms(1))));
    assert_eq!(kept.admit(0, at(1_000)), Ok(()));
}

#[test]
fn one_question_is_for_many_requests() {
    let rate = 100.0;
    let (mut kept, mut leased) =
        (Kept::new(limits(50, rate, 10), None, at(0)), leased(limits(50, rate, 10), 2));
    let (mut asked, mut sent) = (0, 0);
    for time in 0..10_000 {
        let now = at(time);
        // More than there is.
        if leased.due(0, 5, now) == Some(Duration::ZERO) {
            asked += 1;
            let ask = leased.ask(0, 5, Duration::ZERO, now);
            leased.granted(&kept.lend("a", &ask, 0, now), now);
        }
        while leased.admit(0, now).is_ok() {
            sent += 1;
        }
    }
    // All of it is used, by some questions a second.
    assert!((950..=1_010).contains(&sent), "{sent}");
    assert!(asked <= 60, "{asked}");
}

#[test]
fn a_keeper_that_fails_or_says_nothing_costs_a_share_and_no_time() {
    let limits = limits(6, 20.0, 30);
    let mut leased = leased(limits, 3);
    assert_eq!(leased.due(0, 1, at(0)), Some(Duration::ZERO));
    assert_eq!(leased.admit(0, at(0)), Err(Some(SLOW)));
    leased.ask(0, 1, Duration::ZERO, at(0));
    assert_eq!(leased.due(0, 1, at(0)), None);
    assert_eq!(leased.admit(0, at(150)), Err(Some(ms(50))));
    // Slow: its share is two at a time.
    assert_eq!(leased.admit(0, at(200)), Ok(()));
    assert_eq!(leased.admit(2, at(200)), Err(None));
    // The answer comes all the same.
    leased.granted(&Grant { places: 5, at_once: 9, ..Grant::default() }, at(300));
    assert_eq!(leased.admit(4, at(300)), Ok(()));
    assert_eq!(leased.admit(5, at(300)), Err(Some(SLOW)));

    leased.ask(1, 1, Duration::ZERO, at(600));
    leased.failed(at(610));
    for _ in 0..9 {
        assert_eq!(leased.admit(1, at(1_000)), Ok(()));
    }
    // Of ten, one was used a second ago, and is there again.
    assert_eq!(leased.admit(1, at(1_000)), Ok(()));
    assert_eq!(leased.admit(1, at(1_000)), Err(Some(ms(150))));
    assert_eq!(leased.due(1, 1, at(1_000)), Some(AWAY - ms(390)));
    // While it is tried again, nobody waits.
    assert_eq!(leased.due(1, 1, at(2_610)), Some(Duration::ZERO));
    leased.ask(1, 1, Duration::ZERO, at(2_610));
    assert_eq!(leased.admit(1, at(2_610)), Ok(()));
}

#[test]
fn what_is_lent_is_prolonged_while_it_is_in_use_and_not_longer() {
    let limits = limits(6, 30.0, 30);
    let mut leased = leased(limits, 3);
    leased.ask(0, 1, Duration::ZERO, at(0));
    leased.granted(&Grant { places: 1, at_once: 1, ..Grant::default() }, at(1));
    assert_eq!(leased.admit(0, at(1)), Ok(()));
    assert_eq!(leased.due(1, 0, at(1)), Some(ms(499)));
    assert_eq!(leased.due(0, 0, at(1)), None);
    let ask = leased.ask(1, 0, Duration::ZERO, at(500));
    assert_eq!((ask.busy, ask.places, ask.requests), (1, 1, 2));
    assert!(!leased.is_spent(at(999)));
    leased.failed(at(500));
    assert!(leased.is_spent(at(1_000)));
    // It is told of a pause at once, by one who needs nothing.
    let mut leased = self::leased(limits, 3);
    leased.has_news = true;
    assert_eq!(leased.due(0, 0, at(0)), Some(Duration::ZERO));
}

#[test]
fn one_that_has_just_come_to_keep_it_gives_no_more_than_shares_at_first() {
    let all = limits(6, 60.0, 60);
    let mut kept = Kept::new(all, Some((all.share(3), at(3_000))), at(0));
    for in_flight in 0..2 {
        assert_eq!(kept.admit(in_flight, at(0)), Ok(()));
    }
    assert_eq!(kept.admit(2, at(0)), Err(Some(ms(3_000))));
    kept.nobody_waits();
    assert_eq!(kept.lend("a", &wants(0, 6), 2, at(0)).places, 2);
    assert_eq!(kept.lend("b", &wants(0, 6), 2, at(0)).places, 2);
    assert_eq!(kept.lend("c", &wants(0, 6), 2, at(0)).places, 0);
    assert_eq!(kept.lend("a", &wants(0, 6), 2, at(3_000)).places, 4);
}

/// A generator of the shape x' = ax + c, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

struct Borrower {
    leased: Leased,
    in_flight: Vec<SystemTime>,
    waiting: usize,
    /// A question or an answer on its way.
    question: Option<(SystemTime, Ask)>,
    answer: Option<(SystemTime, Grant)>,
    is_dead_until: SystemTime,
}

/// A keeper that answers in time is never past its limits, whoever dies, and whatever is lost on the way to it.
#[test]
fn the_pool_is_within_its_limits_while_peers_die_with_what_they_borrowed() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let number = |dice: &mut Dice, end: u64| u32::try_from(1 + dice.below(end)).unwrap();
        let (concurrent, burst) = (number(&mut dice, 9), number(&mut dice, 20));
        let limits = limits(concurrent, f64::from(number(&mut dice, 200)), burst);
        let Rate { interval, .. } = limits.rate.unwrap();
        let mut kept = Kept::new(limits, None, at(0));
        let fresh = |now| Borrower {
            leased: leased(limits, 4),
            in_flight: Vec::new(),
            waiting: 0,
            question: None,
            answer: None,
            is_dead_until: now,
        };
        let mut borrowers: Vec<Borrower> = (0..3).map(|_| fresh(at(0))).collect();
        let mut own: Vec<SystemTime> = Vec::new();
        let mut sent: Vec<SystemTime> = Vec::new();
        let mut by_borrowers = 0;
        for time in 0..8_000 {
            let now = at(time);
            own.retain(|end| *end > now);
            for (number, borrower) in borrowers.iter_mut().enumerate() {
                if borrower.is_dead_until > now {
                    continue;
                }
                if dice.below(3_000) == 0 {
                    // It dies with all that it has; what comes back knows nothing.
                    *borrower = fresh(now + ms(200 + dice.below(500)));
                    continue;
                }
                borrower.in_flight.retain(|end| *end > now);
                let busy = u32::try_from(borrower.in_flight.len()).unwrap();
                borrower.waiting = (borrower.waiting + usize::from(dice.below(6) == 0)).min(8);
                if borrower.leased.due(busy, borrower.waiting, now) == Some(Duration::ZERO) {
                    let ask = borrower.leased.ask(busy, borrower.waiting, Duration::ZERO, now);
                    borrower.question = Some((now + ms(dice.below(60)), ask));
                }
                if let Some((_, ask)) = borrower.question.take_if(|(comes, _)| *comes <= now) {
                    let own = u32::try_from(own.len()).unwrap();
                    let grant = kept.lend(&number.to_string(), &ask, own, now);
                    borrower.answer = Some((now + ms(dice.below(60)), grant));
                }
                if let Some((_, grant)) = borrower.answer.take_if(|(comes, _)| *comes <= now) {
                    borrower.leased.granted(&grant, now);
                }
                while borrower.waiting > 0 {
                    let busy = u32::try_from(borrower.in_flight.len()).unwrap();
                    if borrower.leased.admit(busy, now).is_err() {
                        break;
                    }
                    borrower.waiting -= 1;
                    by_borrowers += 1;
                    sent.push(now);
                    // Also for longer than a lease lasts.
                    let longest = if dice.below(9) == 0 { 3_000 } else { 100 };
                    borrower.in_flight.push(now + ms(dice.below(longest)));
                }
            }
            if dice.below(20) == 0 {
                let in_flight = u32::try_from(own.len()).unwrap();
                match kept.admit(in_flight, now) {
                    Ok(()) => {
                        sent.push(now);
                        own.push(now + ms(dice.below(100)));
                    }
                    Err(_) if dice.below(2) == 0 => kept.nobody_waits(),
                    Err(_) => {}
                }
            }
            let busy = own.len() + borrowers.iter().map(|borrower| borrower.in_flight.len()).sum::<usize>();
            assert!(busy <= concurrent as usize, "seed {seed} at {time}: {busy} of {concurrent}");
        }
        for (from, first) in sent.iter().enumerate() {
            for (to, last) in sent.iter().enumerate().skip(from) {
                let span = last.duration_since(*first).unwrap() + LEASE;
                let allowed = u128::from(burst) + span.as_nanos() / interval.as_nanos() + 1;
                assert!((to - from + 1) as u128 <= allowed, "seed {seed}: {from} to {to} in {span:?}");
            }
        }
        assert!(by_borrowers > 20, "seed {seed}: {by_borrowers}");
    }
}
