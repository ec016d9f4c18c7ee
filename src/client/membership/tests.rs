//! Tests membership with a list and a clock that the test controls.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::error::{Error, ErrorKind, Result};
use crate::client::Client;
use crate::pool::discovery::{Discovery, FileDiscovery, FnDiscovery};
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

const SECOND: Duration = Duration::from_secs(1);

fn members(hosts: &str) -> Vec<Member> {
    hosts.split_whitespace().map(|host| format!("http://{host}:1").parse().unwrap()).collect()
}

fn client(hosts: &str) -> Client {
    let client = Client::builder().build().unwrap();
    client.set_members(members(hosts)).unwrap();
    client
}

fn hosts(client: &Client) -> String {
    let hosts: Vec<_> =
        client.pool().iter().map(|peer| peer.authority().trim_end_matches(":1").to_owned()).collect();
    hosts.join(" ")
}

/// A list that the test changes, and that counts its readings.
#[derive(Clone, Debug)]
struct Board {
    state: Arc<Mutex<(std::result::Result<String, String>, usize)>>,
}

impl Board {
    fn new(hosts: &str) -> Self {
        Self { state: Arc::new(Mutex::new((Ok(hosts.to_owned()), 0))) }
    }

    fn set_list(&self, hosts: &str) {
        self.state.lock().0 = Ok(hosts.to_owned());
    }

    fn fails(&self, why: &str) {
        self.state.lock().0 = Err(why.to_owned());
    }

    fn count(&self) -> usize {
        self.state.lock().1
    }
}

impl Discovery for Board {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        let mut state = self.state.lock();
        state.1 += 1;
        match &state.0 {
            Ok(hosts) => Ok(Some(members(hosts))),
            Err(why) => Err(Error::new(ErrorKind::Io, why.clone())),
        }
    }

    fn interval(&self) -> Duration {
        5 * SECOND
    }
}

/// A pool of `a` and `b`, its list, its membership and a clock.
fn watched() -> (Client, Board, Membership, ManualClock) {
    let (client, board) = (client("a b"), Board::new("b a"));
    let membership = Membership::new(&client, board.clone());
    (client, board, membership, ManualClock::at_unix_seconds(1000))
}

#[test]
fn change_is_applied_once_it_is_stable() {
    let (client, board, mut membership, clock) = watched();
    assert!(matches!(membership.poll(clock.now()), Polled::Same));
    board.set_list("b c");
    assert!(matches!(membership.poll(clock.now()), Polled::NotDue));
    assert_eq!((board.count(), membership.until_due(clock.now())), (1, 5 * SECOND));
    clock.advance(5 * SECOND);
    assert!(matches!(membership.poll(clock.now()), Polled::Settling));
    assert_eq!(hosts(&client), "a b");
    // The next reading is due in less than five seconds.
    assert_eq!(membership.until_due(clock.now()), SECOND);
    clock.advance(SECOND);
    let polled = membership.poll(clock.now());
    assert_eq!(polled.to_string(), "changed: joined: http://c:1; left: http://a:1");
    assert_eq!((hosts(&client).as_str(), membership.until_due(clock.now())), ("b c", 5 * SECOND));
}

#[test]
fn failed_reading_changes_nothing_and_restarts_the_wait() {
    let (client, board, mut membership, clock) = watched();
    let mut poll = || {
        clock.advance(5 * SECOND);
        membership.poll(clock.now()).to_string()
    };
    board.set_list("c");
    assert_eq!(poll(), "settling");
    board.fails("it burns");
    assert_eq!((poll(), poll()), ("failed: it burns".to_owned(), "failed: it burns".to_owned()));
    board.set_list("c");
    assert_eq!(poll(), "settling");
    assert_eq!(hosts(&client), "a b");
    assert!(poll().starts_with("changed: joined: http://c:1"));
}

#[test]
fn invalid_list_is_rejected_for_every_source() {
    let client = client("a b");
    let now = SystemTime::UNIX_EPOCH;
    let refused = |list: Vec<Member>| {
        let error = Membership::new(&client, list).refresh(now).unwrap_err();
        assert_eq!((error.kind(), hosts(&client).as_str()), (ErrorKind::BadPeer, "a b"));
        error.to_string()
    };
    assert_eq!(refused(Vec::new()), "the list of peers is empty");
    let two_weights = ["http://c:1", "http://c:1 weight=2"].map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(
        refused(two_weights),
        "a peer is listed with two weights, 1 and 2: list it once (asking the peer http://c:1)"
    );

    let change = Membership::new(&client, members("c c d c")).refresh(now).unwrap();
    assert_eq!(change.joined, members("c d"));
    let change = Membership::new(&client, Vec::new()).allow_empty(true).refresh(now).unwrap();
    assert_eq!((change.left, hosts(&client).as_str()), (members("c d"), ""));
}

#[test]
fn reading_that_panics_counts_as_failed() {
    let client = client("a");
    let mut membership = Membership::new(&client, FnDiscovery(|| panic!("a bug of its own")));
    for _ in 0..2 {
        let error = membership.refresh(SystemTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.to_string(), "reading the list of peers panicked");
    }
    assert_eq!(hosts(&client), "a");
}

/// A source without a list.
#[derive(Debug)]
struct Silent;

impl Discovery for Silent {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        Ok(None)
    }

    fn interval(&self) -> Duration {
        Duration::MAX
    }
}

#[test]
fn missing_list_changes_nothing() {
    let client = client("a");
    let mut membership = Membership::new(&client, Silent);
    assert!(matches!(membership.poll(SystemTime::UNIX_EPOCH), Polled::Same));
    assert!(membership.refresh(SystemTime::UNIX_EPOCH).unwrap().is_empty());
    assert_eq!(hosts(&client), "a");
    assert_eq!(membership.until_due(SystemTime::UNIX_EPOCH), Duration::MAX);
}

#[test]
fn refresh_applies_a_change_at_once() {
    let (client, board, mut membership, clock) = watched();
    membership.poll(clock.now());
    board.set_list("a c");
    let change = membership.refresh(clock.now()).unwrap();
    assert_eq!(
        (change.to_string().as_str(), hosts(&client).as_str()),
        ("joined: http://c:1; left: http://b:1", "a c")
    );
    assert!(membership.refresh(clock.now()).unwrap().is_empty());
    assert_eq!(board.count(), 3);
}

#[test]
fn members_set_by_hand_last_until_the_next_reading() {
    let (client, _board, mut membership, clock) = watched();
    client.set_pool(["http://z:1"]).unwrap();
    membership.refresh(clock.now()).unwrap();
    assert_eq!(hosts(&client), "a b");
}

#[test]
fn order_of_a_list_does_not_matter() {
    let client = client("");
    let texts = [
        "http://a",
        "http://a.b",
        "http://a:1/b",
        "http://a:1",
        "http://a-b",
        "https://a",
        "http://a/b weight=2",
    ];
    let mut list: Vec<Member> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let joined = Membership::new(&client, list.clone()).refresh(SystemTime::UNIX_EPOCH).unwrap().joined;
    assert_eq!(joined.len(), texts.len());
    for _ in 0..texts.len() {
        list.rotate_left(1);
        let mut membership = Membership::new(&client, list.clone());
        assert!(matches!(membership.poll(SystemTime::UNIX_EPOCH), Polled::Same));
    }
}

#[test]
fn changed_weight_is_a_change() {
    let client = client("a b");
    let list: Vec<Member> = vec!["http://a:1 weight=3".parse().unwrap(), "http://b:1".parse().unwrap()];
    let change = Membership::new(&client, list.clone()).refresh(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(change.to_string(), "now with another weight: http://a:1 weight=3");
    assert_eq!(client.members(), list);
}

#[test]
fn clock_set_back_makes_a_reading_due() {
    let (_client, board, mut membership, clock) = watched();
    membership.poll(clock.now());
    clock.set(SystemTime::UNIX_EPOCH);
    assert!(matches!(membership.poll(clock.now()), Polled::Same));
    assert_eq!(board.count(), 2);
}

#[test]
fn zero_interval_is_raised_to_the_minimum() {
    let (_client, _board, membership, clock) = watched();
    let mut membership = membership.interval(Duration::ZERO);
    membership.poll(clock.now());
    assert_eq!(membership.until_due(clock.now()), Duration::from_millis(10));
}

#[test]
fn half_written_file_is_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let client = client("a b");
    let mut membership = Membership::new(&client, FileDiscovery::new(&path));
    let clock = ManualClock::at_unix_seconds(1000);
    let mut poll = |text: Option<&str>| {
        text.map_or_else(|| drop(fs::remove_file(&path)), |text| fs::write(&path, text).unwrap());
        clock.advance(SECOND);
        let polled = membership.poll(clock.now());
        let what = match &polled {
            Polled::Failed(error) => error.reason().rsplit(": ").next().unwrap().to_owned(),
            other => other.to_string(),
        };
        (what, hosts(&client))
    };
    let whole = "http://b:1\nhttp://c:1\nhttp://d:1\n";
    for (text, says) in [
        (None, "No such file or directory (os error 2)"),
        (Some(""), "the list of peers is empty"),
        (Some("# no peers\n"), "the list of peers is empty"),
        (Some("http://b:1\nhttp://c:"), "it may be half written"),
        // Well-formed although incomplete: it was not stable.
        (Some("http://b:1\nhttp://c:1\n"), "settling"),
        (Some(whole), "settling"),
    ] {
        assert_eq!(poll(text), (says.to_owned(), "a b".to_owned()), "{text:?}");
    }
    let changed = "changed: joined: http://c:1, http://d:1; left: http://a:1";
    assert_eq!(poll(Some(whole)), (changed.to_owned(), "b c d".to_owned()));
    assert_eq!(poll(None).1, "b c d");
    assert_eq!(poll(Some(whole)), ("the same".to_owned(), "b c d".to_owned()));
}

#[test]
fn file_can_be_replaced_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let replace = |text: &str| {
        let new = folder.path().join("peers.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
    };
    let (one, other) = ("http://a:1\nhttp://b:1\n", "http://c:1\nhttp://d:1\n");
    replace(one);
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let mut file = FileDiscovery::new(&path);
            for _ in 0..500 {
                let read = file.read().unwrap().unwrap();
                assert!(read == members("a b") || read == members("c d"), "{read:?}");
            }
        });
        while !reads.is_finished() {
            replace(other);
            replace(one);
        }
        reads.join().unwrap();
    });
}

/// A source that reports each reading, waits for the test to provide the list, and reports its drop.
#[derive(Debug)]
struct Slow {
    begun: Sender<&'static str>,
    answers: Receiver<Vec<Member>>,
}

impl Discovery for Slow {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        self.begun.send("reads").unwrap();
        self.answers.recv().map(Some).map_err(|_| Error::from(io::Error::other("no answer")))
    }

    fn interval(&self) -> Duration {
        Duration::MAX
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // The test may have ended.
        let _ = self.begun.send("dropped");
    }
}

fn slow() -> (Slow, Receiver<&'static str>, Sender<Vec<Member>>) {
    let ((begun, begins), (answer, answers)) = (mpsc::channel(), mpsc::channel());
    (Slow { begun, answers }, begins, answer)
}

#[test]
fn watcher_refreshes_on_request_and_ends_on_drop() {
    let (slow, begins, answer) = slow();
    let client = client("a");
    let watch = Membership::new(&client, slow).settle(Duration::ZERO).watch().unwrap();
    assert_eq!(begins.recv(), Ok("reads"));
    answer.send(members("b")).unwrap();
    answer.send(members("c")).unwrap();
    assert_eq!(watch.refresh().unwrap().to_string(), "joined: http://c:1; left: http://b:1");
    answer.send(members("d")).unwrap();
    answer.send(members("d")).unwrap();
    watch.refresh_soon();
    assert!(watch.refresh().unwrap().is_empty());
    assert_eq!(hosts(&client), "d");
    drop(answer);
    assert_eq!(watch.refresh().unwrap_err().reason(), "cannot read or write: no answer");
    // The thread ends even though the next reading is never due.
    drop(watch);
    assert!(begins.iter().any(|said| said == "dropped"));
}

#[test]
fn list_read_during_the_drop_of_the_watcher_is_not_applied() {
    let (slow, begins, answer) = slow();
    let client = client("a");
    let watch = Membership::new(&client, slow).settle(Duration::ZERO).watch().unwrap();
    assert_eq!(begins.recv(), Ok("reads"));
    drop(watch);
    answer.send(members("b")).unwrap();
    assert_eq!(begins.recv(), Ok("dropped"));
    assert_eq!(hosts(&client), "a");
}

#[test]
fn watcher_polls_by_itself() {
    let (read, reads) = mpsc::channel();
    let mut number = 0;
    let list = FnDiscovery(move || {
        number += 1;
        // The test may have ended.
        let _ = read.send(number);
        Ok(members("b"))
    });
    let client = client("a");
    let membership = Membership::new(&client, list).interval(Duration::ZERO).settle(Duration::ZERO);
    let watch = membership.watch().unwrap();
    // At the second reading, the first list has been applied.
    assert_eq!((reads.recv(), reads.recv()), (Ok(1), Ok(2)));
    assert_eq!(hosts(&client), "b");
    drop(watch);
}

#[test]
fn own_peer_that_is_not_listed_leaves_the_pool() {
    let client = client("a b");
    let own = PeerUrl::parse("http://a:1").unwrap();
    let mut membership = Membership::new(&client, members("b c")).self_url(own);
    membership.refresh(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(hosts(&client), "b c");
}

#[test]
fn boxed_source_can_be_chosen_at_run_time() {
    fn chosen(file: Option<&Path>) -> Box<dyn Discovery> {
        match file {
            Some(path) => Box::new(FileDiscovery::new(path)),
            None => Box::new(members("a")),
        }
    }
    let client = client("");
    Membership::new(&client, chosen(None)).refresh(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(hosts(&client), "a");
    assert!(
        Membership::new(&client, chosen(Some(Path::new("/no/such/list"))))
            .refresh(SystemTime::UNIX_EPOCH)
            .is_err()
    );
}
