//! The state that the threads of a store in Redis share, and the operations in Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::answer::{Answer, NO_LIMIT, number, read};
use super::circuit::Circuit;
use super::connection::Connection;
use super::connections::{Connections, SHARDS};
use super::failure::Failure;
use super::lookup_cost::Lookup;
use super::scripts::{PURGE, REMOVE, WRITE};
use super::value::{self, Value};
use super::waiting::Waiting;
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::message::digest::Digest;
use crate::message::purge::{Purge, Purged};
use crate::store::lane::Lane;
use crate::store::record::purge::{read_purge, write_purge};
use crate::store::trouble::Trouble;
use crate::store::{Key, StoreError, StoreKey, url_of};
use bytes::Bytes;

/// How many purges are listed for each shard.
const MAX_PURGES: usize = 1024;

/// How long a value is kept at most.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a fetch may take whose response is written.
pub(super) const MAX_FETCH: Duration = Duration::from_secs(60 * 60);

/// For how long a removal is remembered.
const REMOVAL: Duration = Duration::from_secs(2 * MAX_FETCH.as_secs());

/// How long an invalidation may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Core {
    pub(super) connections: Connections,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) max_value: u64,
    /// Keeps the entries of credentials apart. Without it they are neither written nor looked up.
    pub(super) key: Option<StoreKey>,
    pub(super) circuit: Circuit,
    /// Threads for lookups, invalidations and probes.
    pub(super) lane: Arc<Lane>,
    /// Threads for writes.
    pub(super) writes: Arc<Lane>,
    pub(super) waiting: Waiting,
    /// The last invalidation that is known of each shard.
    positions: [AtomicU64; SHARDS],
    /// The shard of the last failure, which the next probe asks.
    failed_shard: AtomicU64,
    trouble: Trouble,
    pub(super) max_staleness: OnceLock<Duration>,
    pub(super) ledger: OnceLock<Arc<Ledger>>,
    pub(super) skipped: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) answers: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// The names of a key in Redis.
pub(super) struct Names {
    pub(super) shard: usize,
    state: String,
    value: String,
    /// The number of the last removal of the URL, which is also one of the responses for single credentials.
    mark: String,
    /// Whether the key is for one credential.
    is_partitioned: bool,
}

impl Names {
    /// The names that a script gets: that of the mark only if it has a use.
    fn keys(&self, with_mark: bool) -> Vec<&str> {
        let all = [&*self.state, &*self.value, &*self.mark];
        all[..if with_mark { 3 } else { 2 }].to_vec()
    }
}

/// The content of a key in Redis at one moment.
pub(super) struct Read {
    /// The last invalidation in the shard.
    pub(super) sequence: u64,
    /// The value before it was decoded. Its head identifies it.
    pub(super) raw: Bytes,
    pub(super) value: Value,
    /// The purges that may cover the value or the fetch.
    pub(super) purges: Vec<(u64, Purge)>,
    /// Counts the memory of the purges.
    _hold: Option<Hold>,
    /// Everything with a smaller number is void.
    pub(super) floor: u64,
}

impl Core {
    pub(super) fn new(
        connections: Connections,
        prefix: String,
        timeout: Duration,
        max_value: u64,
        key: Option<StoreKey>,
    ) -> Self {
        Self {
            connections,
            prefix,
            timeout,
            max_value,
            key,
            circuit: Circuit::default(),
            lane: Arc::default(),
            writes: Arc::default(),
            waiting: Waiting::default(),
            positions: [const { AtomicU64::new(0) }; SHARDS],
            failed_shard: AtomicU64::new(0),
            trouble: Trouble::of("the store in Redis"),
            max_staleness: OnceLock::new(),
            ledger: OnceLock::new(),
            skipped: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// How long an operation may take, connecting included.
    pub(super) fn longest(&self) -> Duration {
        self.timeout * 2
    }

    /// Whether Redis is asked at the moment. Starts a probe if one is due. Never waits.
    pub(super) fn is_up(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        if self.circuit.is_closed(now, self.longest()) {
            return true;
        }
        if self.circuit.begin_probe(now) {
            let core = Arc::clone(self);
            if self.lane.try_submit(Box::new(move || core.probe())).is_err() {
                self.circuit.fail_probe(now);
            }
        }
        false
    }

    /// Whether responses are looked up at the moment. Never waits.
    pub(super) fn may_look_up(self: &Arc<Self>) -> bool {
        self.is_up() && self.circuit.are_lookups_worth_it(Instant::now())
    }

    /// Records a lookup. If lookups take longer than half of the timeout, and longer than their hits save, they pause.
    pub(super) fn looked_up(&self, lookup: Lookup) {
        if let Some(mean) = self.circuit.looked_up(lookup, self.timeout / 2) {
            let milliseconds = milliseconds(mean);
            let text = format!("lookups take {milliseconds} ms, longer than their hits save; they pause");
            self.trouble.report("be used", &text);
        }
    }

    /// Asks Redis for something, and sends the invalidations that it has not received.
    fn probe(&self) {
        self.connections.begin_anew();
        let names =
            self.names_in(usize::try_from(self.failed_shard.load(Ordering::Relaxed)).unwrap_or(0), "", "");
        let mut result = self
            .run(names.shard, |connection| read(connection, &names.keys(false), NO_LIMIT, 0, None))
            .map(drop)
            .or_else(|error| if error.is_of_working_server() { Ok(()) } else { Err(error) });
        while result.is_ok() {
            let owed = self.circuit.close_or_take_owed();
            if owed.is_empty() {
                return;
            }
            for (at, purge) in owed.iter().enumerate() {
                if let Err(error) = self.send(purge) {
                    self.circuit.owe(owed[at..].iter().cloned(), Instant::now());
                    result = Err(error);
                    break;
                }
            }
        }
        if let Err(error) = result {
            self.report(&error);
        }
        self.circuit.fail_probe(Instant::now());
    }

    /// Runs an operation. If Redis does not answer in time, nothing is asked for a while.
    fn ask<T>(
        &self,
        names: &Names,
        operation: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let failed = || StoreError::new("Redis does not answer");
        let running = self.circuit.begin(Instant::now()).ok_or_else(failed)?;
        match self.run(names.shard, operation) {
            Ok(answer) => {
                running.succeed();
                Ok(answer)
            }
            Err(error) if error.is_of_working_server() => {
                running.succeed();
                Err(StoreError::new("Redis cannot run an operation now").with_source(error))
            }
            Err(error) => {
                self.failed_shard.store(names.shard as u64, Ordering::Relaxed);
                running.fail(Instant::now());
                self.report(&error);
                Err(failed().with_source(error))
            }
        }
    }

    /// Runs an operation, whatever the state of the circuit, and counts it.
    fn run<T>(
        &self,
        shard: usize,
        operation: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = self.connections.run(shard, operation);
        let count = if result.is_ok() { &self.answers } else { &self.errors };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn report(&self, error: &Failure) {
        self.trouble.report("be used", error);
    }

    /// All keys of a URL are in one shard.
    pub(super) fn names(&self, key: &str) -> Names {
        let url = url_of(key);
        let (of_url, shard) = (hex(url), shard_of(url));
        let is_partitioned = url.len() < key.len();
        let digest = if is_partitioned { hex(key) } else { of_url.clone() };
        Names { is_partitioned, ..self.names_in(shard, &digest, &of_url) }
    }

    fn names_in(&self, shard: usize, digest: &str, of_url: &str) -> Names {
        let tag = format!("{{{}:{shard}}}", self.prefix);
        let (state, value) = (format!("{tag}:purges"), format!("{tag}:{digest}"));
        Names { shard, state, value, mark: format!("{tag}:{of_url}:removed"), is_partitioned: false }
    }

    /// Whether the text of a key may have a value: one for a credential only has one if there is a secret key.
    pub(super) fn takes(&self, key: &str) -> bool {
        self.key.is_some() || url_of(key).len() == key.len()
    }

    pub(super) fn position(&self, key: &str) -> Option<u64> {
        Some(self.positions[shard_of(url_of(key))].load(Ordering::Relaxed)).filter(|position| *position > 0)
    }

    /// Reads the value of a key and the purges since this number, or since the value was written.
    pub(super) fn read(&self, key: &str, names: &Names, since: Option<u64>) -> Result<Read, StoreError> {
        let (keys, since) = (names.keys(names.is_partitioned), since.unwrap_or(NO_LIMIT));
        let Answer { sequence, floor, mut raw, purges, hold } =
            self.ask(names, |connection| read(connection, &keys, since, self.max_value, self.ledger.get()))?;
        if raw.len() as u64 > self.max_value {
            raw.truncate(value::HEAD);
        }
        self.positions[names.shard].store(sequence, Ordering::Relaxed);
        let raw = match self.ledger.get() {
            Some(ledger) => ledger.share(MemoryUse::Bodies, raw.into_boxed_slice()),
            None => raw.into(),
        };
        let value = value::decode(key, &raw).unwrap_or_else(|error| {
            self.trouble.report("read a value", &error);
            self.corrupt.fetch_add(1, Ordering::Relaxed);
            Value::Missing
        });
        let purges = purges.into_iter().filter_map(|(member, number)| {
            let purge = member.strip_prefix(b"t")?;
            let at = UNIX_EPOCH + Duration::from_micros(number);
            // An unreadable purge is one of a later version.
            Some((number, read_purge(purge).unwrap_or_else(Purge::all).at(at)))
        });
        Ok(Read { sequence, raw, value, purges: purges.collect(), _hold: hold, floor })
    }

    /// Writes a value unless something was invalidated, or another value was written, since it was read.
    pub(super) fn write(
        &self,
        names: &Names,
        read: &Read,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let head = &read.raw[..read.raw.len().min(value::HEAD)];
        let (sequence, lifetime) = (read.sequence.to_string(), milliseconds(lifetime).to_string());
        let [of_mark, of_removal] = [MAX_LIFETIME, REMOVAL].map(|time| milliseconds(time).to_string());
        let (of_mark, of_removal) = (of_mark.as_bytes(), of_removal.as_bytes());
        let arguments = [sequence.as_bytes(), head, value, lifetime.as_bytes(), of_mark, of_removal];
        self.ask(names, |connection| {
            number(connection, &WRITE, &names.keys(names.is_partitioned), &arguments)
        })
        .map(|written| written != 0)
    }

    /// Sends an invalidation; waits until Redis has it. If that fails, it is owed: nothing is read before Redis has it.
    pub(super) fn invalidate(self: &Arc<Self>, purge: &Purge) -> Purged {
        let owe = |error: &str| {
            self.trouble.report("invalidate", &error);
            self.circuit.owe([purge.clone()], Instant::now());
            Purged::default()
        };
        if !self.is_up() {
            return owe("it does not answer");
        }
        let (done, wait) = std::sync::mpsc::channel();
        let (core, sent) = (Arc::clone(self), purge.clone());
        let work = move || {
            // A caller that has left counts the invalidation as failed.
            let _ = done.send(core.send(&sent).inspect_err(|error| core.report(error)));
        };
        if self.lane.try_submit(Box::new(work)).is_err() {
            return owe("too many operations wait");
        }
        match wait.recv_timeout(PATIENCE.max(self.longest())) {
            Ok(Ok(count)) => Purged::new(count, 0),
            Ok(Err(_)) => owe("it failed"),
            Err(_) => owe("it takes too long"),
        }
    }

    /// Sends an invalidation, whatever the state of the circuit. Returns the number of keys that were removed, if known.
    fn send(&self, purge: &Purge) -> Result<u64, Failure> {
        let purges = |names: &Names, member: &[u8]| {
            let (most, time) = (MAX_PURGES.to_string(), micros(MAX_LIFETIME + 2 * MAX_FETCH).to_string());
            let arguments = [member, most.as_bytes(), time.as_bytes()];
            self.run(names.shard, |connection| number(connection, &PURGE, &[&names.state], &arguments))
        };
        let mut member = Vec::new();
        if !purge.is_of_all() || purge.is_soft() {
            member.push(b't');
            write_purge(&mut member, purge);
        }
        match purge.single_url() {
            Some(url) if !purge.is_soft() => {
                let names = self.names(url);
                let lifetime = milliseconds(REMOVAL).to_string();
                let removed = self.run(names.shard, |connection| {
                    number(connection, &REMOVE, &names.keys(!names.is_partitioned), &[lifetime.as_bytes()])
                });
                match removed {
                    // The list of purges is one key, which is at one of the nodes.
                    Err(error) if error.is_of_moving_keys() => {
                        let mut member = vec![b't'];
                        write_purge(&mut member, &Purge::of_key(url_of(url)));
                        purges(&names, &member).map(|_| 0)
                    }
                    removed => removed,
                }
            }
            Some(url) => purges(&self.names(url), &member).map(|_| 0),
            None => (0..SHARDS)
                .try_for_each(|shard| purges(&self.names_in(shard, "", ""), &member).map(drop))
                .map(|()| 0),
        }
    }

    /// Removes what is stored under a key in the background, because it is outdated.
    pub(super) fn discard(self: &Arc<Self>, key: &Key) {
        let (core, purge) = (Arc::clone(self), Purge::of_key(key.as_str()));
        if self.is_up() {
            let work = move || drop(core.send(&purge));
            // The outdated value expires anyway.
            drop(self.writes.try_submit(Box::new(work)));
        }
    }
}

fn hex(text: &str) -> String {
    Digest::of(text.as_bytes()).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shard_of(url: &str) -> usize {
    usize::from(Digest::of(url.as_bytes()).as_bytes()[0]) % SHARDS
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
