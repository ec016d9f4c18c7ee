//! Concurrent requests, and bodies in transit.

use super::*;

#[test]
fn followers_read_the_body_while_it_arrives() {
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
fn concurrent_requests_share_one_fetch() {
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
fn an_unshareable_response_is_fetched_for_each_request() {
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
fn a_follower_does_not_share_another_variant() {
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
fn a_truncated_body_fails_for_every_reader_and_its_beginning_is_completed() {
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
    let rest = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", "bytes 3-5/6")];
    scene.answer(206, &rest, "two");
    scene.get(&[]).is(Outcome::Miss(Forward::Partial), "onetwo");
    assert_eq!(scene.last_asked().field("range"), Some("bytes=3-"));
}

#[test]
fn a_body_delimited_by_connection_close_is_not_stored() {
    let scene = Scene::new();
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::until_close(&b"one"[..]));
        let answer = scene.get(&[]);
        answer.is(Outcome::Miss(Forward::UriMiss), "one");
        assert!(answer.field("cache-status").unwrap().ends_with("detail=end-not-proven"));
    }
}

#[test]
fn a_body_over_the_store_limit_passes_through() {
    let scene = Scene::with(Mode::Private, MemoryStore::new(10_000));
    for _ in 0..2 {
        scene.answer(200, FRESH, Body::from_reader(io::repeat(b'a').take(20_000), Some(20_000)));
        assert_eq!(scene.get(&[]).body.len(), 20_000);
    }
    assert_eq!(scene.times_asked(), 2);
}

#[test]
fn a_small_rest_is_fetched_and_stored_after_the_reader_stops() {
    let scene = Scene::new();
    scene.answer(200, FRESH, Body::from_reader(&b"one"[..], Some(3)));
    drop(scene.send("GET", URL, &[]).unwrap());
    scene.get(&[]).is(Outcome::Hit, "one");
}

#[test]
fn followers_share_a_failed_fetch() {
    /// An origin that fails on command.
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
    // The follower gets an error whether it waits already or leads a second fetch.
    fail.send(()).unwrap();
    let _ = fail.send(());
    assert_eq!(leader.join().unwrap(), ErrorKind::Timeout);
    assert_eq!(follower.join().unwrap(), ErrorKind::Timeout);
}

#[test]
fn a_body_in_transit_is_shared_only_while_fresh() {
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
fn an_event_stream_is_not_stored() {
    let scene = Scene::new();
    let (send, pipe) = pipe();
    let fields = [("content-type", "text/event-stream; charset=utf-8")];
    scene.answer(200, &fields, Body::from_reader(pipe, None));
    let events = scene.send("GET", URL, &[]).unwrap();
    send.send(Ok(b"data: 1")).unwrap();
    drop(events);
    assert!(send.send(Ok(b"")).is_err(), "the source has no reader");
}

#[test]
fn requests_for_an_uncacheable_key_do_not_wait() {
    // A missing head delays only its own client, because the request has no followers.
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
