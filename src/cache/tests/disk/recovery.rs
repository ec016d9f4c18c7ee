//! Bodies that turn out to be damaged while they are sent.

use super::*;
use crate::message::body_piece::BodyPiece;
use crate::store::Tier;

const LENGTH: usize = 3_000_000;

/// The place of the damaged byte, and the beginning of its block.
const DAMAGED: usize = 200_000;
const BLOCK: usize = DAMAGED / (64 * 1024) * 64 * 1024;

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 5 % 251).to_le_bytes()[0]).collect()
}

impl Restarted {
    /// A cache whose stored body has a wrong byte.
    fn with_damage(fields: Fields, length: usize) -> Self {
        let mut cache = Self::new(8 << 20);
        cache.answer(200, fields, body(length));
        assert!(cache.read_whole(&[]).1.is_ok());
        cache.restart(1);
        cache.damage(DAMAGED);
        cache
    }

    fn read_whole(&self, fields: &[(&str, &str)]) -> (Option<Outcome>, Result<Vec<u8>>) {
        let response = self.send("GET", URL, fields).unwrap();
        (Outcome::of(response.headers()), response.into_body().into_bytes().map(Vec::from))
    }

    fn answer_range(&self, tag: &str, range: std::ops::Range<usize>, length: usize) {
        let place = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        let fields = [("cache-control", "max-age=60"), ("etag", tag), ("content-range", &*place)];
        self.answer(206, &fields, body(length)[range].to_vec());
    }
}

#[test]
fn the_rest_of_a_damaged_body_comes_from_the_origin() {
    for length in [300_000, LENGTH] {
        let mut cache = Restarted::with_damage(FRESH, length);
        cache.answer_range("\"1\"", BLOCK..length, length);
        let (outcome, read) = cache.read_whole(&[]);
        assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(length));
        let asked = cache.last_asked();
        let range = format!("bytes={BLOCK}-{}", length - 1);
        assert_eq!((asked.field("range"), asked.field("if-range")), (Some(&*range), Some("\"1\"")));
        assert_eq!(cache.times_asked(), 1);
        // The damaged response is gone.
        cache.restart(1);
        cache.answer(200, FRESH, body(length));
        let (outcome, read) = cache.read_whole(&[]);
        assert!(matches!(outcome, Some(Outcome::Miss(_))) && read.unwrap() == body(length));
        cache.restart(1);
        let (outcome, read) = cache.read_whole(&[]);
        assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(length));
    }
}

#[test]
fn a_range_gets_only_its_own_rest() {
    let cache = Restarted::with_damage(FRESH, LENGTH);
    cache.answer_range("\"1\"", BLOCK..1_000_000, LENGTH);
    let (outcome, read) = cache.read_whole(&[("range", "bytes=70000-999999")]);
    assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(LENGTH)[70_000..1_000_000]);
    assert_eq!(cache.last_asked().field("range"), Some(&*format!("bytes={BLOCK}-999999")));
}

#[test]
fn an_origin_without_ranges_sends_the_whole_which_is_stored() {
    let mut cache = Restarted::with_damage(FRESH, LENGTH);
    cache.answer(200, FRESH, Body::from_reader(io::Cursor::new(body(LENGTH)), Some(LENGTH as u64)));
    assert!(cache.read_whole(&[]).1.unwrap() == body(LENGTH));
    cache.restart(1);
    let (outcome, read) = cache.read_whole(&[]);
    assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(LENGTH));
    assert_eq!(cache.times_asked(), 0);
}

#[test]
fn another_body_is_never_joined_to_the_beginning() {
    let answers: [fn(&Restarted); 6] = [
        |cache| cache.answer_range("\"2\"", BLOCK..LENGTH, LENGTH),
        |cache| cache.answer_range("W/\"1\"", BLOCK..LENGTH, LENGTH),
        |cache| cache.answer_range("\"1\"", BLOCK + 1..LENGTH, LENGTH),
        |cache| _ = cache.answer(200, &[("etag", "\"2\"")], body(LENGTH)),
        |cache| _ = cache.answer(200, &[("etag", "\"1\"")], body(LENGTH - 1)),
        |cache| _ = cache.fail(ErrorKind::Unreachable),
    ];
    for answer in answers {
        let cache = Restarted::with_damage(FRESH, LENGTH);
        answer(&cache);
        assert!(cache.read_whole(&[]).1.is_err());
        assert_eq!(cache.times_asked(), 1);
    }
}

#[test]
fn the_origin_is_not_asked_for_a_rest_that_the_client_does_not_want() {
    let cache = Restarted::with_damage(FRESH, LENGTH);
    assert!(cache.read_whole(&[("cache-control", "only-if-cached")]).1.is_err());
    let offline = Restarted::with_damage(FRESH, LENGTH);
    offline.cache.set_offline(true);
    let error = format!("{:#}", offline.read_whole(&[]).1.unwrap_err());
    assert!(error.contains("checksum"), "{error}");
    assert_eq!((cache.times_asked(), offline.times_asked()), (0, 0));
}

const WITHOUT_PROOF: [Fields; 3] = [
    &[("cache-control", "max-age=60")],
    &[("cache-control", "max-age=60"), ("etag", "W/\"1\"")],
    &[("cache-control", "max-age=60"), ("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT")],
];

fn streamed(bytes: Vec<u8>) -> Body {
    let length = Some(bytes.len() as u64);
    Body::from_reader(io::Cursor::new(bytes), length)
}

#[test]
fn a_damaged_body_in_a_store_that_is_only_read_is_completed_too() {
    for fields in WITHOUT_PROOF {
        let mut cache = Restarted::with_damage(fields, LENGTH);
        cache.is_read_only = true;
        cache.restart(1);
        for _ in 0..2 {
            cache.answer(200, fields, streamed(body(LENGTH)));
            let (outcome, read) = cache.read_whole(&[]);
            assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(LENGTH));
        }
        assert_eq!(cache.times_asked(), 2);
    }
}

#[test]
fn without_a_strong_tag_an_equal_whole_completes_a_damaged_body_and_is_stored() {
    for fields in WITHOUT_PROOF {
        for (range, expected) in [(None, 0..LENGTH), (Some("bytes=70000-999999"), 70_000..1_000_000)] {
            let mut cache = Restarted::with_damage(fields, LENGTH);
            cache.answer(200, fields, streamed(body(LENGTH)));
            let range: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
            let (outcome, read) = cache.read_whole(&range);
            assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(LENGTH)[expected]);
            assert_eq!((cache.last_asked().field("range"), cache.times_asked()), (None, 1));
            if range.is_empty() {
                cache.restart(1);
                let (outcome, read) = cache.read_whole(&[]);
                assert!(outcome == Some(Outcome::Hit) && read.unwrap() == body(LENGTH));
            }
        }
    }
}

#[test]
fn without_a_strong_tag_another_whole_is_never_joined_to_the_beginning() {
    const FIELDS: Fields = WITHOUT_PROOF[1];
    let changed = |at: usize| {
        let mut bytes = body(LENGTH);
        bytes[at] ^= 1;
        streamed(bytes)
    };
    let answers: [&dyn Fn(&Restarted); 8] = [
        &|cache| _ = cache.answer(200, FIELDS, changed(0)),
        &|cache| _ = cache.answer(200, FIELDS, changed(BLOCK - 1)),
        &|cache| _ = cache.answer(200, FIELDS, streamed(body(LENGTH - 1))),
        &|cache| _ = cache.answer(200, FIELDS, Body::from_reader(io::Cursor::new(body(LENGTH)), None)),
        &|cache| _ = cache.answer(200, WITHOUT_PROOF[0], streamed(body(LENGTH))),
        &|cache| {
            _ = cache.answer(200, &[FIELDS, &[("content-type", "a/b")]].concat(), streamed(body(LENGTH)));
        },
        &|cache| _ = cache.answer(404, FIELDS, streamed(body(LENGTH))),
        &|cache| _ = cache.fail(ErrorKind::Unreachable),
    ];
    for (number, answer) in answers.iter().enumerate() {
        let cache = Restarted::with_damage(FIELDS, LENGTH);
        answer(&cache);
        let mut read = Vec::new();
        let mut response = cache.send("GET", URL, &[]).unwrap().into_body();
        assert!(response.read_to_end(&mut read).is_err(), "{number}");
        assert!(read == body(LENGTH)[..BLOCK], "{number}: {}", read.len());
        assert_eq!(cache.times_asked(), 1);
    }
}

#[test]
fn readers_of_a_damaged_body_without_a_strong_tag_share_one_fetch() {
    let cache = Restarted::with_damage(WITHOUT_PROOF[0], LENGTH);
    let mut readers: Vec<_> = (0..4).map(|_| cache.send("GET", URL, &[]).unwrap().into_body()).collect();
    // All of them have begun.
    for reader in &mut readers {
        reader.read_exact(&mut [0; 100]).unwrap();
    }
    cache.answer(200, WITHOUT_PROOF[0], streamed(body(LENGTH)));
    thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                assert!(read == body(LENGTH)[100..]);
            });
        }
    });
    assert_eq!(cache.times_asked(), 1);
}

#[test]
fn damage_at_the_first_byte_of_a_range_is_a_miss() {
    for fields in [WITHOUT_PROOF[0], FRESH] {
        let cache = Restarted::with_damage(fields, LENGTH);
        cache.answer_range("\"1\"", 199_999..210_000, LENGTH);
        let (outcome, read) = cache.read_whole(&[("range", "bytes=199999-209999")]);
        assert!(matches!(outcome, Some(Outcome::Miss(_))) && read.unwrap() == body(LENGTH)[199_999..210_000]);
    }
}

#[test]
fn a_reader_that_never_waits_gets_the_rest_through_a_worker() {
    use crate::message::body::PollRead;
    for fields in [FRESH, WITHOUT_PROOF[0]] {
        let cache = Restarted::with_damage(fields, LENGTH);
        if fields == FRESH {
            cache.answer_range("\"1\"", BLOCK..LENGTH, LENGTH);
        } else {
            cache.answer(200, fields, streamed(body(LENGTH)));
        }
        let whole = cache.send("GET", URL, &[]).unwrap().into_body();
        let (mut stream, length) = whole.into_poll_body().unwrap();
        assert_eq!(length, Some(LENGTH as u64));
        let (woken, wait) = mpsc::channel();
        let wake: crate::message::body::Wake = Arc::new(move || _ = woken.send(()));
        let (mut read, mut drivers) = (Vec::new(), Vec::new());
        loop {
            match stream.poll_read(100_000, &wake).unwrap() {
                PollRead::Bytes(bytes) => read.extend_from_slice(&bytes),
                PollRead::Pending => {
                    drivers.extend(stream.driver().map(thread::spawn));
                    wait.recv_timeout(LONG).unwrap();
                }
                PollRead::End => break,
            }
        }
        assert!(read == body(LENGTH) && !drivers.is_empty());
        drivers.into_iter().for_each(|driver| driver.join().unwrap());
    }
}

#[test]
fn a_hit_on_a_plain_request_recovers_with_the_fields_that_selected_the_response() {
    const VARYING: Fields =
        &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("vary", "accept-language")];
    let mut cache = Restarted::new(8 << 20);
    cache.answer(200, VARYING, body(LENGTH));
    assert!(cache.send("GET", URL, &[("accept-language", "de")]).unwrap().into_body().into_bytes().is_ok());
    cache.restart(1);
    cache.damage(DAMAGED);
    let found = cache.disk.as_ref().unwrap().find(&Key::new(URL)).unwrap();
    cache.answer_range("\"1\"", BLOCK..LENGTH, LENGTH);
    let remote = found[0].remote().unwrap();
    let recovering = cache.cache.inner.recovering_hit(BodyPiece::default(), remote, &found[0], URL);
    assert!(recovering.into_bytes().unwrap() == body(LENGTH));
    let asked = cache.last_asked();
    assert_eq!((asked.field("accept-language"), asked.field("if-range")), (Some("de"), Some("\"1\"")));
    assert!(asked.field("via").is_some());
    // When the cache is gone, the error of the disk is left.
    let found = {
        let other = Restarted::with_damage(FRESH, LENGTH);
        let found = other.disk.as_ref().unwrap().find(&Key::new(URL)).unwrap();
        let remote = found[0].remote().unwrap();
        other.cache.inner.recovering_hit(BodyPiece::default(), remote, &found[0], URL)
    };
    assert!(found.into_bytes().is_err());
}

#[test]
fn the_response_to_a_post_is_never_completed_by_a_get() {
    let keys = tempfile::tempdir().unwrap();
    let mut cache = Restarted::new(8 << 20);
    cache.key = Some(keys.path().join("key"));
    cache.restart(0);
    let post = |cache: &Restarted| {
        let request = Request::post(URL).body(Body::from("question")).unwrap();
        let response = cache.cache.round_trip(request).unwrap();
        (Outcome::of(response.headers()), response.into_body().into_bytes())
    };
    cache.answer(200, FRESH, body(LENGTH));
    assert!(post(&cache).1.is_ok());
    cache.restart(1);
    cache.damage(DAMAGED);
    cache.answer_range("\"1\"", BLOCK..LENGTH, LENGTH);
    let (outcome, read) = post(&cache);
    assert!(outcome == Some(Outcome::Hit) && read.is_err());
    assert_eq!(cache.times_asked(), 0);
}
