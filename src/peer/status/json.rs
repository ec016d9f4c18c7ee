//! The state of a peer as JSON.

use std::fmt::Write as _;

use super::report::{Report, StoreStatus};

impl Report {
    pub(in crate::peer) fn json(&self) -> String {
        let members = list(self.members.iter().map(|member| {
            let (url, state, share) = (string(&member.url), string(member.state), member.share);
            format!("{{\"url\":{url},\"state\":{state},\"share\":{share:.4}}}")
        }));
        let near = self.near_cache.as_ref().map_or_else(null, |near| {
            format!("{{\"hits\":{},\"bytes\":{},\"capacity\":{}}}", near.hits, near.bytes, near.capacity)
        });
        let fetches =
            list(self.fetches.iter().map(|fetches| {
                let queues =
                    list(fetches.queues.iter().map(|(origin, count)| {
                        format!("{{\"origin\":{},\"queued\":{count}}}", string(origin))
                    }));
                format!(
                    "{{\"running\":{},\"streams\":{},\"threads\":{},\"queued\":{},\"queues\":{queues}}}",
                    fetches.running, fetches.streams, fetches.threads, fetches.queued
                )
            }));
        let slow_origins = list(self.slow_origins.iter().map(|slow| {
            let (origin, fetches) = (string(&slow.origin), slow.fetches);
            let (average, slowest) = (slow.average.as_secs_f64(), slow.slowest.as_secs_f64());
            format!(
                "{{\"origin\":{origin},\"fetches\":{fetches},\"average_seconds\":{average:.6},\"slowest_seconds\":{slowest:.6}}}"
            )
        }));
        let hit_ratio = self.hit_ratio().map_or_else(null, |ratio| format!("{ratio:.4}"));
        let limit = self.memory_limit.map_or_else(null, |limit| limit.to_string());
        format!(
            "{{\"version\":{},\"self\":{},\"leaving\":{},\"hit_ratio\":{hit_ratio},\"peers\":{members},\"counts\":{},\
             \"store\":{},\"near_cache\":{near},\"disk\":{},\"memory\":{},\"memory_limit\":{limit},\"fetches\":{fetches},\"slow_origins\":{slow_origins}}}\n",
            string(env!("CARGO_PKG_VERSION")),
            string(&self.self_url),
            self.is_leaving,
            object(self.counts.iter()),
            store(&self.store),
            self.disk.as_ref().map_or_else(null, store),
            object(self.memory.iter().copied()),
        )
    }
}

fn null() -> String {
    "null".to_owned()
}

fn store(store: &StoreStatus) -> String {
    let StoreStatus { keys, bytes, capacity, evictions } = store;
    format!("{{\"keys\":{keys},\"bytes\":{bytes},\"capacity\":{capacity},\"evictions\":{evictions}}}")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn object(members: impl Iterator<Item = (&'static str, u64)>) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// Returns the text as a JSON string (RFC 8259 section 7).
fn string(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            // Writing to a String cannot fail.
            control if control.is_control() => drop(write!(json, "\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json + "\""
}
