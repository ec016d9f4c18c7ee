//! The state of a peer as JSON.

use std::fmt::Write as _;

use super::report::{RedisStatus, Report, StoreStatus};
use crate::peer::access_log::rfc_3339;
use crate::peer::traffic::{Amounts, Minute, Order, Subject, TopNames};

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
        let redis = self.redis.as_ref().map_or_else(null, |redis| {
            let RedisStatus { circuit, hits, answers, errors, pending } = redis;
            format!(
                "{{\"circuit\":{},\"hits\":{hits},\"answers\":{answers},\"errors\":{errors},\"pending_bytes\":{pending}}}",
                string(circuit)
            )
        });
        let slow_origins = list(self.slow_origins.iter().map(|slow| {
            let (origin, fetches) = (string(&slow.origin), slow.fetches);
            let (average, slowest) = (slow.average.as_secs_f64(), slow.slowest.as_secs_f64());
            format!(
                "{{\"origin\":{origin},\"fetches\":{fetches},\"average_seconds\":{average:.6},\"slowest_seconds\":{slowest:.6}}}"
            )
        }));
        let hour = |of: fn(&Minute) -> u64| list(self.last_hour.iter().map(|minute| of(minute).to_string()));
        let last_hour = format!(
            "{{\"hits\":{},\"misses\":{}}}",
            hour(|minute| minute.hits),
            hour(|minute| minute.misses)
        );
        let warnings = list(self.warnings.iter().map(|warning| {
            let (time, text) = (rfc_3339(warning.last), string(&warning.text));
            format!("{{\"time\":\"{time}\",\"count\":{},\"text\":{text}}}", warning.count)
        }));
        let hit_ratio = self.counts.hit_ratio().map_or_else(null, |ratio| format!("{ratio:.4}"));
        let limit = self.memory_limit.map_or_else(null, |limit| limit.to_string());
        format!(
            "{{\"version\":{},\"self\":{},\"leaving\":{},\"hit_ratio\":{hit_ratio},\"peers\":{members},\"counts\":{},\
             \"store\":{},\"near_cache\":{near},\"disk\":{},\"redis\":{redis},\"memory\":{},\"memory_limit\":{limit},\"fetches\":{fetches},\"slow_origins\":{slow_origins},\
             \"last_hour\":{last_hour},\"top\":{},\"warnings\":{warnings}}}\n",
            string(env!("CARGO_PKG_VERSION")),
            string(&self.self_url),
            self.is_leaving,
            object(self.counts.iter()),
            store(&self.store),
            self.disk.as_ref().map_or_else(null, store),
            object(self.memory.iter().copied()),
            top(&self.top),
        )
    }
}

/// Returns the lists of each subject, by the amount that orders them.
fn top(names: &TopNames) -> String {
    let subjects = Subject::ALL.map(|subject| {
        let orders = Order::ALL.map(|order| {
            let rows = names.list(subject, order).iter().map(|(name, amounts)| {
                let (name, Amounts { requests, bytes, misses }) = (string(name), amounts);
                format!("{{\"name\":{name},\"requests\":{requests},\"bytes\":{bytes},\"misses\":{misses}}}")
            });
            format!("\"{order}\":{}", list(rows))
        });
        format!("\"{subject}\":{{{}}}", orders.join(","))
    });
    format!("{{\"seconds\":{},{}}}", names.covers.as_secs(), subjects.join(","))
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
