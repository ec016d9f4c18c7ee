//! Which addresses a name has: looked up once for all who ask, remembered for a while, by a bounded number of
//! threads.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::base::clock::{Clock, SystemClock};

/// For how long addresses that no longer hold may be used while a lookup gets no answer.
const STALE: Duration = Duration::from_secs(600);

/// How many names are looked up at a time. A lookup that hangs holds its thread for as long as the system takes.
const MOST_THREADS: usize = 8;

/// How many names are remembered.
const MOST_NAMES: usize = 1024;

/// How many addresses of a name are remembered. Which of them may be connected to is decided later.
const MOST_ADDRESSES: usize = 64;

/// For how long a failure is remembered, and that a name has no address.
const NEGATIVE_LIFETIME: Duration = Duration::from_secs(2);

/// Asks for the addresses of a name. May block for as long as it likes.
pub(crate) trait Lookup: fmt::Debug + Send + Sync {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The lookup of the system.
#[derive(Debug)]
pub(crate) struct SystemLookup;

impl Lookup for SystemLookup {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// The addresses, or the failure as it can be told more than once.
type Answer = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    InTime,
    Because(io::Error),
}

/// Names and their addresses.
#[derive(Debug)]
pub(crate) struct Names {
    lookup: Box<dyn Lookup>,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    most_addresses: usize,
    state: Mutex<State>,
    /// Some lookup is over.
    is_over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, Known>,
    /// What is being looked up, and what waits for a thread.
    pending: HashMap<String, Pending>,
    /// The pending names that wait for a thread, each of which somebody waits for.
    queue: VecDeque<String>,
    threads: usize,
}

#[derive(Debug)]
struct Known {
    answer: Answer,
    since: SystemTime,
}

#[derive(Debug)]
struct Pending {
    waiting: usize,
    /// Those who wait share it with the lookup: what is remembered may be gone before they look.
    answer: Arc<OnceLock<Answer>>,
}

impl Names {
    /// What a lookup says is remembered for `lifetime`; for no time at all where that is zero.
    pub(crate) fn new(lookup: impl Lookup + 'static, clock: Arc<dyn Clock>, lifetime: Duration) -> Arc<Self> {
        Self::with(Box::new(lookup), clock, lifetime, MOST_ADDRESSES)
    }

    /// Nothing is remembered, and all addresses of a name are told.
    pub(crate) fn unremembered(lookup: impl Lookup + 'static) -> Arc<Self> {
        Self::with(Box::new(lookup), Arc::new(SystemClock), Duration::ZERO, usize::MAX)
    }

    fn with(
        lookup: Box<dyn Lookup>,
        clock: Arc<dyn Clock>,
        lifetime: Duration,
        most_addresses: usize,
    ) -> Arc<Self> {
        let (state, is_over) = (Mutex::default(), Condvar::new());
        Arc::new(Self { lookup, clock, lifetime, most_addresses, state, is_over })
    }

    /// The addresses of this name, of which there may be none. Waits until then, or without end.
    pub(crate) fn addresses(
        self: &Arc<Self>,
        name: &str,
        deadline: Option<Instant>,
    ) -> Result<Arc<[IpAddr]>, NoAnswer> {
        let mut state = self.state.lock();
        if let Some(known) = state.known.get(name).filter(|known| self.still_holds(known)) {
            return told(&known.answer);
        }
        let before = state.known.get(name).filter(|known| self.may_still_do(known));
        let before = before.map(|known| known.answer.clone());
        // Where lookups have to queue, names that nobody answers must not stop those that were known a moment ago.
        let is_busy = state.threads >= MOST_THREADS;
        let answer = self.awaited(&mut state, name)?;
        if let Some(before) = before.as_ref().filter(|_| is_busy) {
            return told(before);
        }
        loop {
            if let Some(answer) = answer.get() {
                return told(answer);
            }
            match deadline {
                None => self.is_over.wait(&mut state),
                Some(deadline) => {
                    let is_late = self.is_over.wait_until(&mut state, deadline).timed_out();
                    if is_late && answer.get().is_none() {
                        state.is_given_up(name);
                        return before.as_ref().map_or(Err(NoAnswer::InTime), told);
                    }
                }
            }
        }
    }

    /// The next who asks for this name has it looked up again: no connection came of what is known.
    pub(crate) fn forget(&self, name: &str) {
        self.state.lock().known.remove(name);
    }

    /// Where the answer will be: of the lookup that is under way, or of one that begins here.
    fn awaited(self: &Arc<Self>, state: &mut State, name: &str) -> Result<Arc<OnceLock<Answer>>, NoAnswer> {
        if let Some(pending) = state.pending.get_mut(name) {
            pending.waiting += 1;
            return Ok(Arc::clone(&pending.answer));
        }
        if state.threads < MOST_THREADS {
            let (names, own_name) = (Arc::clone(self), name.to_owned());
            thread::Builder::new()
                .name("forwardcache-names".to_owned())
                .spawn(move || names.look_up_all(own_name))
                .map_err(NoAnswer::Because)?;
            state.threads += 1;
        } else {
            state.queue.push_back(name.to_owned());
        }
        let answer = Arc::new(OnceLock::new());
        let pending = Pending { waiting: 1, answer: Arc::clone(&answer) };
        state.pending.insert(name.to_owned(), pending);
        Ok(answer)
    }

    /// A thread's work: this name, and then whatever waits for a thread.
    fn look_up_all(&self, first: String) {
        let mut next = Some(first);
        while let Some(name) = next {
            // Whatever it does, somebody waits for it.
            let answer = catch_unwind(AssertUnwindSafe(|| self.lookup.look_up(&name)))
                .unwrap_or_else(|_| Err(io::Error::other("the lookup panicked")))
                .map(|mut addresses| {
                    addresses.truncate(self.most_addresses);
                    Arc::from(addresses)
                })
                .map_err(|error| (error.kind(), error.to_string().into()));
            let mut state = self.state.lock();
            if let Some(pending) = state.pending.remove(&name) {
                // Nobody else sets it.
                let _ = pending.answer.set(answer.clone());
            }
            self.remember(&mut state, name, answer);
            self.is_over.notify_all();
            next = state.queue.pop_front();
            if next.is_none() {
                state.threads -= 1;
            }
        }
    }

    fn remember(&self, state: &mut State, name: String, answer: Answer) {
        if self.lifetime.is_zero() {
            return;
        }
        if state.known.len() >= MOST_NAMES {
            state.known.retain(|_, known| self.still_holds(known));
        }
        if state.known.len() >= MOST_NAMES {
            let oldest = state.known.iter().min_by_key(|(_, known)| known.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                state.known.remove(&oldest);
            }
        }
        state.known.insert(name, Known { answer, since: self.clock.now() });
    }

    /// Whether addresses that no longer hold are better than none.
    fn may_still_do(&self, known: &Known) -> bool {
        let age = self.clock.now().duration_since(known.since).unwrap_or_default();
        let has_addresses = known.answer.as_ref().is_ok_and(|addresses| !addresses.is_empty());
        has_addresses && age < self.lifetime.saturating_add(STALE)
    }

    fn still_holds(&self, known: &Known) -> bool {
        let lifetime = match &known.answer {
            Ok(addresses) if !addresses.is_empty() => self.lifetime,
            _ => self.lifetime.min(NEGATIVE_LIFETIME),
        };
        // A clock that went back says nothing.
        self.clock.now().duration_since(known.since).is_ok_and(|age| age < lifetime)
    }
}

impl State {
    /// One of those who waited for this name has gone. What nobody waits for need not be begun.
    fn is_given_up(&mut self, name: &str) {
        let Some(pending) = self.pending.get_mut(name) else { return };
        pending.waiting -= 1;
        if pending.waiting > 0 {
            return;
        }
        if let Some(at) = self.queue.iter().position(|queued| queued == name) {
            self.queue.remove(at);
            self.pending.remove(name);
        }
    }
}

fn told(answer: &Answer) -> Result<Arc<[IpAddr]>, NoAnswer> {
    match answer {
        Ok(addresses) => Ok(Arc::clone(addresses)),
        Err((kind, text)) => Err(NoAnswer::Because(io::Error::new(*kind, text.to_string()))),
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                (state.threads, state.queue.len(), state.pending.len()),
                (MOST_THREADS, 0, MOST_THREADS)
            );
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
}
