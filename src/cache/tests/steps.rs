//! Requests step by step, as an event loop runs them: leaders, followers and their results.

use super::*;
use crate::message::body::Wake;
use crate::message::deadline::Deadline;
use crate::message::nonblocking::{Job, RunMode, Step, Waiting};
use crate::message::purge::Purge;

type Answered = Result<Response<Body>>;

impl Scene {
    fn step(&self, fields: &[(&str, &str)]) -> Step<Answered> {
        self.step_until(fields, Deadline::none())
    }

    fn step_until(&self, fields: &[(&str, &str)], deadline: Deadline) -> Step<Answered> {
        let mut request = Request::get(URL);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let wake = || -> Wake { Arc::new(|| ()) };
        let request = request.extension(deadline).body(()).unwrap();
        self.cache.step(CanonicalUrl::parse(URL).unwrap(), request, &wake)
    }
}

#[track_caller]
fn leads(step: Step<Answered>) -> (Job, Waiting<Answered>) {
    match step {
        Step::Fetch(job, waiting) => (job, waiting),
        Step::Wait(_) => panic!("it waits for another request"),
        Step::Serve(_) | Step::Lost => panic!("it is answered"),
    }
}

#[track_caller]
fn waits(step: Step<Answered>) -> Waiting<Answered> {
    match step {
        Step::Wait(waiting) => waiting,
        Step::Fetch(..) => panic!("it fetches"),
        Step::Serve(_) | Step::Lost => panic!("it is answered"),
    }
}

#[track_caller]
fn is_served(step: Step<Answered>) -> Answered {
    match step {
        Step::Serve(answer) => answer,
        Step::Wait(_) | Step::Fetch(..) | Step::Lost => panic!("it is not answered"),
    }
}

#[track_caller]
fn reads(waiting: Waiting<Answered>) -> Answer {
    Answer::read(is_served((waiting.again)()).unwrap())
}

#[test]
fn a_failure_is_shared_with_followers_and_remembered_for_a_second() {
    for (kind, others_fail) in [(ErrorKind::BadResponse, false), (ErrorKind::Unresolved, true)] {
        let scene = Scene::new();
        let (job, own) = leads(scene.step(&[]));
        let others: Vec<_> = (0..29).map(|_| waits(scene.step(&[]))).collect();
        scene.fail(kind);
        job.take(RunMode::Worker);
        for waiting in others.into_iter().chain([own]) {
            assert_eq!(is_served((waiting.again)()).unwrap_err().kind(), kind);
        }
        assert_eq!(is_served(scene.step(&[])).unwrap_err().kind(), kind);
        // A request that prohibits sharing does not get the remembered failure.
        leads(scene.step(&[("cache-control", "no-cache")]));
        let other = || scene.send("GET", "http://example.com/other", &[]);
        if others_fail {
            assert_eq!(other().unwrap_err().kind(), kind);
        } else {
            scene.answer(200, FRESH, "other");
            assert!(other().is_ok());
        }
        scene.pass(1);
        leads(scene.step(&[]));
    }
}

#[test]
fn a_follower_leads_if_the_leaders_request_may_have_caused_the_failure() {
    let scene = Scene::new();
    let (job, own) = leads(scene.step(&[]));
    let (first, second) = (waits(scene.step(&[])), waits(scene.step(&[])));
    scene.fail(ErrorKind::BadRequest);
    job.take(RunMode::Worker);
    assert_eq!(is_served((own.again)()).unwrap_err().kind(), ErrorKind::BadRequest);
    let (job, first) = leads((first.again)());
    let second = waits((second.again)());
    scene.answer(200, FRESH, "one");
    job.take(RunMode::Worker);
    assert_eq!(reads(first).body, "one");
    reads(second).is(Outcome::Hit, "one");
    assert_eq!(scene.times_asked(), 2);
}

#[test]
fn followers_share_a_short_server_error_unless_its_fields_prohibit_it() {
    for (fields, is_shared) in [(&[][..], true), (&[("cache-control", "no-store")], false)] {
        let scene = Scene::new();
        let (job, own) = leads(scene.step(&[]));
        let other = waits(scene.step(&[]));
        scene.answer(503, fields, Body::from_reader(&b"busy"[..], Some(4)));
        job.take(RunMode::Worker);
        reads(own).is(Outcome::Miss(Forward::UriMiss), "busy");
        if is_shared {
            let answer = reads(other);
            assert_eq!((answer.status, &*answer.body), (503, "busy"));
            assert_eq!(Outcome::of(&answer.headers), Some(Outcome::Collapsed(Forward::UriMiss)));
        } else {
            leads((other.again)());
        }
        // The error is not remembered: the next request leads a new fetch, and others follow it.
        leads(scene.step(&[]));
    }
}

#[test]
fn each_variant_is_fetched_once() {
    let scene = Scene::new();
    let fields = [("cache-control", "max-age=60"), ("vary", "accept")];
    let (a, b) = ([("accept", "a")], [("accept", "b")]);
    let (job, own) = leads(scene.step(&a));
    let (other_a, b1, b2) = (waits(scene.step(&a)), waits(scene.step(&b)), waits(scene.step(&b)));
    let (send, pipe) = pipe();
    scene.answer(200, &fields, Body::from_reader(pipe, None));
    let fetching = thread::spawn(move || job.take(RunMode::Worker));
    let mut own = own;
    // The flight has finished when the request has its response.
    let own = loop {
        match (own.again)() {
            Step::Serve(answer) => break answer.unwrap(),
            Step::Wait(waiting) => own = waiting,
            Step::Fetch(..) | Step::Lost => panic!("its fetch is under way"),
        }
    };
    let b1 = leads((b1.again)());
    let b2 = waits((b2.again)());
    let late = waits(scene.step(&b));
    scene.answer(200, &fields, "b");
    b1.0.take(RunMode::Worker);
    assert_eq!(reads(b1.1).body, "b");
    reads(b2).is(Outcome::Hit, "b");
    reads(late).is(Outcome::Hit, "b");
    send.send(Ok(b"a")).unwrap();
    drop(send);
    fetching.join().unwrap();
    assert_eq!(own.into_body().into_text().unwrap(), "a");
    assert_eq!(reads(other_a).body, "a");
    assert_eq!(scene.times_asked(), 2);
}

#[test]
fn requests_do_not_wait_if_each_must_be_validated() {
    for fields in ["no-cache", "max-age=0"] {
        let scene = Scene::new();
        scene.answer(200, &[("cache-control", fields), ("etag", "\"1\"")], "one");
        scene.get(&[]);
        let (one, other) = (leads(scene.step(&[])), leads(scene.step(&[])));
        for (job, waiting) in [one, other] {
            scene.answer(304, &[("cache-control", fields), ("etag", "\"1\"")], "");
            job.take(RunMode::Worker);
            reads(waiting).is(Outcome::Revalidated(Forward::Stale), "one");
        }
    }
}

#[test]
fn a_fetch_is_cancelled_when_its_last_waiter_leaves() {
    let scene = Scene::new();
    let (job, own) = leads(scene.step(&[]));
    let other = waits(scene.step(&[]));
    drop(own);
    assert!(!job.cancellation.is_cancelled());
    drop(other);
    assert!(job.cancellation.is_cancelled());
    // The next request does not wait for the cancelled fetch.
    let (next, waiting) = leads(scene.step(&[]));
    drop(job);
    assert!(!next.cancellation.is_cancelled());
    scene.answer(200, FRESH, "one");
    next.take(RunMode::Worker);
    assert_eq!(reads(waiting).body, "one");

    let (job, own) = leads(scene.step(&[("cache-control", "no-cache")]));
    drop(own);
    assert!(job.cancellation.is_cancelled());
}

#[test]
fn a_fetch_older_than_an_invalidation_is_not_joined() {
    for purge in [Purge::url(URL).unwrap(), Purge::prefix("http://example.com/").unwrap(), Purge::all()] {
        let scene = Scene::new();
        let (old, own) = leads(scene.step(&[]));
        scene.cache.purge(&purge);
        let (new, waiting) = leads(scene.step(&[]));
        scene.answer(200, FRESH, "old").answer(200, FRESH, "new");
        old.take(RunMode::Worker);
        assert_eq!(reads(own).body, "old");
        new.take(RunMode::Worker);
        assert_eq!(reads(waiting).body, "new");
        scene.get(&[]).is(Outcome::Hit, "new");
    }
}

#[test]
fn a_refused_job_yields_a_stale_response_or_an_error() {
    let scene = Scene::new();
    let refused = RunMode::Refused(crate::message::nonblocking::Refused::QueueFull);
    let (job, own) = leads(scene.step(&[]));
    let other = waits(scene.step(&[]));
    job.take(refused);
    let is_refused = |waiting: Waiting<Answered>| {
        let error = is_served((waiting.again)()).unwrap_err();
        let after = Some(Duration::from_secs(1));
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, after));
    };
    is_refused(own);
    // The follower's client may have a share left, so the follower leads.
    let (job, other) = leads((other.again)());
    job.take(refused);
    is_refused(other);
    scene.answer(200, &[("cache-control", "max-age=60, stale-if-error=600")], "one");
    scene.get(&[]);
    scene.pass(61);
    let (job, own) = leads(scene.step(&[]));
    job.take(refused);
    reads(own).is(Outcome::StaleIfError(Forward::Stale), "one");
}

#[test]
fn the_soft_deadline_serves_stale_unless_purged() {
    for is_purged in [false, true] {
        let scene = Scene::new();
        scene.answer(200, FRESH, "old");
        scene.get(&[]);
        scene.pass(61);
        let at_once = Deadline::none().softly_within(Duration::ZERO);
        let (job, own) = leads(scene.step_until(&[], at_once));
        assert!(own.is_soft && own.until.is_some());
        let other = waits(scene.step(&[]));
        if is_purged {
            scene.cache.purge(&Purge::url(URL).unwrap());
            let own = waits((own.again)());
            scene.answer(200, FRESH, "new");
            job.take(RunMode::Worker);
            assert_eq!(reads(own).body, "new");
        } else {
            reads(own).is(Outcome::StaleOnDeadline(Forward::Stale), "old");
            assert!(!job.cancellation.is_cancelled());
            drop(other);
            assert!(!job.cancellation.is_cancelled(), "the fetch continues for the next request");
            scene.answer(200, FRESH, "new");
            job.take(RunMode::Worker);
            scene.get(&[]).is(Outcome::Hit, "new");
        }
    }
}

#[test]
fn a_follower_fails_at_its_deadline_and_the_fetch_continues() {
    let scene = Scene::new();
    let (job, own) = leads(scene.step_until(&[], Deadline::within(Duration::ZERO)));
    let other = waits(scene.step(&[]));
    assert_eq!(is_served((own.again)()).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(!job.cancellation.is_cancelled());
    scene.answer(200, FRESH, "one");
    job.take(RunMode::Worker);
    reads(other).is(Outcome::Hit, "one");
}

#[test]
fn followers_read_the_body_after_the_leaders_client_has_left() {
    let scene = Scene::built(|cache| cache.worth_finishing(0));
    let (job, own) = leads(scene.step(&[]));
    let mut other = waits(scene.step(&[]));
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(6)));
    drop(own);
    let fetching = thread::spawn(move || job.take(RunMode::Worker));
    let response = loop {
        match (other.again)() {
            Step::Serve(answer) => break answer.unwrap(),
            Step::Wait(waiting) => other = waiting,
            Step::Fetch(..) | Step::Lost => panic!("it reads along"),
        }
    };
    send.send(Ok(b"one")).unwrap();
    send.send(Ok(b"two")).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "onetwo");
    fetching.join().unwrap();
    scene.get(&[]).is(Outcome::Hit, "onetwo");
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn a_fetch_left_running_at_the_soft_deadline_is_completed() {
    let scene = Scene::built(|cache| cache.worth_finishing(0));
    scene.answer(200, FRESH, "old");
    scene.get(&[]);
    scene.pass(61);
    let (job, own) = leads(scene.step_until(&[], Deadline::none().softly_within(Duration::ZERO)));
    reads(own).is(Outcome::StaleOnDeadline(Forward::Stale), "old");
    scene.answer(200, FRESH, Body::from_reader(io::repeat(b'x').take(200_000), Some(200_000)));
    job.take(RunMode::Worker);
    assert_eq!(scene.get(&[]).is(Outcome::Hit, &"x".repeat(200_000)).status, 200);
}

#[test]
fn an_error_response_for_one_user_is_not_shared_with_another() {
    let authorization: &[(&str, &str)] = &[("authorization", "Bearer a")];
    for (asked, answered, is_shared) in
        [(authorization, ("x-a", "1"), false), (&[], ("set-cookie", "a=b"), false), (&[], ("x-a", "1"), true)]
    {
        let scene = Scene::shared();
        let (job, own) = leads(scene.step(asked));
        let other = waits(scene.step(&[]));
        scene.answer(500, &[answered], Body::from_reader(&b"failed"[..], Some(6)));
        job.take(RunMode::Worker);
        assert_eq!(reads(own).status, 500);
        if is_shared {
            assert_eq!(reads(other).status, 500);
        } else {
            leads((other.again)());
        }
    }
}
