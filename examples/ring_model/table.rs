//! The results as a Markdown table.

use std::fmt::Write as _;

use crate::model::{Counted, Model, Moved, NEAR, SLACK};

pub(crate) fn text(model: &Model, counted: &[Counted]) -> String {
    let mut text = format!(
        "{} peers, {} keys, {} requests, zipf {}, seed {}\n\n",
        model.peers, model.keys, model.requests, model.exponent, model.seed
    );
    text.push_str(
        "| ring | busiest by keys | least | moved on join x N | on leave x N | fetched again on join | on leave |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for ring in counted {
        let times = |moved: Moved, peers: u32| moved.keys as f64 / model.keys as f64 * f64::from(peers);
        let least = ring.shares.last().copied().unwrap_or_default();
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "| {} | {:.3} | {least:.3} | {:.2} | {:.2} | {} | {} |",
            ring.name,
            ring.shares.first().copied().unwrap_or_default(),
            times(ring.joined, model.peers + 1),
            times(ring.left, model.peers),
            ring.joined.stored,
            ring.left.stored,
        );
    }
    let _ = writeln!(
        text,
        "\nBounded load: at most {} of the mean under way at a peer. Near cache: the {NEAR} most popular keys.\n\n\
         | ring | bounded load | near cache | busiest by requests | at peers | passed on | origin fetches |\n\
         |---|---|---|---:|---:|---:|---:|",
        1.0 + SLACK
    );
    for ring in counted {
        for loaded in &ring.loads {
            let load = &loaded.load;
            let part = |part: u64, whole: u64| part as f64 * 100.0 / (whole as f64).max(1.0);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {:.1} % | {:.1} % | {} |",
                ring.name,
                on(loaded.is_bounded),
                on(loaded.is_near),
                load.busiest(),
                part(load.at_peers(), model.requests),
                part(load.passed_on(), load.at_peers()),
                load.origin_fetches(),
            );
        }
    }
    text
}

pub(crate) fn on(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
