//! Runs scripts, and reads what they return.

use std::sync::Arc;

use super::connection::Connection;
use super::failure::Failure;
use super::resp::{Allowance, Reply};
use super::scripts::{self, Lua, READ};
use crate::base::memory_limit::{Hold, Ledger};
use crate::message::purge::Purge;

/// How long the purges of a shard may be together in bytes, as they are sent: most have a URL of at most 8 KiB.
const PURGES_LENGTH: u64 = 10 << 20;

/// What does not limit the purges that are read.
pub(super) const NO_LIMIT: u64 = 1 << 53;

/// What a server returns of a key.
pub(super) struct Answer {
    /// The last number.
    pub(super) sequence: u64,
    /// The number below which everything is void.
    pub(super) floor: u64,
    pub(super) raw: Vec<u8>,
    /// Purges with their numbers.
    pub(super) purges: Vec<(Vec<u8>, u64)>,
    /// Counts the memory of the purges.
    pub(super) hold: Option<Hold>,
}

/// Reads a value of at most `most` bytes. The process takes no more memory for it, whoever wrote it and whatever the server
/// sends.
pub(super) fn read(
    connection: &mut Connection,
    keys: &[&str],
    since: u64,
    most: u64,
    ledger: Option<&Arc<Ledger>>,
) -> Result<Answer, Failure> {
    let (since, limit) = (since.to_string(), most.min(NO_LIMIT).to_string());
    let arguments = [since.as_bytes(), limit.as_bytes()];
    let mut allowance = Allowance::of(most.saturating_add(PURGES_LENGTH)).counted(ledger);
    let reply = scripts::run(connection, &READ, keys, &arguments, &mut allowance)?;
    let [sequence, floor, raw, purges] = <[Reply; 4]>::try_from(reply.into_array()?)
        .map_err(|_| Failure::Invalid("does not have four parts"))?;
    let mut members = purges.into_array()?.into_iter();
    let mut purges = Vec::new();
    while let Some(member) = members.next() {
        let number = members.next().ok_or(Failure::Invalid("has a purge without a number"))?;
        purges.push((member.into_text()?, number.into_number()?));
    }
    let (sequence, floor) = (sequence.into_number()?, floor.into_number()?);
    let length: usize = purges.iter().map(|(member, _)| member.len() + size_of::<(u64, Purge)>()).sum();
    Ok(Answer { sequence, floor, raw: raw.into_text()?, purges, hold: allowance.keep(length as u64) })
}

/// Runs a script that returns a number.
pub(super) fn number(
    connection: &mut Connection,
    lua: &Lua,
    keys: &[&str],
    arguments: &[&[u8]],
) -> Result<u64, Failure> {
    scripts::run(connection, lua, keys, arguments, &mut Allowance::of(1024))?.into_number()
}
