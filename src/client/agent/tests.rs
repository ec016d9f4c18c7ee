//! Tests the agent through ureq's public interface.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use ureq::config::Config;
use ureq::{Agent, Proxy, SendBody};

use super::{agent, agent_with_config};
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::round_trip::{Offline, RoundTripFn};

fn agent_of(answer: impl Fn(Request<Body>) -> Result<Response<Body>> + Send + Sync + 'static) -> Agent {
    agent(RoundTripFn(answer))
}

fn respond(status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> Result<Response<Body>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    Ok(builder.body(body.into()).unwrap())
}

/// A body that yields this many bytes in pieces, and then ends or fails.
struct Pieces {
    left: usize,
    largest: Arc<AtomicUsize>,
    end: Option<ErrorKind>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest.fetch_max(buffer.len(), Ordering::Relaxed);
        let count = self.left.min(buffer.len());
        buffer[..count].fill(b'x');
        self.left -= count;
        // Fails once only, as a careless reader would.
        match self.end.filter(|_| count == 0) {
            Some(kind) => {
                self.end = None;
                Err(Error::new(kind, "cut").into())
            }
            None => Ok(count),
        }
    }
}

fn pieces(left: usize, length: Option<u64>, end: Option<ErrorKind>) -> Body {
    Body::from_reader(Pieces { left, largest: Arc::default(), end }, length)
}

#[test]
fn request_has_its_url_and_its_own_fields_only() {
    let agent = agent_of(|request| {
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.uri(), "http://example.com:8080/a/b?c=d");
        let mut names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["accept", "user-agent", "x-own"]);
        assert_eq!(request.headers()["x-own"].as_bytes(), b"caf\xe9");
        assert!(request.body().is_empty());
        respond(200, &[("x-back", "1")], "hello")
    });
    let value = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
    let mut response = agent.get("http://example.com:8080/a/b?c=d#e").header("x-own", value).call().unwrap();
    assert_eq!(response.headers()["x-back"], "1");
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.body_mut().read_to_string().unwrap(), "hello");
}

#[test]
fn https_passes_without_tls_and_userinfo_becomes_a_field() {
    let agent = agent_of(|request| {
        assert_eq!(request.uri(), "https://example.com/");
        assert_eq!(request.headers()["authorization"], "Basic bWU6c2VjcmV0");
        respond(200, &[], "safe")
    });
    let mut response = agent.get("https://me:secret@example.com").call().unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "safe");

    let config = Config::builder().https_only(true).build();
    let agent = agent_with_config(RoundTripFn(|_| empty_response()), config);
    assert!(agent.get("https://example.com/").call().is_ok());
    assert!(matches!(agent.get("http://example.com/").call(), Err(ureq::Error::RequireHttpsOnly(_))));
}

fn empty_response() -> Result<Response<Body>> {
    respond(200, &[], "")
}

#[test]
fn responses_without_a_body_keep_its_fields() {
    let agent = agent_of(|request| match request.uri().path() {
        "/head" => {
            assert_eq!(request.method(), Method::HEAD);
            respond(200, &[("content-length", "1234")], ())
        }
        "/304" => respond(304, &[("content-length", "99"), ("etag", "\"a\"")], ()),
        "/204" => respond(204, &[("content-length", "0")], ()),
        _ => empty_response(),
    });
    let mut head = agent.head("http://h/head").call().unwrap();
    assert_eq!(head.headers()["content-length"], "1234");
    assert_eq!(head.body_mut().read_to_string().unwrap(), "");
    let mut not_modified = agent.get("http://h/304").call().unwrap();
    assert_eq!(not_modified.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(not_modified.headers()["etag"], "\"a\"");
    assert_eq!(not_modified.headers()["content-length"], "99");
    assert_eq!(not_modified.body_mut().read_to_string().unwrap(), "");
    let no_content = agent.get("http://h/204").call().unwrap();
    assert!(!no_content.headers().contains_key("content-length"));
    let mut empty = agent.get("http://h/empty").call().unwrap();
    assert_eq!(empty.headers()["content-length"], "0");
    assert_eq!(empty.body_mut().read_to_string().unwrap(), "");
}

#[test]
fn request_bodies_arrive_completely() {
    let agent = agent_of(|request| {
        assert_eq!(request.method(), Method::POST);
        assert!(!request.headers().contains_key("content-length"));
        assert!(!request.headers().contains_key("transfer-encoding"));
        respond(200, &[], request.into_body().into_bytes().unwrap())
    });
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
    let mut known = agent.post("http://h/").send(&body[..]).unwrap();
    assert!(known.body_mut().read_to_vec().unwrap() == body);
    let mut reader = io::Cursor::new(body.clone());
    let mut chunked = agent.post("http://h/").send(SendBody::from_reader(&mut reader)).unwrap();
    assert!(chunked.body_mut().read_to_vec().unwrap() == body);
    let mut empty = agent.post("http://h/").send_empty().unwrap();
    assert_eq!(empty.body_mut().read_to_string().unwrap(), "");
}

#[test]
fn expect_continue_is_answered() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let round_trip = RoundTripFn(move |request: Request<Body>| {
        seen.fetch_add(1, Ordering::Relaxed);
        assert!(!request.headers().contains_key("expect"));
        respond(200, &[], request.into_body())
    });
    // Without `100 Continue`, ureq would wait for ever.
    let config = Config::builder().timeout_await_100(None).build();
    let agent = agent_with_config(round_trip, config);
    let mut response = agent.post("http://h/").header("expect", "100-continue").send("hello").unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "hello");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn request_body_shorter_than_its_length_fails() {
    let agent = agent_of(|_| panic!("the request was not whole"));
    let error = agent.post("http://h/").header("content-length", "10").send("hello").unwrap_err();
    assert_eq!(Error::from(error.into_io()).kind(), ErrorKind::BadRequest);
}

#[test]
fn unsupported_requests_fail() {
    let agent = agent_of(|_| panic!("such a request is not sent"));
    let other_host = agent.get("http://h/").header("host", "other").call().unwrap_err();
    assert_eq!(Error::from(other_host.into_io()).kind(), ErrorKind::BadRequest);
    let tunnel = agent.connect("http://h:80").call().unwrap_err();
    assert_eq!(Error::from(tunnel.into_io()).kind(), ErrorKind::BadRequest);
    let large = agent.post("http://h/").header("content-length", "67108865").send("").unwrap_err();
    assert_eq!(Error::from(large.into_io()).kind(), ErrorKind::BadRequest);
}

#[test]
fn status_is_an_error_as_configured() {
    let fails = RoundTripFn(|_: Request<Body>| respond(500, &[], "sorry"));
    assert!(matches!(agent(fails).get("http://h/").call(), Err(ureq::Error::StatusCode(500))));
    let config = Config::builder().http_status_as_error(false).build();
    let mut response = agent_with_config(fails, config).get("http://h/").call().unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "sorry");
}

#[test]
fn configuration_of_a_request_replaces_that_of_its_agent() {
    let of_status = |status: u16| {
        agent_of(move |_| respond(status, &[("location", "http://h/other")], "text"))
            .get("http://h/")
            .config()
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .call()
            .unwrap()
    };
    assert_eq!(of_status(500).status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(of_status(302).status(), StatusCode::FOUND);
    let agent = agent_of(|_| empty_response());
    let refused = agent.get("http://h/").config().https_only(true).build().call();
    assert!(matches!(refused, Err(ureq::Error::RequireHttpsOnly(_))), "{refused:?}");
}

#[test]
fn redirects_are_followed_through_round_trips() {
    let redirecting = || {
        RoundTripFn(|request: Request<Body>| match request.uri().to_string().as_str() {
            "http://a/1/x" => respond(302, &[("location", "y?z")], "moved"),
            "http://a/1/y?z" => respond(301, &[("location", "https://b/2")], pieces(40_000, None, None)),
            "https://b/2" => respond(200, &[], "there"),
            url => panic!("unexpected request for {url}"),
        })
    };
    let mut response = agent(redirecting()).get("http://a/1/x").call().unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "there");
    let config = Config::builder().max_redirects(0).build();
    let mut response = agent_with_config(redirecting(), config).get("http://a/1/x").call().unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "moved");
}

#[test]
fn large_body_is_streamed_as_it_is_read() {
    const SIZE: usize = 5 << 20;
    for length in [Some(SIZE as u64), None] {
        let (largest, given) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        struct Counting<R>(R, Arc<AtomicU64>);
        impl<R: Read> Read for Counting<R> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.read(buffer)?;
                self.1.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
        }
        let (seen_largest, seen_given) = (Arc::clone(&largest), Arc::clone(&given));
        let agent = agent_of(move |_| {
            let body = Pieces { left: SIZE, largest: Arc::clone(&seen_largest), end: None };
            let body = Counting(body, Arc::clone(&seen_given));
            respond(200, &[], Body::from_reader(body, length))
        });
        let response = agent.get("http://h/").call().unwrap();
        assert_eq!(response.body().content_length(), length);
        let mut reader = response.into_body().into_reader();
        let mut start = vec![0; 1 << 20];
        reader.read_exact(&mut start).unwrap();
        assert!(given.load(Ordering::Relaxed) < 2 << 20);
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), (SIZE - (1 << 20)) as u64);
        assert!(largest.load(Ordering::Relaxed) <= 128 << 10);
    }
}

#[test]
fn body_without_a_proven_end_is_not_reported_complete() {
    let agent = agent_of(|request| {
        let end = (request.uri().path() == "/cut").then_some(ErrorKind::IncompleteBody);
        let body = Pieces { left: 300_000, largest: Arc::default(), end };
        respond(200, &[("content-length", "300000")], Body::until_close(body))
    });
    let mut whole = agent.get("http://h/").call().unwrap();
    assert!(!whole.headers().contains_key("content-length"));
    assert!(!whole.headers().contains_key("transfer-encoding"));
    assert_eq!(whole.body_mut().read_to_vec().unwrap().len(), 300_000);
    let error = agent.get("http://h/cut").call().unwrap().body_mut().read_to_vec().unwrap_err();
    assert_eq!(Error::from(error.into_io()).kind(), ErrorKind::IncompleteBody);
}

#[test]
fn failed_body_never_ends_and_reports_why() {
    for (length, end) in [
        (Some(100_001), Some(ErrorKind::IncompleteBody)),
        (None, Some(ErrorKind::IncompleteBody)),
        (None, Some(ErrorKind::Timeout)),
        // All bytes arrive before the failure.
        (Some(100_000), Some(ErrorKind::Unreachable)),
    ] {
        let agent = agent_of(move |_| respond(200, &[], pieces(100_000, length, end)));
        let mut reader = agent.get("http://h/").call().unwrap().into_body().into_reader();
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).unwrap_err();
        assert_eq!(Some(Error::from(error).kind()), end);
        // A second read must not report the end.
        let error = reader.read(&mut [0; 10]).unwrap_err();
        assert_eq!(Some(Error::from(error).kind()), end);
    }
}

#[test]
fn body_of_the_wrong_length_is_an_error() {
    for (length, kind) in [(9, ErrorKind::BadResponse), (11, ErrorKind::IncompleteBody)] {
        let agent = agent_of(move |_| respond(200, &[], pieces(10, Some(length), None)));
        let error = agent.get("http://h/").call().unwrap().body_mut().read_to_vec().unwrap_err();
        let error = Error::from(error.into_io());
        assert_eq!(error.kind(), kind);
        assert_eq!(error.url(), Some("http://h/"));
    }
    let agent = agent_of(|_| respond(200, &[], pieces(10, Some(0), None)));
    assert!(agent.get("http://h/").call().is_err());
}

#[test]
fn end_of_a_body_of_known_length_is_read() {
    struct Ends(bool, Arc<AtomicUsize>);
    impl Read for Ends {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                self.1.fetch_add(1, Ordering::Relaxed);
                return Ok(0);
            }
            buffer[0] = b'x';
            Ok(1)
        }
    }
    let ends = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ends);
    let agent =
        agent_of(move |_| respond(200, &[], Body::from_reader(Ends(false, Arc::clone(&seen)), Some(1))));
    let mut response = agent.get("http://h/").call().unwrap();
    assert_eq!(ends.load(Ordering::Relaxed), 0);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "x");
    assert_eq!(ends.load(Ordering::Relaxed), 1);
}

#[test]
fn error_of_the_round_trip_is_preserved() {
    let error = agent(Offline).get("http://h/a?secret").call().unwrap_err();
    let error = Error::from(error.into_io());
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.url(), Some("http://h/a"));

    let slow = agent_of(|_| Err(Error::new(ErrorKind::Timeout, "slow").with_peer("http://p")));
    let Err(ureq::Error::Io(error)) = slow.get("http://h/").call() else {
        panic!("another error than that of the round trip");
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(Error::from(error).peer(), Some("http://p"));
}

#[test]
fn interim_response_is_rejected() {
    for status in [100, 101, 103] {
        let agent = agent_of(move |_| respond(status, &[], ()));
        let error = agent.get("http://h/").call().unwrap_err();
        assert_eq!(Error::from(error.into_io()).kind(), ErrorKind::BadResponse);
    }
}

#[test]
fn response_fields_keep_duplicates_and_all_bytes() {
    let agent = agent_of(|_| {
        let mut response = respond(
            299,
            &[
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-empty", ""),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("transfer-encoding", "gzip, chunked"),
            ],
            "hello",
        )?;
        let value = http::HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").unwrap();
        response.headers_mut().insert("x-bytes", value);
        Ok(response)
    });
    let mut response = agent.get("http://h/").call().unwrap();
    let headers = response.headers();
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(headers["x-bytes"].as_bytes(), b"caf\xc3\xa9 \xff");
    assert_eq!(headers["x-empty"], "");
    assert!(!headers.contains_key("x-hop") && !headers.contains_key("transfer-encoding"));
    assert_eq!(response.status().as_u16(), 299);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "hello");
}

#[test]
fn proxy_is_not_used() {
    let config = Config::builder().proxy(Some(Proxy::new("http://127.0.0.1:1").unwrap())).build();
    let answer = RoundTripFn(|request: Request<Body>| {
        assert_eq!(request.uri(), "https://example.com/a");
        empty_response()
    });
    assert!(agent_with_config(answer, config).get("https://example.com/a").call().is_ok());
}

#[test]
fn smallest_buffers_suffice() {
    let config = Config::builder().input_buffer_size(0).output_buffer_size(0).build();
    let agent = agent_with_config(
        RoundTripFn(|request: Request<Body>| respond(200, &[], request.into_body())),
        config,
    );
    let body = vec![b'a'; 100_000];
    let mut reader = &body[..];
    let request = agent.post("http://h/").header("expect", "100-continue");
    let mut response = request.send(SendBody::from_reader(&mut reader)).unwrap();
    assert!(response.body_mut().read_to_vec().unwrap() == body);

    let agent = agent_with_config(
        RoundTripFn(|_: Request<Body>| respond(200, &[], pieces(100_000, None, None))),
        Config::builder().input_buffer_size(1).build(),
    );
    assert_eq!(agent.get("http://h/").call().unwrap().body_mut().read_to_vec().unwrap().len(), 100_000);
}

#[test]
fn threads_share_an_agent() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let agent = agent_of(move |request| {
        seen.fetch_add(1, Ordering::Relaxed);
        respond(200, &[], request.uri().path().to_owned())
    });
    thread::scope(|scope| {
        for thread in 0..8 {
            let agent = &agent;
            scope.spawn(move || {
                for turn in 0..100 {
                    let url = format!("https://h/{thread}/{turn}");
                    let text = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
                    assert_eq!(text, format!("/{thread}/{turn}"));
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 800);
}

/// Waits until the other end is dropped.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Read for Stuck {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.lock().unwrap().recv();
        Ok(0)
    }
}

#[test]
fn head_timeouts_become_the_deadline() {
    const SHORT: Duration = Duration::from_millis(100);
    // Waits until its deadline, like a silent origin.
    let waiting = || {
        agent_of(|request| {
            let deadline = Deadline::of(request.extensions()).expect("there is a limit");
            let left = deadline.remaining(Instant::now()).unwrap();
            assert!(left <= SHORT && deadline.is_for_head() == (request.uri().path() == "/head"));
            thread::park_timeout(left);
            while !deadline.is_over(Instant::now()) {}
            Err(Error::new(ErrorKind::Timeout, "no answer in time"))
        })
    };
    let of_request = waiting();
    let head = of_request.get("http://h/head").config().timeout_recv_response(Some(SHORT)).build().call();
    assert!(matches!(head, Err(ureq::Error::Timeout(ureq::Timeout::RecvResponse))), "{head:?}");
    let all = of_request.get("http://h/all").config().timeout_global(Some(SHORT)).build().call();
    assert!(matches!(all, Err(ureq::Error::Timeout(ureq::Timeout::Global))), "{all:?}");

    let config = Config::builder().timeout_recv_response(Some(SHORT)).proxy(None).build();
    let of_agent = agent_with_config(
        RoundTripFn(|request: Request<Body>| {
            assert!(Deadline::of(request.extensions()).is_some_and(|deadline| deadline.is_for_head()));
            empty_response()
        }),
        config,
    );
    assert!(of_agent.get("http://h/").call().is_ok());
    let unlimited = agent_of(|request| {
        assert_eq!(Deadline::of(request.extensions()), None);
        empty_response()
    });
    assert!(unlimited.get("http://h/").call().is_ok());
}

#[test]
fn body_timeouts_end_the_read() {
    const SHORT: Duration = Duration::from_millis(500);
    let stuck = |config: Config| {
        let (keep, held) = std::sync::mpsc::channel();
        let held = std::sync::Mutex::new(Some(held));
        let agent = agent_with_config(
            RoundTripFn(move |_| {
                let held = held.lock().unwrap().take().unwrap();
                let body = (&b"begun"[..]).chain(Stuck(std::sync::Mutex::new(held)));
                respond(200, &[], Body::from_reader(body, None))
            }),
            config,
        );
        (agent, keep)
    };
    let none = || Config::builder().proxy(None);
    let by_agent = [
        (none().timeout_global(Some(SHORT)).build(), ureq::Timeout::Global),
        (none().timeout_recv_body(Some(SHORT)).build(), ureq::Timeout::RecvBody),
        (none().timeout_per_call(Some(SHORT)).build(), ureq::Timeout::PerCall),
    ];
    let read = |response: Response<ureq::Body>| {
        let mut bytes = Vec::new();
        let error = response.into_body().into_reader().read_to_end(&mut bytes).unwrap_err();
        assert_eq!(bytes, b"begun");
        ureq::Error::from(error)
    };
    for (config, expected) in by_agent {
        let (agent, _keep) = stuck(config);
        let failure = read(agent.get("http://h/").call().unwrap());
        assert!(matches!(failure, ureq::Error::Timeout(reason) if reason == expected), "{failure:?}");
    }
    let (agent, _keep) = stuck(none().build());
    let request = agent.get("http://h/").config().timeout_recv_body(Some(SHORT)).build();
    let failure = read(request.call().unwrap());
    assert!(matches!(failure, ureq::Error::Timeout(ureq::Timeout::RecvBody)), "{failure:?}");

    // A body within the limit arrives completely.
    let agent = agent_with_config(
        RoundTripFn(|_| respond(200, &[], pieces(100_000, None, None))),
        none().timeout_global(Some(Duration::from_secs(60))).build(),
    );
    let mut response = agent.get("http://h/").call().unwrap();
    assert_eq!(response.body_mut().read_to_vec().unwrap().len(), 100_000);
}
