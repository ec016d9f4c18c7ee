//!
//! | file | what it holds |
//! |---|---|
//! | `world` | an origin whose bodies follow from the URL, and what is right of an answer |
//! | `load` | threads that ask while something is done, and what they saw |
//! | `table` | the rows, and the bounds that hold for them |
//! | `gone` | peers that are killed or stopped |
//! | `between` | peers that do not see each other, or know different pools |
//! | `nonsense` | a peer that resets, cuts, trickles, or talks nonsense |
//! | `around` | an origin that is down, lists that are none, a clock that is set, a pool that changes |
//! | `chance` | the world of a random run, and what is right of each answer |
//! | `random` | random faults for a bounded time, with what must hold whatever they are |

mod around;
mod between;
mod chance;
mod gone;
mod load;
mod nonsense;
mod random;
mod table;
mod world;

use self::table::Table;

#[test]
fn what_a_client_sees_of_a_pool_in_which_something_breaks() {
    let mut table = Table::default();
    gone::rows(&mut table);
    between::rows(&mut table);
    nonsense::rows(&mut table);
    around::rows(&mut table);
    // The table is for people, also where all is well.
    println!("{table}");
    table.check();
}
