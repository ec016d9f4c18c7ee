//! Faults injected into a pool under load.
//!
//! | module | subject |
//! |---|---|
//! | `versioned_origin` | an origin whose bodies are derived from the URL, and the check of a response |
//! | `load` | threads that send requests while a fault is injected, and their results |
//! | `table` | the results of each scenario and their limits |
//! | `killed_peers` | peers that are killed or stopped |
//! | `partitions` | peers that cannot reach each other, or have different peer lists |
//! | `faulty_peer` | a peer that resets, truncates, trickles or sends invalid HTTP |
//! | `environment` | origin outages, invalid peer lists, clock changes, membership changes |
//! | `changing_origin` | the origin of the random run, and the check of each response |
//! | `random_faults` | random faults for a limited time, and the invariants that must hold |

mod changing_origin;
mod environment;
mod faulty_peer;
mod killed_peers;
mod load;
mod partitions;
mod random_faults;
mod table;
mod versioned_origin;

use self::table::Table;

#[test]
fn pool_serves_requests_despite_faults() {
    let mut table = Table::default();
    killed_peers::rows(&mut table);
    partitions::rows(&mut table);
    faulty_peer::rows(&mut table);
    environment::rows(&mut table);
    // Printed even if every check passes.
    println!("{table}");
    table.check();
}
