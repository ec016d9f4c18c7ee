//! Transfers that end early: what has arrived stays on the disk, and is completed.

use super::*;

const LENGTH: usize = 5_000_000;

/// Blocks of 64 KiB are kept as a whole only.
const BLOCK: usize = 64 * 1024;

fn body() -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 5 % 251).to_le_bytes()[0]).collect()
}

/// A body that announces the whole length, and fails after so many bytes.
fn cut(after: usize) -> Body {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    Body::from_reader(io::Cursor::new(body()).take(after as u64).chain(Fails), Some(LENGTH as u64))
}

fn whole() -> Body {
    Body::from_reader(io::Cursor::new(body()), Some(LENGTH as u64))
}

fn from(start: usize) -> Body {
    Body::from_reader(io::Cursor::new(body()[start..].to_vec()), Some((LENGTH - start) as u64))
}

impl Restarted {
    fn read(&self, fields: &[(&str, &str)]) -> (u16, Outcome, Result<Vec<u8>>) {
        let response = self.send("GET", URL, fields).unwrap();
        let outcome = Outcome::of(response.headers()).unwrap();
        (response.status().as_u16(), outcome, response.into_body().into_bytes().map(Vec::from))
    }

    /// A cache that has the first 3 MB, and was opened again since.
    fn with_beginning(tag: &str) -> (Self, usize) {
        let mut cache = Self::new(1 << 20);
        cache.answer(200, &[("cache-control", "max-age=600"), ("etag", tag)], cut(3_000_000));
        assert!(cache.read(&[]).2.is_err());
        cache.restart(1);
        (cache, 3_000_000 / BLOCK * BLOCK)
    }

    fn answer_rest(&self, start: usize, tag: &str) {
        let range = format!("bytes {start}-{}/{LENGTH}", LENGTH - 1);
        let fields = [("cache-control", "max-age=600"), ("etag", tag), ("content-range", &*range)];
        self.answer(206, &fields, from(start));
    }

    #[track_caller]
    fn has_asked_for_the_rest(&self, start: usize) {
        let (asked, range) = (self.last_asked(), format!("bytes={start}-"));
        assert_eq!((asked.field("range"), asked.field("if-range")), (Some(&*range), Some("\"1\"")));
    }
}

#[test]
fn an_interrupted_transfer_is_completed_after_a_restart() {
    let (mut cache, kept) = Restarted::with_beginning("\"1\"");
    let (status, outcome, part) = cache.read(&[("range", "bytes=100-2000000")]);
    assert_eq!((status, outcome), (206, Outcome::Hit));
    assert!(part.unwrap() == body()[100..2_000_001]);
    assert_eq!(cache.times_asked(), 0);
    cache.answer_rest(kept, "\"1\"");
    let files = cache.files();
    let (status, outcome, read) = cache.read(&[]);
    assert_eq!((status, outcome), (200, Outcome::Miss(Forward::Partial)));
    // The rest was added to the file of the part.
    assert!(cache.disk.as_ref().unwrap().flush(LONG));
    assert!(files.len() == 1 && cache.files() == files);
    assert!(read.unwrap() == body());
    cache.has_asked_for_the_rest(kept);
    for _ in 0..2 {
        let (status, outcome, read) = cache.read(&[]);
        assert_eq!((status, outcome), (200, Outcome::Hit));
        assert!(read.unwrap() == body());
        // The digest of the whole was computed, and is checked.
        assert_eq!(cache.cache.stats().counts().store_errors, 0);
        cache.restart(1);
    }
    assert_eq!(cache.times_asked(), 0);
}

#[test]
fn an_open_range_gets_what_is_there_and_the_rest_of_the_origin() {
    let (cache, kept) = Restarted::with_beginning("\"1\"");
    cache.answer_rest(kept, "\"1\"");
    let (status, outcome, read) = cache.read(&[("range", "bytes=2500000-")]);
    assert_eq!((status, outcome), (206, Outcome::Miss(Forward::Partial)));
    assert!(read.unwrap() == body()[2_500_000..]);
    cache.has_asked_for_the_rest(kept);
    let (status, outcome, read) = cache.read(&[]);
    assert_eq!((status, outcome), (200, Outcome::Hit));
    assert!(read.unwrap() == body());
}

#[test]
fn a_rest_that_is_interrupted_too_makes_the_part_longer() {
    let (mut cache, kept) = Restarted::with_beginning("\"1\"");
    let range = format!("bytes {kept}-{}/{LENGTH}", LENGTH - 1);
    let fields = [("cache-control", "max-age=600"), ("etag", "\"1\""), ("content-range", &*range)];
    let (send, pipe) = pipe();
    send.send(Ok(Box::leak(body()[kept..kept + 50_000].to_vec().into_boxed_slice()))).unwrap();
    send.send(Ok(Box::leak(body()[kept + 50_000..kept + 100_000].to_vec().into_boxed_slice()))).unwrap();
    send.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
    cache.answer(206, &fields, Body::from_reader(pipe, Some((LENGTH - kept) as u64)));
    assert!(cache.read(&[]).2.is_err());
    cache.restart(1);
    cache.answer_rest(kept + BLOCK, "\"1\"");
    assert!(cache.read(&[]).2.unwrap() == body());
    cache.has_asked_for_the_rest(kept + BLOCK);
}

#[test]
fn a_part_that_is_stale_is_validated_when_it_is_completed() {
    let (mut cache, kept) = Restarted::with_beginning("\"1\"");
    cache.restart(1000);
    cache.answer_rest(kept, "\"1\"");
    let (_, outcome, read) = cache.read(&[]);
    assert_eq!(outcome, Outcome::Miss(Forward::Stale));
    assert!(read.unwrap() == body());
    cache.has_asked_for_the_rest(kept);
    assert_eq!(cache.read(&[]).1, Outcome::Hit);
}

#[test]
fn a_whole_response_takes_the_place_of_the_part() {
    let (cache, kept) = Restarted::with_beginning("\"1\"");
    cache.answer(200, &[("cache-control", "max-age=600"), ("etag", "\"2\"")], "another");
    let (status, _, read) = cache.read(&[]);
    assert_eq!((status, &*read.unwrap()), (200, &b"another"[..]));
    cache.has_asked_for_the_rest(kept);
    cache.get(&[]).is(Outcome::Hit, "another");
    // The same for a client that asks for a range.
    let (cache, _) = Restarted::with_beginning("\"1\"");
    cache.answer(200, &[("cache-control", "max-age=600"), ("etag", "\"2\"")], "another");
    let (status, _, read) = cache.read(&[("range", "bytes=3-"), ("if-range", "\"1\"")]);
    assert_eq!((status, &*read.unwrap()), (200, &b"another"[..]));
}

#[test]
fn a_rest_of_other_bytes_is_never_joined() {
    let answers: [fn(&Restarted, usize); 5] = [
        |cache, kept| cache.answer_rest(kept, "\"2\""),
        |cache, kept| cache.answer_rest(kept, "W/\"1\""),
        |cache, kept| cache.answer_rest(kept + 1, "\"1\""),
        |cache, kept| {
            let range = format!("bytes {kept}-{}/{}", LENGTH, LENGTH + 1);
            cache.answer(206, &[("etag", "\"1\""), ("content-range", &range)], "");
        },
        |cache, _| _ = cache.answer(416, &[("content-range", "bytes */100")], ""),
    ];
    for answer in answers {
        let (cache, kept) = Restarted::with_beginning("\"1\"");
        answer(&cache, kept);
        cache.answer(200, &[("cache-control", "max-age=600"), ("etag", "\"2\"")], "another");
        let (status, _, read) = cache.read(&[]);
        assert_eq!((status, &*read.unwrap()), (200, &b"another"[..]));
        assert_eq!(cache.last_asked().field("range"), None);
        cache.get(&[]).is(Outcome::Hit, "another");
    }
}

#[test]
fn what_could_not_be_completed_is_not_kept() {
    let sum = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    let unknown = Body::from_reader(cut(3_000_000), None);
    let wrong_digest = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("repr-digest", sum)];
    for (fields, body) in [
        (&[("cache-control", "max-age=60"), ("etag", "W/\"1\"")][..], cut(3_000_000)),
        (&[("cache-control", "max-age=60")][..], cut(3_000_000)),
        (&[("cache-control", "no-store"), ("etag", "\"1\"")][..], cut(3_000_000)),
        (FRESH, unknown),
        (&wrong_digest[..], whole()),
    ] {
        let mut cache = Restarted::new(1 << 20);
        cache.answer(200, fields, body);
        assert!(cache.read(&[]).2.is_err());
        cache.restart(1);
        cache.answer(200, FRESH, "whole");
        cache.get(&[]).is(Outcome::Miss(Forward::UriMiss), "whole");
        assert_eq!(cache.last_asked().field("range"), None);
    }
}

#[test]
fn a_client_that_leaves_leaves_a_part() {
    let mut cache = Restarted::new(1 << 20);
    cache.answer(200, FRESH, whole());
    let mut read = cache.send("GET", URL, &[]).unwrap().into_body();
    read.read_exact(&mut vec![0; 3_000_000]).unwrap();
    drop(read);
    cache.restart(1);
    let (status, outcome, part) = cache.read(&[("range", "bytes=0-999999")]);
    assert_eq!((status, outcome), (206, Outcome::Hit));
    assert!(part.unwrap() == body()[..1_000_000]);
    let asked = cache.times_asked();
    cache.answer(200, FRESH, "changed");
    cache.get(&[]).is(Outcome::Miss(Forward::Partial), "changed");
    assert_eq!(cache.times_asked(), asked + 1);
}

#[test]
fn a_stored_whole_stays_when_the_transfer_of_the_next_is_interrupted() {
    let cache = Restarted::new(1 << 20);
    cache.answer(200, FRESH, "old");
    cache.get(&[]);
    cache.pass(61);
    cache.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"2\"")], cut(3_000_000));
    assert!(cache.read(&[]).2.is_err());
    cache.fail(ErrorKind::Unreachable);
    cache.get(&[]).is(Outcome::StaleIfError(Forward::Stale), "old");
}

impl Restarted {
    fn answer_part(&self, range: std::ops::Range<usize>) {
        let place = format!("bytes {}-{}/{LENGTH}", range.start, range.end - 1);
        let fields = [("cache-control", "max-age=600"), ("etag", "\"1\""), ("content-range", &*place)];
        self.answer(206, &fields, Body::from(body()[range].to_vec()));
    }
}

/// Where a part is damaged, and the beginning of that block.
const DAMAGED: usize = 1_000_000;
const DAMAGED_BLOCK: usize = DAMAGED / (BLOCK + 4) * BLOCK;

#[test]
fn a_part_whose_first_block_is_damaged_is_fetched_anew_as_a_whole() {
    for (damaged, range) in [(10, None), (DAMAGED, Some("bytes=1000000-"))] {
        let (mut cache, _) = Restarted::with_beginning("\"1\"");
        cache.damage(damaged);
        match range {
            None => _ = cache.answer(200, FRESH, whole()),
            Some(_) => cache.answer_part(1_000_000..LENGTH),
        }
        let fields: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let (_, outcome, read) = cache.read(&fields);
        let start = if range.is_some() { 1_000_000 } else { 0 };
        assert_eq!(outcome, Outcome::Miss(Forward::UriMiss));
        assert!(read.unwrap() == body()[start..]);
        let asked = cache.last_asked();
        assert_eq!((asked.field("range"), asked.field("if-range"), cache.times_asked()), (range, None, 1));
        cache.restart(1);
        let (_, outcome, read) = cache.read(&fields);
        assert!(outcome == Outcome::Hit && read.unwrap() == body()[start..]);
    }
}

#[test]
fn a_range_of_a_part_that_is_damaged_later_gets_its_rest_from_the_origin() {
    let (cache, _) = Restarted::with_beginning("\"1\"");
    cache.damage(DAMAGED);
    cache.answer_part(DAMAGED_BLOCK..2_000_000);
    let (status, outcome, read) = cache.read(&[("range", "bytes=100-1999999")]);
    assert_eq!((status, outcome), (206, Outcome::Hit));
    assert!(read.unwrap() == body()[100..2_000_000]);
    let asked = cache.last_asked();
    let range = format!("bytes={DAMAGED_BLOCK}-1999999");
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some(&*range), Some("\"1\"")));
}

#[test]
fn a_part_without_a_strong_tag_that_is_damaged_is_compared_with_the_whole() {
    for changed in [None, Some(1_100_000)] {
        let mut cache = Restarted::new(1 << 20);
        let place = format!("bytes 1000000-3999999/{LENGTH}");
        let fields = [("cache-control", "max-age=600"), ("content-range", &*place)];
        let bytes = io::Cursor::new(body()[1_000_000..4_000_000].to_vec());
        cache.answer(206, &fields, Body::from_reader(bytes, Some(3_000_000)));
        assert_eq!(cache.read(&[("range", "bytes=1000000-3999999")]).0, 206);
        cache.restart(1);
        cache.damage(DAMAGED);
        let mut now = body();
        if let Some(at) = changed {
            now[at] ^= 1;
        }
        let now = Body::from_reader(io::Cursor::new(now), Some(LENGTH as u64));
        cache.answer(200, &[("cache-control", "max-age=600")], now);
        let (_, outcome, read) = cache.read(&[("range", "bytes=1050000-3000000")]);
        assert_eq!((outcome, cache.times_asked()), (Outcome::Hit, 1));
        match changed {
            None => assert!(read.unwrap() == body()[1_050_000..3_000_001]),
            Some(_) => assert!(read.is_err()),
        }
    }
}

#[test]
fn a_damaged_part_is_found_out_while_it_is_completed_and_is_never_a_whole() {
    for can_recover in [true, false] {
        let (cache, kept) = Restarted::with_beginning("\"1\"");
        cache.damage(DAMAGED);
        cache.answer_rest(kept, "\"1\"");
        if can_recover {
            cache.answer_part(DAMAGED_BLOCK..LENGTH);
        } else {
            cache.answer(200, &[("etag", "\"2\"")], "another");
        }
        let (status, outcome, read) = cache.read(&[]);
        assert_eq!((status, outcome), (200, Outcome::Miss(Forward::Partial)));
        assert!(if can_recover { read.unwrap() == body() } else { read.is_err() });
        assert!(cache.disk.as_ref().unwrap().flush(LONG));
        // The part is gone.
        cache.answer(200, FRESH, "whole");
        assert_eq!(cache.read(&[]).2.unwrap(), b"whole");
        assert_eq!(cache.last_asked().field("range"), None);
        cache.get(&[]).is(Outcome::Hit, "whole");
    }
}

#[test]
fn parts_of_every_size_survive_a_restart_and_the_longer_one_stays() {
    let mut cache = Restarted::new(1 << 20);
    let part = |cache: &Restarted, start: usize, end: usize| {
        let range = format!("bytes {start}-{}/{LENGTH}", end - 1);
        let fields = [("cache-control", "max-age=600"), ("etag", "\"1\""), ("content-range", &*range)];
        let bytes = io::Cursor::new(body()[start..end].to_vec());
        cache.answer(206, &fields, Body::from_reader(bytes, Some((end - start) as u64)));
        let asked = format!("bytes={start}-{}", end - 1);
        let (status, _, read) = cache.read(&[("range", &asked)]);
        assert_eq!(status, 206);
        assert!(read.unwrap() == body()[start..end]);
    };
    let is_hit = |cache: &Restarted, start: usize, end: usize| {
        let asked = format!("bytes={start}-{}", end - 1);
        let (_, outcome, read) = cache.read(&[("range", &asked), ("cache-control", "only-if-cached")]);
        outcome == Outcome::Hit && read.unwrap() == body()[start..end]
    };
    part(&cache, 10, 20);
    cache.restart(1);
    assert!(is_hit(&cache, 12, 18));
    // Neighbours are joined, also with what is on the disk only.
    cache.restart(1);
    part(&cache, 20, 100_000);
    cache.restart(1);
    assert!(is_hit(&cache, 12, 99_999));
    // One that is larger than memory takes is stored while it streams, and a shorter one does not replace it.
    part(&cache, 1_000_000, 4_000_000);
    cache.restart(1);
    assert!(is_hit(&cache, 1_500_000, 3_999_999));
    part(&cache, 10, 20);
    assert!(is_hit(&cache, 1_000_000, 3_999_999) && !is_hit(&cache, 10, 20));
    cache.cache.purge(&Purge::url(URL).unwrap());
    cache.restart(1);
    assert!(!is_hit(&cache, 1_500_000, 3_999_999));
}

#[test]
fn a_part_is_not_completed_beyond_the_max_body_of_the_cache() {
    let (cache, kept) = Restarted::with_beginning("\"1\"");
    let folder = cache.folder.path().to_owned();
    let Restarted { disk, scene, folder: _folder, .. } = cache;
    drop((scene, disk));
    for (max_body, is_stored) in [(LENGTH as u64 - 1, false), (LENGTH as u64, true)] {
        let disk = DiskStore::open(&folder).unwrap();
        let cache = Scene::built(|cache| cache.disk_store(&disk).max_body(max_body));
        let range = format!("bytes {kept}-{}/{LENGTH}", LENGTH - 1);
        let fields = [("cache-control", "max-age=600"), ("etag", "\"1\""), ("content-range", &*range)];
        cache.answer(206, &fields, from(kept));
        assert!(cache.send("GET", URL, &[]).unwrap().into_body().into_bytes().unwrap() == body());
        assert!(disk.flush(LONG));
        let lengths: Vec<_> = disk.entries().map(|entry| entry.unwrap().body_length()).collect();
        assert_eq!(lengths, [if is_stored { LENGTH } else { kept } as u64]);
    }
}
