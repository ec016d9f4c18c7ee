//! Rows of the index that cannot be read: damaged ones, and those of another version.

use super::*;
use crate::store::disk::database::failed;

/// Changes a row, as damage or a process of another version would.
fn change(scene: &Scene, number: u64, change: impl Fn(&mut Vec<u8>)) {
    let core = scene.store().core();
    let hash = core.hash(key(number).as_str());
    let index = core.index().unwrap();
    let mut row = index.row(hash).unwrap().unwrap();
    change(&mut row);
    index.write(|tables| tables.heads.insert(hash, &*row).map(drop).map_err(failed)).unwrap();
}

#[allow(clippy::ptr_arg, reason = "the same type as `make_newer`")]
fn damage(row: &mut Vec<u8>) {
    let middle = row.len() / 2;
    row[middle] ^= 1;
}

fn make_newer(row: &mut Vec<u8>) {
    row.truncate(row.len() - 4);
    row[7] += 1;
    let checksum = crc32fast::hash(row).to_be_bytes();
    row.extend_from_slice(&checksum);
}

/// A store with two keys, one of which has its bodies in files. Both were written by an earlier process.
fn stored() -> Scene {
    let mut scene = Scene::new();
    for number in 1..=2 {
        scene.put(number, &response_of("a", number, 100));
        scene.put(number, &response_of("b", number, 100_000));
    }
    scene.reopen();
    assert_eq!(scene.files().len(), 2);
    scene
}

/// How many rows each table has that has one for each key, body or file.
fn rows(scene: &Scene) -> [u64; 5] {
    use redb::ReadableTableMetadata;
    let rows = |tables: &mut index::Tables<'_>| {
        let numbers = [tables.heads.len(), tables.entries.len(), tables.order.len()];
        let [heads, entries, order] = numbers.map(Result::unwrap);
        Ok([heads, entries, order, tables.bodies.len().unwrap(), tables.files.len().unwrap()])
    };
    scene.store().core().index().unwrap().write(rows).unwrap()
}

/// Checks that of one of two keys nothing is left, and the other is whole.
fn assert_one_is_left(scene: &Scene) {
    assert!(scene.store().flush(LONG));
    assert_eq!((rows(scene), scene.files().len()), ([1, 1, 1, 1, 1], 1));
    assert_eq!(scene.found(2), [Some(2), Some(2)]);
    let meta = *scene.store().core().meta.lock();
    // Its file has 100,000 bytes and two checksums.
    assert_eq!(meta.file_kibibytes, 100);
    assert!((100..110).contains(&meta.kibibytes), "{meta:?}");
}

#[test]
fn damaged_row_is_removed_with_its_bodies_when_it_is_met() {
    let meet: [fn(&Scene); 5] = [
        |scene| assert!(scene.found(1).is_empty()),
        |scene| assert_eq!(scene.store().entries().map(Result::unwrap).count(), 2),
        |scene| assert!(scene.store().entries_of(key(1).url()).unwrap().is_empty()),
        |scene| _ = Tier::remove(scene.store(), &key(1)).unwrap(),
        |scene| _ = Tier::purge(scene.store(), &Purge::prefix("http://elsewhere/").unwrap()).unwrap(),
    ];
    for (at, meet) in meet.iter().enumerate() {
        let mut scene = stored();
        change(&scene, 1, damage);
        meet(&scene);
        assert_one_is_left(&scene);
        let is_read = at < 3;
        assert_eq!(Tier::usage(scene.store()).corrupt, u64::from(is_read), "{at}");
        scene.reopen();
        assert_one_is_left(&scene);
    }
}

#[test]
fn damaged_row_is_replaced_with_its_bodies() {
    let scene = stored();
    change(&scene, 1, damage);
    scene.put(1, &response_of("a", 3, 100));
    assert!(scene.store().flush(LONG));
    assert_eq!((rows(&scene), scene.files().len()), ([2, 2, 2, 2, 1], 1));
    assert_eq!((scene.found(1), scene.found(2)), (vec![Some(3)], vec![Some(2), Some(2)]));
}

#[test]
fn row_of_another_version_is_a_miss_and_stays() {
    let mut scene = stored();
    change(&scene, 1, make_newer);
    for _ in 0..2 {
        assert!(scene.found(1).is_empty());
        assert_eq!(scene.store().entries().map(Result::unwrap).count(), 2);
        assert!(scene.store().entries_of(key(1).url()).unwrap().is_empty());
        Tier::purge(scene.store(), &Purge::prefix("http://elsewhere/").unwrap()).unwrap();
        assert!(scene.store().flush(LONG));
        assert_eq!((rows(&scene), scene.files().len()), ([2, 2, 2, 2, 2], 2));
        assert_eq!(Tier::usage(scene.store()).corrupt, 0);
        scene.reopen();
    }
    // The process of the other version still reads it.
    change(&scene, 1, |row| {
        row[7] -= 2;
        make_newer(row);
    });
    assert_eq!(scene.found(1), [Some(1), Some(1)]);
}

#[test]
fn row_of_another_version_is_removed_invalidated_and_replaced_with_its_bodies() {
    let invalidate: [fn(&Scene); 4] = [
        |scene| assert!(Tier::remove(scene.store(), &key(1)).unwrap()),
        |scene| _ = scene.store().purge(&Purge::url(key(1).url()).unwrap()).unwrap(),
        |scene| _ = scene.store().purge(&Purge::prefix(key(1).url()).unwrap()).unwrap(),
        |scene| _ = scene.store().purge(&Purge::prefix(key(1).url()).unwrap().soft()).unwrap(),
    ];
    for invalidate in invalidate {
        let scene = stored();
        change(&scene, 1, make_newer);
        invalidate(&scene);
        assert_one_is_left(&scene);
    }
    let scene = stored();
    change(&scene, 1, make_newer);
    scene.put(1, &response_of("a", 3, 100));
    assert!(scene.store().flush(LONG));
    assert_eq!((rows(&scene), scene.files().len()), ([2, 2, 2, 2, 1], 1));
}

#[test]
fn unreadable_rows_count_in_the_capacity_and_are_evicted_with_their_bodies() {
    const CAPACITY: u64 = 24 << 20;
    for harm in [damage, make_newer] {
        let scene = Scene::new();
        let scene = Scene { store: Some(scene.store().clone().capacity(CAPACITY)), ..scene };
        let put = |number, size| {
            scene.put(number, &response_of("a", number, size));
            assert!(scene.store().flush(LONG));
            assert!(scene.taken() <= CAPACITY, "{number}: {} of {CAPACITY}", scene.taken());
        };
        let sizes = |number| if number % 2 == 0 { 1 << 20 } else { 10_000 };
        (0..30).for_each(|number| put(number, sizes(number)));
        (0..30).for_each(|number| change(&scene, number, harm));
        let used = scene.store().usage().bytes;
        assert!(used > 15 << 20, "{used}");
        (100..160).for_each(|number| put(number, sizes(number)));
        let left = (0..30).filter(|number| {
            let hash = scene.store().core().hash(key(*number).as_str());
            scene.store().core().index().unwrap().row(hash).unwrap().is_some()
        });
        assert_eq!(left.count(), 0);
        let [heads, entries, order, bodies, files] = rows(&scene);
        assert_eq!((heads, entries, bodies + files), (order, order, order));
        assert_eq!(files, scene.files().len() as u64);
    }
}
