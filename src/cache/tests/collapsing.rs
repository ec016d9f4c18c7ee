//! Several requests at once, and bodies on their way.

use super::*;

#[test]
fn whoever_comes_while_it_is_fetched_reads_along() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, None));
    let first = scene.send("GET", URL, &[]).unwrap();
    let second = scene.send("GET", URL, &[]).unwrap();
    assert_eq!(Outcome::of(second.headers()), Some(Outcome::Collapsed(Forward::UriMiss)));
    let second = thread::spawn(move || second.into_body().into_text());
    send.send(Ok(b"one ")).unwrap();
    send.send(Ok(b"two")).unwrap();
    drop(send);
    assert_eq!(first.into_body().into_text().unwrap(), "one two");
    assert_eq!(second.join().unwrap().unwrap(), "one two");
    scene.get(&[]).is(Outcome::Hit, "one two");
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn many_at_once_are_one_fetch() {
    let scene = Arc::new(Scene::new());
    scene.answer(200, FRESH, Body::from_reader(&b"one"[..], Some(3)));
    let all = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (scene, all) = (Arc::clone(&scene), Arc::clone(&all));
            thread::spawn(move || {
                all.wait();
                scene.get(&[]).body
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "one");
    }
    assert_eq!(scene.times_asked(), 1);
}

#[test]
fn what_may_not_be_shared_is_fetched_by_each() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, &[("cache-control", "no-store")], Body::from_reader(pipe, None));
    let first = scene.send("GET", URL, &[]).unwrap();
    scene.answer(200, &[("cache-control", "no-store")], "another");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "another");
    drop(send);
    assert_eq!(first.into_body().into_text().unwrap(), "");
}

#[test]
fn another_variant_is_not_shared() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    let fields = [("cache-control", "max-age=60"), ("vary", "accept")];
    scene.answer(200, &fields, Body::from_reader(pipe, None)).answer(200, &fields, "b");
    let first = scene.send("GET", URL, &[("accept", "a")]).unwrap();
    assert_eq!(scene.get(&[("accept", "b")]).body, "b");
    drop(send);
    drop(first);
}

#[test]
fn what_is_cut_is_not_stored_and_looks_cut_to_everybody() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    scene.answer(200, FRESH, Body::from_reader(pipe, Some(6)));
    let first = scene.send("GET", URL, &[]).unwrap();
    let second = scene.send("GET", URL, &[]).unwrap();
    send.send(Ok(b"one")).unwrap();
    drop(send);
    for response in [first, second] {
        assert_eq!(response.into_body().into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
    }
    scene.answer(200, FRESH, "whole");
    scene.get(&[]).is(Outcome::Miss(Forward::UriMiss), "whole");
}

#[test]
fn what_ends_with_its_connection_is_passed_on_and_not_stored() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::until_close(&b"one"[..]));
        let answer = scene.get(&[]);
        answer.is(Outcome::Miss(Forward::UriMiss), "one");
        assert!(answer.field("cache-status").unwrap().ends_with("detail=end-not-proven"));
    }
}

#[test]
fn what_is_too_large_is_passed_on_and_not_stored() {
    let scene = Scene::with(Mode::Private, MemoryStore::new(10_000));
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::from_reader(io::repeat(b'a').take(20_000), Some(20_000)));
        assert_eq!(scene.get(&[]).body.len(), 20_000);
    }
    assert_eq!(scene.times_asked(), 2);
}

#[test]
fn a_reader_that_stops_early_leaves_it_cached() {
    let scene = Scene::new();
    scene.answer(200, FRESH, Body::from_reader(&b"one"[..], Some(3)));
    drop(scene.send("GET", URL, &[]).unwrap());
    scene.get(&[]).is(Outcome::Hit, "one");
}

#[test]
fn a_failure_while_others_wait_is_everybodys() {
    /// An origin that fails when it is told to.
    struct Waits(Mutex<mpsc::Receiver<()>>, Mutex<mpsc::Sender<()>>);
    impl RoundTrip for Waits {
        fn round_trip(&self, _: Request<Body>) -> Result<Response<Body>> {
            self.1.lock().unwrap().send(()).unwrap();
            self.0.lock().unwrap().recv().unwrap();
            Err(Error::new(ErrorKind::Timeout, "no answer"))
        }
    }
    let (fail, told) = mpsc::channel();
    let (tell, is_asked) = mpsc::channel();
    let origin = Waits(Mutex::new(told), Mutex::new(tell));
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    let fetch = |cache: HttpCache| {
        thread::spawn(move || {
            cache.round_trip(Request::get(URL).body(Body::empty()).unwrap()).unwrap_err().kind()
        })
    };
    let leader = fetch(cache.clone());
    is_asked.recv().unwrap();
    let follower = fetch(cache.clone());
    // Whether the follower waits already or leads a second fetch, it is told of a failure.
    fail.send(()).unwrap();
    let _ = fail.send(());
    assert_eq!(leader.join().unwrap(), ErrorKind::Timeout);
    assert_eq!(follower.join().unwrap(), ErrorKind::Timeout);
}

#[test]
fn what_is_on_its_way_is_shared_only_as_long_as_it_is_fresh() {
    for (asked, advance, shared) in
        [("", 0, true), ("", 61, false), ("max-age=5", 10, false), ("min-fresh=55", 10, false)]
    {
        let scene = Scene::new();
        let (send, pipe) = pipe();
        scene.answer(200, &[("cache-control", "max-age=60, must-revalidate")], Body::from_reader(pipe, None));
        let first = scene.send("GET", URL, &[]).unwrap();
        scene.pass(advance);
        scene.answer(200, FRESH, "another");
        let fields = [("cache-control", asked)];
        let second = scene.send("GET", URL, if asked.is_empty() { &[] } else { &fields }).unwrap();
        drop(send);
        let collapsed = Outcome::of(second.headers()) == Some(Outcome::Collapsed(Forward::UriMiss));
        assert_eq!(collapsed, shared, "{asked} after {advance} s");
        drop(first);
    }
}

#[test]
fn a_stream_of_events_is_passed_on() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    let fields = [("content-type", "text/event-stream; charset=utf-8")];
    scene.answer(200, &fields, Body::from_reader(pipe, None));
    let events = scene.send("GET", URL, &[]).unwrap();
    send.send(Ok(b"data: 1")).unwrap();
    drop(events);
    assert!(send.send(Ok(b"")).is_err(), "nobody reads on");
}

#[test]
fn nobody_waits_for_what_turned_out_not_to_be_for_sharing() {
    // A head that does not come holds only its own client: it is not followed.
    struct Blocks(Mutex<mpsc::Receiver<()>>, Mutex<mpsc::Sender<()>>, AtomicUsize);
    impl RoundTrip for Blocks {
        fn round_trip(&self, _: Request<Body>) -> Result<Response<Body>> {
            let number = self.2.fetch_add(1, Ordering::SeqCst);
            if number == 1 {
                self.1.lock().unwrap().send(()).unwrap();
                self.0.lock().unwrap().recv().unwrap();
            }
            let response = Response::builder().header("cache-control", "no-store");
            Ok(response.body(Body::from(number.to_string())).unwrap())
        }
    }
    let (release, blocked) = mpsc::channel();
    let (tell, is_asked) = mpsc::channel();
    let origin = Blocks(Mutex::new(blocked), Mutex::new(tell), AtomicUsize::new(0));
    let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build().unwrap();
    let get = |cache: &HttpCache| {
        let request = Request::get(URL).body(Body::empty()).unwrap();
        cache.round_trip(request).unwrap().into_body().into_text().unwrap()
    };
    assert_eq!(get(&cache), "0");
    let slow = thread::spawn({
        let cache = cache.clone();
        move || get(&cache)
    });
    is_asked.recv().unwrap();
    assert_eq!(get(&cache), "2");
    release.send(()).unwrap();
    assert_eq!(slow.join().unwrap(), "1");
}
