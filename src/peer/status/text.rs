//! The state of a peer as text: one fact on each line.

use std::fmt::Write as _;

use super::report::Report;

impl Report {
    pub(in crate::peer) fn text(&self) -> String {
        let mut text = format!("forwardcache {}\nself {}\n", env!("CARGO_PKG_VERSION"), self.self_url);
        // Writing to a String cannot fail.
        if self.is_leaving {
            text.push_str("state leaving\n");
        }
        for member in self.members.iter().filter(|member| member.state != "self") {
            let _ = writeln!(text, "peer {} {}", member.url, member.state);
        }
        let store = &self.store;
        let _ = writeln!(text, "keys {}\nbytes {} of {}", store.keys, store.bytes, store.capacity);
        let _ = writeln!(text, "evictions {}", store.evictions);
        if let Some(near) = &self.near_cache {
            let _ = writeln!(text, "near hits {}\nnear bytes {} of {}", near.hits, near.bytes, near.capacity);
        }
        if let Some(disk) = &self.disk {
            let _ = writeln!(text, "disk keys {}\ndisk bytes {} of {}", disk.keys, disk.bytes, disk.capacity);
        }
        if let Some(redis) = &self.redis {
            let _ = writeln!(
                text,
                "redis circuit {}\nredis answers {}\nredis errors {}",
                redis.circuit, redis.answers, redis.errors
            );
        }
        for fetches in &self.fetches {
            let _ = writeln!(
                text,
                "fetch threads {} of {}, {} of them streams\nqueued {}",
                fetches.running, fetches.threads, fetches.streams, fetches.queued
            );
            for (origin, count) in &fetches.queues {
                let _ = writeln!(text, "queued {count} for {origin}");
            }
        }
        text + &self.counts.to_string()
    }
}
