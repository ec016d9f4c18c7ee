//! Compares this cache's decisions with those of `http-cache-semantics`, an independent implementation of the same RFCs.
//!
//! Both judge the same random exchanges, which are written in a form that both can parse. The ledger explains each
//! difference: an entry rewrites an exchange into one for which the library gives the right result for the original. With
//! all entries applied, both must agree to the second. The test fails if no entry explains a difference, if an entry is
//! wrong, and if an entry explains nothing.
//!
//! | file | content |
//! |---|---|
//! | `exchange` | a random exchange, and how both sides judge it |
//! | `ledger` | each kind of difference, which side is right, and why |

mod exchange;
mod ledger;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use self::exchange::exchange;
use self::ledger::{Difference, LEDGER, Verdict};

const CASES: u32 = 20_000;
const SEED: u64 = 9111;

#[test]
fn each_difference_from_the_library_is_in_the_ledger() {
    let seed = std::env::var("FORWARDCACHE_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let explained = RefCell::new(vec![0_u32; LEDGER.len()]);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&exchange(), |exchange| {
        let (ours, theirs) = (exchange.ours().answer, exchange.theirs());
        let amended = exchange.amended_except(None).theirs();
        prop_assert_eq!(&ours, &amended, "no entry explains this; the library returns {:?}", theirs);
        if ours == theirs {
            return Ok(());
        }
        let applied: Vec<usize> = (0..LEDGER.len())
            .filter(|entry| {
                let mut changed = exchange.clone();
                (LEDGER[*entry].amend)(&exchange, &mut changed);
                changed != exchange
            })
            .collect();
        // An entry is needed if the others together do not explain the difference. If two entries do, neither counts.
        let needed = |entry: &usize| exchange.amended_except(Some(*entry)).theirs() != ours;
        for entry in applied.iter().copied().filter(needed) {
            explained.borrow_mut()[entry] += 1;
        }
        let is_among = |verdict| applied.iter().any(|entry| LEDGER[*entry].verdict == verdict);
        if ours.is_bolder_than(&theirs) {
            let in_numbers = ours.served == theirs.served && is_among(Verdict::NoEffect);
            prop_assert!(
                in_numbers || is_among(Verdict::LibraryTooStrict),
                "this cache is bolder than the library, which is right"
            );
        }
        if theirs.is_bolder_than(&ours) {
            let allowed = is_among(Verdict::LibraryTooBold) || is_among(Verdict::StricterByChoice);
            prop_assert!(allowed, "this cache is stricter than the library, which is right");
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("replay with FORWARDCACHE_SEED={seed}: {failure}");
    }
    for (difference, count) in LEDGER.iter().zip(explained.take()) {
        let Difference { name, verdict, clause, .. } = difference;
        println!("{count:>6} {verdict:?}: {name} ({clause})");
        assert!(count > 0 || seed != SEED, "the entry explains no difference: {name}");
    }
}
