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

use super::PoolPurged;
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
                Err(error) => writeln!(f, "{} failed {} {}", peer.peer, error.kind(), error.message())?,
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
pub(crate) fn own_report(text: &str) -> Option<Purged> {
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
mod tests {
    use super::*;
    use crate::base::error::{Error, ErrorKind};
    use crate::pool::peer_url::PeerUrl;
    use crate::pool::purge::PeerPurged;

    fn pool(results: Vec<Result<Purged, Error>>) -> PoolPurged {
        let peer = |number: usize| PeerUrl::parse(&format!("http://p:{}", number + 1)).unwrap();
        let peers = results.into_iter().enumerate();
        PoolPurged::new(peers.map(|(number, result)| PeerPurged::new(peer(number), result)).collect())
    }

    #[test]
    fn the_response_has_a_line_for_each_peer_and_502_if_one_failed() {
        let answer = response(&pool(vec![Ok(Purged::new(2, 30)), Ok(Purged::uncounted())]));
        assert!(answer.status() == StatusCode::OK && answer.headers()["cache-control"] == "no-store");
        let text = answer.into_body().into_text().unwrap();
        assert_eq!(text, "http://p:1 responses 2 bytes 30\nhttp://p:2 responses unknown bytes unknown\n");
        let mut purged = pool(vec![Ok(Purged::new(2, 30)), Ok(Purged::uncounted())]);
        purged.peers.iter_mut().for_each(|peer| peer.knows_other_pool = true);
        let text = "http://p:1 responses 2 bytes 30 other-pool\nhttp://p:2 responses unknown bytes unknown other-pool\n";
        assert_eq!(purged.to_string(), text);
        let down = Error::new(ErrorKind::Unreachable, "connection refused").with_peer("http://p:2");
        let answer = response(&pool(vec![Ok(Purged::default()), Err(down)]));
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        let text = answer.into_body().into_text().unwrap();
        assert_eq!(
            text,
            "http://p:1 responses 0 bytes 0\nhttp://p:2 failed unreachable connection refused\n"
        );
    }

    #[test]
    fn a_peers_own_report_can_be_parsed() {
        for purged in [Purged::new(0, 0), Purged::new(3, u64::MAX), Purged::uncounted()] {
            assert_eq!(own_report(&pool(vec![Ok(purged)]).to_string()), Some(purged));
        }
        for text in [
            "",
            "\n",
            "http://p:1 responses 1 bytes 2",
            "http://p:1 responses 1 bytes 2\nhttp://p:2 responses 1 bytes 2\n",
            "http://p:1 responses +1 bytes 2\n",
            "http://p:1 responses 1 bytes\n",
            "http://p:1 responses 1 bytes 99999999999999999999\n",
            "http://p:1 failed unreachable refused\n",
            "<html>\n",
        ] {
            assert_eq!(own_report(text), None, "{text:?}");
        }
    }
}
