use std::sync::mpsc::{self, Receiver, Sender};

use super::*;
use crate::base::clock::ManualClock;
use crate::origin::testing::ScriptedLookup;

const LIFETIME: Duration = Duration::from_secs(30);

/// Says which names it is asked for, and answers when it is told to.
#[derive(Debug)]
struct Hanging {
    begun: Mutex<Sender<String>>,
    goes_on: Mutex<HashMap<String, Receiver<Vec<IpAddr>>>>,
}

impl Lookup for Hanging {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let answer = self.goes_on.lock().remove(name).expect("a name is looked up once");
        self.begun.lock().send(name.to_owned()).unwrap();
        answer.recv().map_err(io::Error::other)
    }
}

/// What makes the lookup of a name go on.
type Answers = HashMap<String, Sender<Vec<IpAddr>>>;

fn hanging(names: &[&str]) -> (Arc<Names>, Receiver<String>, Answers) {
    let (begun, begins) = mpsc::channel();
    let (mut answers, mut goes_on) = (HashMap::new(), HashMap::new());
    for name in names {
        let (send, receive) = mpsc::channel();
        answers.insert((*name).to_owned(), send);
        goes_on.insert((*name).to_owned(), receive);
    }
    let lookup = Hanging { begun: Mutex::new(begun), goes_on: Mutex::new(goes_on) };
    (Names::new(lookup, Arc::new(SystemClock), LIFETIME), begins, answers)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn at_once() -> Option<Instant> {
    Some(Instant::now())
}

#[test]
fn answers_are_remembered_for_their_time() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let lookup = ScriptedLookup::new(|_, count| Ok(vec![address(count)]));
    let names = Names::new(lookup.clone(), clock.clone(), LIFETIME);
    let ask = || names.addresses("a.example", None).unwrap()[0];
    assert_eq!((ask(), ask()), (address(1), address(1)));
    clock.advance(LIFETIME - Duration::from_secs(1));
    assert_eq!(ask(), address(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!((ask(), ask()), (address(2), address(2)));
    names.forget("a.example");
    assert_eq!(ask(), address(3));
    clock.set(SystemTime::UNIX_EPOCH);
    assert_eq!(ask(), address(4));
    assert_eq!(lookup.count(), 4);
}

#[test]
fn names_that_nobody_answers_do_not_stop_those_that_were_known() {
    let silent: Vec<String> = (0..MOST_THREADS).map(|number| format!("{number}.example")).collect();
    let mut all: Vec<&str> = silent.iter().map(String::as_str).collect();
    all.push("known.example");
    let (names, begins, answers) = hanging(&all);
    let known = Known { answer: Ok(Arc::from([address(1)])), since: SystemTime::now() - 2 * LIFETIME };
    names.state.lock().known.insert("known.example".to_owned(), known);
    for name in &silent {
        assert!(matches!(names.addresses(name, at_once()), Err(NoAnswer::InTime)));
        begins.recv().unwrap();
    }
    let addresses = names.addresses("known.example", None).unwrap();
    assert_eq!(addresses[0], address(1), "its lookup waits for a thread, and nobody waits for that");
    drop(answers);
}

#[test]
fn failures_are_remembered_for_a_shorter_time() {
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let lookup = ScriptedLookup::new(|name, _| match name {
        "empty.example" => Ok(Vec::new()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
    });
    let names = Names::new(lookup.clone(), clock.clone(), LIFETIME);
    for expected in [2, 4] {
        for _ in 0..3 {
            assert!(names.addresses("empty.example", None).unwrap().is_empty());
            let failure = names.addresses("bad.example", None).unwrap_err();
            assert!(
                matches!(&failure, NoAnswer::Because(error) if error.to_string() == "no such name"),
                "{failure:?}"
            );
        }
        assert_eq!(lookup.count(), expected);
        clock.advance(NEGATIVE_LIFETIME);
    }
}

#[test]
fn nothing_is_remembered_for_no_time() {
    let lookup = ScriptedLookup::new(|_, count| Ok(vec![address(count)]));
    let names = Names::new(lookup.clone(), Arc::new(SystemClock), Duration::ZERO);
    for count in 1..4 {
        assert_eq!(names.addresses("a.example", None).unwrap()[0], address(count));
    }
    assert!(names.state.lock().known.is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let lookup = ScriptedLookup::new(|_, _| Ok((0..1000).map(|_| address(1)).collect()));
    let clock = Arc::new(ManualClock::at_unix_seconds(1000));
    let names = Names::new(lookup, clock.clone(), LIFETIME);
    {
        let mut state = names.state.lock();
        for number in 0..MOST_NAMES + 10 {
            names.remember(&mut state, number.to_string(), Ok(Arc::from([address(1)])));
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(state.known.len(), MOST_NAMES);
        assert!(!state.known.contains_key("0") && state.known.contains_key("10"));
    }
    assert_eq!(names.addresses("a.example", None).unwrap().len(), MOST_ADDRESSES);
    clock.advance(LIFETIME);
    names.addresses("b.example", None).unwrap();
    assert_eq!(names.state.lock().known.len(), 1);
}

#[test]
fn who_asks_for_the_same_name_waits_for_the_same_lookup() {
    let (names, begins, answers) = hanging(&["a.example"]);
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let names = Arc::clone(&names);
            thread::spawn(move || names.addresses("a.example", None).unwrap())
        })
        .collect();
    assert_eq!(begins.recv().unwrap(), "a.example");
    answers["a.example"].send(vec![address(7)]).unwrap();
    for asking in asking {
        assert_eq!(asking.join().unwrap()[..], [address(7)]);
    }
    assert!(names.state.lock().pending.is_empty());
}

#[test]
fn a_lookup_that_hangs_is_given_up_and_its_answer_is_not_lost() {
    let (names, begins, answers) = hanging(&["slow.example"]);
    assert!(matches!(names.addresses("slow.example", at_once()), Err(NoAnswer::InTime)));
    begins.recv().unwrap();
    // It still hangs, and nobody begins another.
    assert!(matches!(names.addresses("slow.example", at_once()), Err(NoAnswer::InTime)));
    assert_eq!(names.state.lock().threads, 1);
    answers["slow.example"].send(vec![address(1)]).unwrap();
    assert_eq!(names.addresses("slow.example", None).unwrap()[..], [address(1)]);
}

#[test]
fn lookups_that_hang_hold_so_many_threads_and_no_more() {
    let hang = ["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"];
    let all: Vec<_> = hang.into_iter().chain(["given-up", "waits"]).collect();
    let (names, begins, answers) = hanging(&all);
    for name in hang {
        assert!(matches!(names.addresses(name, at_once()), Err(NoAnswer::InTime)));
        begins.recv().unwrap();
    }
    // No thread is free, so it is never begun.
    assert!(matches!(names.addresses("given-up", at_once()), Err(NoAnswer::InTime)));
    {
        let state = names.state.lock();
        assert_eq!((state.threads, state.queue.len(), state.pending.len()), (MOST_THREADS, 0, MOST_THREADS));
    }
    let waits = {
        let names = Arc::clone(&names);
        thread::spawn(move || names.addresses("waits", None).unwrap())
    };
    answers["h3"].send(vec![address(3)]).unwrap();
    // Whether it was queued before or after, a thread is found for it.
    assert_eq!(begins.recv().unwrap(), "waits");
    answers["waits"].send(vec![address(9)]).unwrap();
    assert_eq!(waits.join().unwrap()[..], [address(9)]);
}

#[test]
fn a_lookup_that_panics_is_a_failure() {
    let lookup = ScriptedLookup::new(|_, count| {
        assert!(count > 1, "the first lookup panics");
        Ok(vec![address(count)])
    });
    let names = Names::new(lookup, Arc::new(SystemClock), Duration::ZERO);
    assert!(matches!(names.addresses("a.example", None), Err(NoAnswer::Because(_))));
    assert_eq!(names.addresses("a.example", None).unwrap()[..], [address(2)]);
}
