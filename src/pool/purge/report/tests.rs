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
    let text =
        "http://p:1 responses 2 bytes 30 other-pool\nhttp://p:2 responses unknown bytes unknown other-pool\n";
    assert_eq!(purged.to_string(), text);
    let down = Error::new(ErrorKind::Unreachable, "connection refused").with_peer("http://p:2");
    let answer = response(&pool(vec![Ok(Purged::default()), Err(down)]));
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let text = answer.into_body().into_text().unwrap();
    assert_eq!(text, "http://p:1 responses 0 bytes 0\nhttp://p:2 failed unreachable connection refused\n");
}

#[test]
fn a_peers_own_report_can_be_parsed() {
    for purged in [Purged::new(0, 0), Purged::new(3, u64::MAX), Purged::uncounted()] {
        assert_eq!(parse_own_report(&pool(vec![Ok(purged)]).to_string()), Some(purged));
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
        assert_eq!(parse_own_report(text), None, "{text:?}");
    }
}
