//! The text form of a purge's result: one line for each peer, with words separated by single spaces.
//!
//! ```text
//! <peer> responses <count> bytes <count>
//! <peer> responses unknown bytes unknown
//! <peer> responses <count> bytes <count> other-pool
//! <peer> failed <kind> <reason, in words>
//! ```
//!
//! `other-pool` follows if the peer knows a different pool than the sender of the purge.
//!
//! Lines are easier to use than JSON in a shell, and need no parser of their own. The status tells whether each peer
//! purged: 200 if so, otherwise 502.

use std::fmt;

use http::{Response, StatusCode};

use super::purged::PoolPurged;
use crate::message::body::Body;
use crate::message::purge::Purged;
use crate::pool::protocol::{TEXT, answer};

impl fmt::Display for PoolPurged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for peer in &self.peers {
            match &peer.result {
                Ok(purged) => {
                    let other = if peer.knows_other_pool { " other-pool" } else { "" };
                    writeln!(f, "{} {purged}{other}", peer.peer)?;
                }
                Err(error) => writeln!(f, "{} failed {} {}", peer.peer, error.kind(), error.reason())?,
            }
        }
        Ok(())
    }
}

/// Creates the response to a purge request.
pub(crate) fn response(purged: &PoolPurged) -> Response<Body> {
    let mut response = answer(TEXT, purged.to_string());
    if purged.failed().next().is_some() {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response
}

/// Parses the report of a single peer about its own store: one line.
pub(crate) fn parse_own_report(text: &str) -> Option<Purged> {
    let line = text.strip_suffix('\n')?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [_, "responses", "unknown", "bytes", "unknown"] => Some(Purged::uncounted()),
        [_, "responses", responses, "bytes", bytes] => Some(Purged::new(count(responses)?, count(bytes)?)),
        _ => None,
    }
}

fn count(word: &str) -> Option<u64> {
    // `parse` would also accept a sign.
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests;
