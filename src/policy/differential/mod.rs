//! The rules against http-cache-semantics, an independent reading of the same RFCs.
//!
//! Both judge the same random exchanges, spelled so plainly that both can read them. Where they differ, the
//! ledger has to say why: each of its entries rewrites an exchange into one about which the library says
//! what is right for the original. With all that apply, both must agree to the second. So a difference that
//! no entry explains fails, a mistake in an entry fails, and so does an entry that explains nothing.
//!
//! | file | what it holds |
//! |---|---|
//! | `exchange` | a random exchange, and how each side judges it |
//! | `ledger` | every kind of difference, with who is right and why |

mod exchange;
mod ledger;

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use self::exchange::exchange;
use self::ledger::{Difference, LEDGER, Verdict};

const CASES: u32 = 20_000;
const SEED: u64 = 9111;

#[test]
fn whatever_differs_from_the_library_is_in_the_ledger() {
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
        let amended = exchange.amended_but(None).theirs();
        prop_assert_eq!(&ours, &amended, "not explained; the library says {:?}", theirs);
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
        // An entry explains a difference where all the others together do not. Where two do, either could.
        let needed = |entry: &usize| exchange.amended_but(Some(*entry)).theirs() != ours;
        for entry in applied.iter().copied().filter(needed) {
            explained.borrow_mut()[entry] += 1;
        }
        let is_among = |verdict| applied.iter().any(|entry| LEDGER[*entry].verdict == verdict);
        if ours.is_bolder_than(&theirs) {
            let in_numbers = ours.served == theirs.served && is_among(Verdict::NoEffect);
            prop_assert!(
                in_numbers || is_among(Verdict::LibraryTooStrict),
                "bolder than the library, which is right"
            );
        }
        if theirs.is_bolder_than(&ours) {
            let allowed = is_among(Verdict::LibraryTooBold) || is_among(Verdict::StricterByChoice);
            prop_assert!(allowed, "stricter than the library, which is right");
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("replay with FORWARDCACHE_SEED={seed}: {failure}");
    }
    for (difference, count) in LEDGER.iter().zip(explained.take()) {
        let Difference { name, verdict, clause, .. } = difference;
        println!("{count:>6} {verdict:?}: {name} ({clause})");
        assert!(count > 0 || seed != SEED, "explains nothing: {name}");
    }
}

/// What both are asked.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    stored: bool,
    /// Where it is stored.
    lifetime: Duration,
    age: Duration,
    /// Whether the later request is answered without asking the origin.
    served: bool,
}

impl Answer {
    fn is_bolder_than(&self, other: &Self) -> bool {
        (self.stored && !other.stored)
            || (self.served && !other.served)
            || (self.stored && other.stored && (self.lifetime > other.lifetime || self.age < other.age))
    }
}
