use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn upload(length: Option<u64>, wake: Wake) -> (UploadWriter, Body) {
    super::upload(UploadLimits::new(1).acquire(None, None).unwrap(), &Ledger::new(u64::MAX), length, wake)
}

fn counting() -> (Arc<AtomicUsize>, Wake) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    (
        count,
        Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }),
    )
}

#[test]
fn pieces_are_read_in_order() {
    let (upload, body) = upload(Some(5), counting().1);
    let reading = std::thread::spawn(|| body.into_text());
    upload.push(b"ab");
    upload.push(b"");
    upload.push(b"cde");
    upload.finish();
    assert_eq!(reading.join().unwrap().unwrap(), "abcde");
}

#[test]
fn uploads_get_half_of_the_workers_and_an_eighth_for_each_origin() {
    let limits = UploadLimits::new(16);
    let origin = |name: &str| Some(CanonicalUrl::parse(&format!("http://{name}/")).unwrap());
    let take = |name: &str| limits.acquire(origin(name), None);
    let of_one: Vec<UploadPermit> = std::iter::from_fn(|| take("a")).collect();
    let others: Vec<UploadPermit> = std::iter::from_fn(|| limits.acquire(None, None)).collect();
    assert_eq!((of_one.len(), others.len()), (2, 6));
    assert!(take("b").is_none());
    drop(of_one);
    assert!(take("a").is_some());
}

#[test]
fn uploads_of_one_client_get_an_eighth_of_the_workers() {
    let limits = UploadLimits::new(64);
    let client = |number| Some(ClientAddress::of([10, 0, 0, number].into()));
    let origin = |name: usize| CanonicalUrl::parse(&format!("http://origin-{name}/")).ok();
    let of_one: Vec<UploadPermit> =
        (0..20).filter_map(|name| limits.acquire(origin(name), client(1))).collect();
    assert_eq!(of_one.len(), 8);
    assert!(limits.acquire(origin(0), client(2)).is_some() && limits.acquire(origin(0), None).is_some());
    drop(of_one);
    assert!(limits.counts.lock().by_client.is_empty() && limits.counts.lock().by_origin.is_empty());
}

#[test]
fn the_number_of_collected_bodies_of_one_client_is_limited() {
    let limits = UploadLimits::new(1);
    let client = |number| Some(ClientAddress::of([10, 0, 0, number].into()));
    let held: Vec<CollectPermit> = std::iter::from_fn(|| limits.acquire_collecting(client(1))).collect();
    assert_eq!(held.len(), MAX_COLLECTING);
    assert!(limits.acquire_collecting(client(2)).is_some() && limits.acquire_collecting(None).is_some());
    drop(held);
    assert!(limits.acquire_collecting(client(1)).is_some() && limits.collecting.lock().is_empty());
}

#[test]
fn small_pieces_have_no_overhead_and_stop_at_the_memory_limit() {
    let ledger = Ledger::new(1000);
    let (upload, body) =
        super::upload(UploadLimits::new(1).acquire(None, None).unwrap(), &ledger, None, counting().1);
    let counts = (0..2000).take_while(|_| upload.push(b"x")).count();
    assert_eq!((counts, ledger.held(MemoryUse::Content)), (1000, 1000));
    assert!(upload.shared.state.lock().bytes.capacity() <= 1024);
    drop(body);
    assert_eq!(ledger.held(MemoryUse::Content), 0);
}

#[test]
fn an_incomplete_body_is_an_error() {
    let (upload, body) = upload(None, counting().1);
    upload.push(b"ab");
    drop(upload);
    assert_eq!(body.into_bytes().unwrap_err().kind(), ErrorKind::IncompleteBody);
}

#[test]
fn a_full_buffer_has_room_again_after_a_read() {
    let (woken, wake) = counting();
    let (upload, mut body) = upload(None, wake);
    while upload.has_room() {
        upload.push(&[7; 1000]);
    }
    let mut buffer = [0; 1000];
    body.read_exact(&mut buffer).unwrap();
    assert!(upload.has_room());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    drop(body);
    assert!(upload.has_room());
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    upload.push(&[7; 1000]);
    assert_eq!(upload.shared.state.lock().bytes.len(), 0);
}
