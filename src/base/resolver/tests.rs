use std::sync::mpsc::{self, Receiver, Sender};

use super::*;
use crate::base::clock::ManualClock;
use crate::origin::testing::ScriptedLookup;

const LIFETIME: Duration = Duration::from_secs(30);

/// How many threads the lookups of one client may hold.
const OF_ONE_CLIENT: usize = MAX_THREADS / 2;

/// Reports the name of each lookup that starts, and blocks until the test sends the answer.
#[derive(Debug)]
struct HangingLookup {
    started: Mutex<Sender<String>>,
    answers: Mutex<HashMap<String, Receiver<Vec<IpAddr>>>>,
}

impl Lookup for HangingLookup {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let answer = self.answers.lock().remove(name).expect("a name is looked up once");
        self.started.lock().send(name.to_owned()).unwrap();
        answer.recv().map_err(io::Error::other)
    }
}

/// Senders that let the lookup of each name finish.
type Answers = HashMap<String, Sender<Vec<IpAddr>>>;

/// Returns as many names as one client may look up at a time.
fn names_of_one_client() -> Vec<String> {
    (0..OF_ONE_CLIENT).map(|number| format!("{number}.example")).collect()
}

fn hanging(names: &[&str]) -> (Arc<Resolver>, Receiver<String>, Answers) {
    let (started, starts) = mpsc::channel();
    let (mut answers, mut receivers) = (HashMap::new(), HashMap::new());
    for name in names {
        let (send, receive) = mpsc::channel();
        answers.insert((*name).to_owned(), send);
        receivers.insert((*name).to_owned(), receive);
    }
    let lookup = HangingLookup { started: Mutex::new(started), answers: Mutex::new(receivers) };
    (Resolver::new(lookup, Arc::new(SystemClock), LIFETIME), starts, answers)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn no_wait() -> Option<Instant> {
    Some(Instant::now())
}

#[test]
fn answers_are_cached_for_their_lifetime() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let lookup = ScriptedLookup::new(|_, count| Ok(vec![address(count)]));
    let resolver = Resolver::new(lookup.clone(), clock.clone(), LIFETIME);
    let ask = || resolver.addresses("a.example", None).unwrap()[0];
    assert_eq!((ask(), ask()), (address(1), address(1)));
    clock.advance(LIFETIME - Duration::from_secs(1));
    assert_eq!(ask(), address(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!((ask(), ask()), (address(2), address(2)));
    resolver.forget("a.example");
    assert_eq!(ask(), address(3));
    clock.set(SystemTime::UNIX_EPOCH);
    assert_eq!(ask(), address(4));
    assert_eq!(lookup.count(), 4);
}

#[test]
fn stale_addresses_are_used_while_hanging_lookups_hold_all_threads() {
    let silent = names_of_one_client();
    let mut all: Vec<&str> = silent.iter().map(String::as_str).collect();
    all.push("known.example");
    let (resolver, starts, answers) = hanging(&all);
    let entry = CachedAnswer { answer: Ok(Arc::from([address(1)])), since: SystemTime::now() - 2 * LIFETIME };
    resolver.state.lock().cached.insert("known.example".to_owned(), entry);
    for name in &silent {
        assert!(matches!(resolver.addresses(name, no_wait()), Err(LookupError::Timeout)));
        starts.recv().unwrap();
    }
    let addresses = resolver.addresses("known.example", None).unwrap();
    assert_eq!(addresses[0], address(1), "the caller does not wait for the queued lookup");
    drop(answers);
}

#[test]
fn failures_are_cached_for_a_shorter_time() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let lookup = ScriptedLookup::new(|name, _| match name {
        "empty.example" => Ok(Vec::new()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
    });
    let resolver = Resolver::new(lookup.clone(), clock.clone(), LIFETIME);
    for expected in [2, 4] {
        for _ in 0..3 {
            assert!(resolver.addresses("empty.example", None).unwrap().is_empty());
            let failure = resolver.addresses("bad.example", None).unwrap_err();
            assert!(
                matches!(&failure, LookupError::Failed(error) if error.to_string() == "no such name"),
                "{failure:?}"
            );
        }
        assert_eq!(lookup.count(), expected);
        clock.advance(NEGATIVE_LIFETIME);
    }
}

#[test]
fn zero_lifetime_disables_the_cache() {
    let lookup = ScriptedLookup::new(|_, count| Ok(vec![address(count)]));
    let resolver = Resolver::new(lookup.clone(), Arc::new(SystemClock), Duration::ZERO);
    for count in 1..4 {
        assert_eq!(resolver.addresses("a.example", None).unwrap()[0], address(count));
    }
    assert!(resolver.state.lock().cached.is_empty());
}

#[test]
fn cache_size_is_bounded() {
    let lookup = ScriptedLookup::new(|_, _| Ok((0..1000).map(|_| address(1)).collect()));
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let resolver = Resolver::new(lookup, clock.clone(), LIFETIME);
    {
        let mut state = resolver.state.lock();
        for number in 0..MAX_NAMES + 10 {
            resolver.remember(&mut state, number.to_string(), Ok(Arc::from([address(1)])));
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(state.cached.len(), MAX_NAMES);
        assert!(!state.cached.contains_key("0") && state.cached.contains_key("10"));
    }
    assert_eq!(resolver.addresses("a.example", None).unwrap().len(), MAX_ADDRESSES);
    clock.advance(LIFETIME);
    resolver.addresses("b.example", None).unwrap();
    assert_eq!(resolver.state.lock().cached.len(), 1);
}

#[test]
fn concurrent_requests_for_a_name_share_one_lookup() {
    let (resolver, starts, answers) = hanging(&["a.example"]);
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let resolver = Arc::clone(&resolver);
            thread::spawn(move || resolver.addresses("a.example", None).unwrap())
        })
        .collect();
    assert_eq!(starts.recv().unwrap(), "a.example");
    answers["a.example"].send(vec![address(7)]).unwrap();
    for caller in callers {
        assert_eq!(caller.join().unwrap()[..], [address(7)]);
    }
    assert!(resolver.state.lock().pending.is_empty());
}

#[test]
fn answer_of_a_timed_out_lookup_is_not_lost() {
    let (resolver, starts, answers) = hanging(&["slow.example"]);
    assert!(matches!(resolver.addresses("slow.example", no_wait()), Err(LookupError::Timeout)));
    starts.recv().unwrap();
    // The first lookup still hangs, and the second request starts no other.
    assert!(matches!(resolver.addresses("slow.example", no_wait()), Err(LookupError::Timeout)));
    assert_eq!(resolver.state.lock().threads, 1);
    answers["slow.example"].send(vec![address(1)]).unwrap();
    assert_eq!(resolver.addresses("slow.example", None).unwrap()[..], [address(1)]);
}

#[test]
fn hanging_lookups_hold_a_bounded_number_of_threads() {
    let hang = names_of_one_client();
    let all: Vec<_> = hang.iter().map(String::as_str).chain(["given-up", "waits"]).collect();
    let (resolver, starts, answers) = hanging(&all);
    for name in &hang {
        assert!(matches!(resolver.addresses(name, no_wait()), Err(LookupError::Timeout)));
        starts.recv().unwrap();
    }
    // No thread is free for this client, so this lookup never starts.
    assert!(matches!(resolver.addresses("given-up", no_wait()), Err(LookupError::Timeout)));
    {
        let state = resolver.state.lock();
        assert_eq!(
            (state.threads, state.queue.len(), state.pending.len()),
            (OF_ONE_CLIENT, 0, OF_ONE_CLIENT)
        );
    }
    let waits = {
        let resolver = Arc::clone(&resolver);
        thread::spawn(move || resolver.addresses("waits", None).unwrap())
    };
    answers["3.example"].send(vec![address(3)]).unwrap();
    // The lookup gets a thread whether it was queued before or after the answer was sent.
    assert_eq!(starts.recv().unwrap(), "waits");
    answers["waits"].send(vec![address(9)]).unwrap();
    assert_eq!(waits.join().unwrap()[..], [address(9)]);
}

#[cfg(feature = "peer")]
#[test]
fn lookups_of_one_client_leave_threads_for_other_clients() {
    let hang = names_of_one_client();
    let all: Vec<_> = hang.iter().map(String::as_str).chain(["queued", "other", "third"]).collect();
    let (resolver, starts, answers) = hanging(&all);
    let ask = |client: u8, name: &str| {
        let _charged = charged::charge(Some(address(client)));
        resolver.addresses(name, no_wait())
    };
    for name in &hang {
        assert!(matches!(ask(1, name), Err(LookupError::Timeout)));
        starts.recv().unwrap();
    }
    // It waits behind the hanging ones of its client.
    let waiting = {
        let resolver = Arc::clone(&resolver);
        thread::spawn(move || {
            let _charged = charged::charge(Some(address(1)));
            resolver.addresses("queued", None).unwrap()
        })
    };
    while resolver.state.lock().queue.is_empty() {
        thread::yield_now();
    }
    // Those of other clients start at once, also one that is queued for the first client.
    for (client, name) in [(2, "other"), (3, "third"), (2, "queued")] {
        assert!(matches!(ask(client, name), Err(LookupError::Timeout)));
        assert_eq!(starts.recv().unwrap(), name);
    }
    answers["queued"].send(vec![address(9)]).unwrap();
    assert_eq!(waiting.join().unwrap()[..], [address(9)]);
    drop(answers);
}

#[test]
fn panicking_lookup_is_a_failure() {
    let lookup = ScriptedLookup::new(|_, count| {
        assert!(count > 1, "the first lookup panics");
        Ok(vec![address(count)])
    });
    let resolver = Resolver::new(lookup, Arc::new(SystemClock), Duration::ZERO);
    assert!(matches!(resolver.addresses("a.example", None), Err(LookupError::Failed(_))));
    assert_eq!(resolver.addresses("a.example", None).unwrap()[..], [address(2)]);
}
