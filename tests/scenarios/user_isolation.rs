//! Two users of one peer at the same time: each gets only its own responses.

use forwardcache::policy::Mode;

use crate::local::LocalPeer;
use crate::support::origin::{Gate, Origin, Reply};

const USERS: [&str; 2] = ["anna", "bert"];

fn fields(kind: &str, user: &str) -> String {
    match kind {
        "Cookie" => format!("Cookie: session={user}\r\n"),
        _ => format!("{kind}: Basic {user}\r\n"),
    }
}

/// The header field that identifies the user, the `Cache-Control` and `Vary` of the origin, and whether the users may
/// share a response in private and in shared mode.
const CASES: [(&str, &str, Option<&str>, [bool; 2]); 12] = [
    ("Authorization", "max-age=60", None, [false, false]),
    ("Authorization", "private, max-age=60", None, [false, false]),
    ("Authorization", "no-store", None, [false, false]),
    ("Authorization", "public, max-age=60", None, [false, true]),
    ("Authorization", "public, max-age=60", Some("Authorization"), [false, false]),
    ("Cookie", "private, max-age=60", None, [false, false]),
    ("Cookie", "no-store", None, [false, false]),
    ("Cookie", "max-age=60", Some("Cookie"), [false, false]),
    ("Cookie", "max-age=60, private", Some("Cookie"), [false, false]),
    ("Cookie", "max-age=60", None, [true, true]),
    ("Proxy-Authorization", "max-age=60", None, [true, true]),
    ("Proxy-Authorization", "private, max-age=60", None, [true, false]),
];

#[test]
fn users_share_only_responses_that_may_be_shared() {
    for (kind, cache_control, vary, shares) in CASES {
        for (mode, shares) in [Mode::Private, Mode::Shared].into_iter().zip(shares) {
            let gate = Gate::new();
            let held_gate = gate.clone();
            let origin = Origin::start(move |received| {
                assert_eq!(
                    received.field("proxy-authorization"),
                    None,
                    "Proxy-Authorization is only for the peer"
                );
                let seen = ["authorization", "cookie"].map(|name| received.field(name).unwrap_or("-"));
                let reply = Reply::ok(format!("made for {} {}", seen[0], seen[1]));
                let reply = reply.field("Cache-Control", cache_control).gate_body(4, &held_gate);
                vary.into_iter().fold(reply, |reply, vary| reply.field("Vary", vary))
            });
            let peer = LocalPeer::start_with(|builder| builder.mode(mode));
            let url = origin.url("/a");
            let get = |user: &str| String::from_utf8(peer.get_with(&url, &fields(kind, user)).body).unwrap();
            // The origin holds back the bodies until all users have sent their requests.
            let responses: Vec<[String; 2]> = std::thread::scope(|scope| {
                let clients: Vec<_> = (0..6)
                    .map(|number| scope.spawn(move || [USERS[number % 2].to_owned(), get(USERS[number % 2])]))
                    .collect();
                origin.wait_for(1);
                gate.open();
                clients.into_iter().map(|client| client.join().unwrap()).collect()
            });
            let later = USERS.map(|user| [user.to_owned(), get(user)]);
            for [user, answer] in responses.into_iter().chain(later) {
                let is_own = answer.contains(&user);
                assert!(
                    is_own || shares || kind == "Proxy-Authorization",
                    "{mode:?} {kind} {cache_control} {vary:?}: {user} got {answer:?}"
                );
            }
            // A response that may be shared is fetched once.
            if shares {
                assert_eq!(origin.count(), 1, "{mode:?} {kind} {cache_control} {vary:?}");
            }
        }
    }
}
