//! Files that are still written: what the index has of them, and how they are continued.

use std::sync::mpsc;

use http::StatusCode;
use http::header::{CONTENT_RANGE, ETAG};
use parking_lot::Mutex;

use super::*;
use crate::message::pieces::Pieces;
use crate::store::RemoteBody;
use crate::store::disk::body_file::{BLOCK, file_length};

const WHOLE: u64 = 20 << 20;

/// The first `length` bytes of a whole, in this file.
fn part(spill: &Arc<dyn Spill>, length: u64, tag: &'static str) -> Arc<StoredResponse> {
    let like = response("a", 1);
    let mut headers = like.headers();
    headers.insert(ETAG, HeaderValue::from_static(tag));
    let range = format!("bytes 0-{}/{WHOLE}", length - 1);
    headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap());
    let (validity, variant) = (*like.validity(), like.variant().clone());
    let status = StatusCode::PARTIAL_CONTENT;
    let part = StoredResponse::with_digest(status, &headers, Pieces::new(), None, validity, variant);
    Arc::new(part.with_remote(RemoteBody::on_disk(length, Arc::clone(spill) as _)))
}

fn write(spill: &Arc<dyn Spill>, blocks: u8) {
    for block in 0..blocks {
        spill.write(&vec![block; BLOCK]).unwrap();
    }
}

/// The part that is found under a key, which is read to its end.
fn found_part(scene: &Scene, number: u64) -> Option<Arc<StoredResponse>> {
    let found = scene.store().find(&key(number)).unwrap().pop()?;
    let remote = found.remote().unwrap();
    let ledger = Ledger::new(1 << 30);
    let body = StoredReader::body(Arc::clone(&remote.source), 0..remote.length, ledger);
    assert_eq!(body.into_bytes().unwrap().len() as u64, remote.length);
    Some(found)
}

/// Begins a body under key 1, of which the index has three blocks.
fn growing(scene: &Scene) -> Arc<dyn Spill> {
    let spill = scene.store().begin(Some(WHOLE), u64::MAX).unwrap();
    write(&spill, 3);
    let (number, length) = spill.written();
    assert!(scene.store().put_growing(&key(1), &part(&spill, length, "\"1\""), number));
    assert!(scene.store().flush(LONG));
    spill
}

#[test]
fn what_the_index_has_of_an_unfinished_body_is_there_after_a_crash() {
    let mut scene = Scene::new();
    let spill = growing(&scene);
    write(&spill, 2);
    assert_eq!(found_part(&scene, 1).unwrap().body_length(), 3 * BLOCK);
    // As a crash leaves it: the file is longer than the index says.
    spill.finish_beginning();
    drop(spill);
    scene.reopen();
    let file = |scene: &Scene| fs::metadata(&scene.files()[0]).unwrap().len();
    assert_eq!(file(&scene), file_length(5 * BLOCK as u64));
    scene.store().core().cut_unfinished().unwrap();
    assert_eq!(file(&scene), file_length(3 * BLOCK as u64));
    assert_eq!(found_part(&scene, 1).unwrap().body_length(), 3 * BLOCK);
    let index = scene.store().core().index().unwrap();
    assert!(index.snapshot().unwrap().growing().unwrap().is_empty());
}

#[test]
fn file_of_a_part_is_continued_by_one_transfer_at_a_time() {
    let mut scene = Scene::new();
    let spill = scene.store().begin(Some(WHOLE), u64::MAX).unwrap();
    write(&spill, 4);
    let (number, length) = spill.finish_beginning();
    assert!(scene.store().put_spilled(&key(1), &part(&spill, length, "\"1\""), number));
    drop(spill);
    scene.reopen();
    let found = found_part(&scene, 1).unwrap();
    assert!(scene.store().resume(&key(1), &found, Some(WHOLE), WHOLE - 1).is_none());
    let resumed = scene.store().resume(&key(1), &found, Some(WHOLE), u64::MAX).unwrap();
    assert!(scene.store().resume(&key(1), &found, Some(WHOLE), u64::MAX).is_none());
    // Nor by another process.
    let other = DiskStore::open(scene.folder.path()).unwrap();
    let seen = other.find(&key(1)).unwrap().pop().unwrap();
    assert!(other.resume(&key(1), &seen, Some(WHOLE), u64::MAX).is_none());
    drop((other, seen));
    write(&resumed, 2);
    assert_eq!(resumed.written(), (number, 6 * BLOCK as u64));
    let (number, length) = resumed.finish_beginning();
    assert!(scene.store().put_spilled(&key(1), &part(&resumed, length, "\"1\""), number));
    drop((found, resumed));
    scene.reopen();
    assert_eq!((found_part(&scene, 1).unwrap().body_length(), scene.files().len()), (6 * BLOCK, 1));
    // A shorter part of the same representation does not replace it; a part of another one does.
    for (tag, kept) in [("\"1\"", 6), ("\"2\"", 1)] {
        let spill = scene.store().begin(None, u64::MAX).unwrap();
        write(&spill, 1);
        let (number, length) = spill.finish_beginning();
        assert!(scene.store().put_spilled(&key(1), &part(&spill, length, tag), number));
        drop(spill);
        scene.reopen();
        assert_eq!(found_part(&scene, 1).unwrap().body_length(), kept * BLOCK, "{tag}");
        wait_until(|| scene.files().len() == 1);
    }
}

#[test]
fn unfinished_body_that_is_given_up_takes_its_row_with_it() {
    let scene = Scene::new();
    let spill = scene.store().begin(Some(WHOLE), u64::MAX).unwrap();
    write(&spill, 2);
    let (number, length) = spill.written();
    assert!(scene.store().put_growing(&key(1), &part(&spill, length, "\"1\""), number));
    assert!(scene.store().flush(LONG));
    drop(spill);
    wait_until(|| scene.store().flush(LONG) && scene.files().is_empty());
    assert!(scene.store().find(&key(1)).unwrap().is_empty());
}

#[test]
fn room_of_an_unfinished_body_is_counted_once() {
    let mut scene = Scene::new();
    scene.store = Some(scene.store.take().unwrap().capacity(64 << 20));
    for number in 10..13 {
        scene.put(number, &response_of("a", number, 8 << 20));
        assert!(scene.store().flush(LONG));
    }
    // 24 MiB are stored, 20 MiB are reserved, and up to 16 MiB of these are in the index, too.
    let spill = scene.store().begin(Some(WHOLE), u64::MAX).unwrap();
    for _ in 0..4 {
        write(&spill, 64);
        let (number, length) = spill.written();
        assert!(scene.store().put_growing(&key(1), &part(&spill, length, "\"1\""), number));
        assert!(scene.store().flush(LONG));
    }
    assert!((10..13).all(|number| scene.found(number) == [Some(number)]));
    assert_eq!(scene.store().usage().evictions, 0);
    // A purge removes the row, and leaves the file to the transfer.
    scene.store().remove(&key(1)).unwrap();
    assert!(scene.store().find(&key(1)).unwrap().is_empty());
    assert_eq!(spill.read(0, 10).unwrap().len(), 10);
}

#[test]
fn a_body_that_is_given_up_is_not_there_after_a_restart_although_no_thread_was_free() {
    let mut scene = Scene::new();
    let spill = growing(&scene);
    // All threads that wait for the disk are busy.
    let (busy, wait) = (Arc::new(Mutex::new(())), mpsc::channel::<()>());
    let held = busy.lock();
    for _ in 0..8 {
        let (busy, started) = (Arc::clone(&busy), wait.0.clone());
        scene.store().core().lane.submit_always(Box::new(move || {
            started.send(()).unwrap();
            drop(busy.lock());
        }));
    }
    (0..8).for_each(|_| wait.1.recv_timeout(LONG).unwrap());
    drop(spill);
    assert!(scene.store().find(&key(1)).unwrap().is_empty());
    assert!(scene.store().flush(LONG));
    drop(held);
    scene.reopen();
    assert!(scene.store().find(&key(1)).unwrap().is_empty());
}
