//! The directory keeps its capacity.

use super::*;

const CAPACITY: u64 = 16 << 20;

fn with_capacity() -> Scene {
    let mut scene = Scene::new();
    scene.store = Some(scene.store.take().unwrap().capacity(CAPACITY));
    assert!(scene.store().flush(LONG));
    scene
}

/// Waits until all changes are written, and checks the size of the directory meanwhile.
fn flush(scene: &Scene) {
    wait_until(|| {
        let is_flushed = scene.store().flush(Duration::from_millis(20));
        assert!(scene.taken() <= CAPACITY, "{}", scene.taken());
        is_flushed
    });
}

#[test]
fn changes_that_are_larger_than_the_capacity_together_keep_it() {
    for size in [16_000, 400_000] {
        let scene = with_capacity();
        // While another handle has its transaction, the changes wait.
        let index = scene.folder.path().join("index.redb");
        let (other, _) = Index::open(&index, [0; 2], Access::Write).unwrap();
        let count = (24 << 20) / size;
        let put_all = || (0..count).for_each(|number| scene.put(number, &response_of("a", number, size)));
        other
            .write(|_| {
                put_all();
                Ok(())
            })
            .unwrap();
        flush(&scene);
        let kept = (0..count).filter(|number| scene.found(*number) == [Some(*number)]).count();
        assert!(kept as u64 * size > CAPACITY / 4 && scene.found(count - 1).len() == 1, "{size}: {kept}");
    }
}

#[test]
fn small_bodies_in_the_index_give_way_to_bodies_in_files() {
    let scene = with_capacity();
    for (size, numbers) in [(16_000, 0..600), (300_000, 600..680), (10, 680..1000)] {
        for number in numbers.clone() {
            scene.put(number, &response_of("a", number, size));
            if number % 20 == 0 {
                flush(&scene);
            }
        }
        flush(&scene);
        assert_eq!(scene.found(numbers.end - 1), [Some(numbers.end - 1)]);
    }
    // The size of the files is known exactly, also after they are replaced and removed.
    let files = || {
        let blocks = scene.files().into_iter().map(|file| directory::blocks(&fs::metadata(file).unwrap()));
        blocks.sum::<u64>() / space::KIB
    };
    let counted = || scene.store().core().meta.lock().file_kibibytes;
    assert!(counted() > 0 && counted() == files());
    scene.put(679, &response_of("a", 1, 100_000));
    scene.put(678, &response_of("a", 1, 10));
    assert!(scene.store().flush(LONG) && scene.store().remove(&key(677)).unwrap());
    assert_eq!(counted(), files());
    scene.store().purge(&Purge::all()).unwrap();
    assert_eq!((counted(), files()), (0, 0));
}

#[test]
fn response_for_which_there_is_no_room_is_not_stored() {
    let scene = with_capacity();
    scene.put(1, &response_of("a", 1, 100_000));
    let held = Mutex::new(Vec::new());
    // A loaded machine may need more time than a body waits for room.
    wait_until(|| {
        let mut held = held.lock();
        held.extend(scene.store().begin(Some(CAPACITY / 2 - (2 << 20)), u64::MAX));
        held.len() == 2
    });
    let skipped = Tier::usage(scene.store()).skipped;
    let mut more = Vec::new();
    while let Some(spill) = scene.store().begin(Some(100_000), u64::MAX) {
        more.push(spill);
    }
    assert!(scene.found(1).is_empty());
    scene.put(2, &response_of("a", 2, 4 << 20));
    assert!(scene.store().flush(LONG) && scene.found(2).is_empty());
    assert_eq!(Tier::usage(scene.store()).skipped - skipped, 2);
    // Another thread releases the room.
    drop((held, more));
    wait_until(|| {
        scene.put(2, &response_of("a", 2, 4 << 20));
        scene.store().flush(LONG) && scene.found(2) == [Some(2)]
    });
}

#[test]
fn bodies_that_are_removed_while_they_are_read_count_in_the_bound() {
    const CAPACITY: u64 = 24 << 20;
    let mut scene = Scene::new();
    scene.store = Some(scene.store.take().unwrap().capacity(CAPACITY));
    let held: Vec<_> = (0..4)
        .map(|number| {
            scene.put(number, &response_of("a", number, 2_000_000));
            assert!(scene.store().flush(LONG));
            let found = scene.store().find(&key(number)).unwrap();
            found[0].remote().unwrap().source.open().unwrap();
            found
        })
        .collect();
    let removed = |scene: &Scene| scene.store().core().open_bodies.removed_bytes();
    assert_eq!(removed(&scene), 0);
    for number in 10..100 {
        scene.put(number, &response_of("a", number, 500_000));
        if number % 10 == 0 {
            assert!(scene.store().flush(LONG));
            let (taken, removed) = (scene.taken(), removed(&scene));
            assert!(taken + removed <= CAPACITY, "{taken} and {removed} after {number}");
        }
    }
    assert!(removed(&scene) > 8_000_000, "{}", removed(&scene));
    for found in &held {
        let mut at = 0;
        while at < 2_000_000 {
            at += found[0].remote().unwrap().source.read(at, 1 << 20).unwrap().len() as u64;
        }
    }
    drop(held);
    assert_eq!(removed(&scene), 0);
}

#[test]
fn a_body_is_read_although_no_more_files_may_stay_open() {
    let scene = Scene::new();
    scene.put(1, &response_of("a", 1, 300_000));
    assert!(scene.store().flush(LONG));
    let bodies = &scene.store().core().open_bodies;
    let others: Vec<_> =
        std::iter::repeat_with(|| bodies.note(u64::MAX)).take_while(|(_, may)| *may).collect();
    let found = scene.store().find(&key(1)).unwrap();
    let source = &found[0].remote().unwrap().source;
    let ledger = Ledger::new(1 << 20);
    source.open().unwrap();
    assert!(source.read(200_000, 100).is_ok());
    assert!(source.read_now(0, 100, &ledger).unwrap().is_none(), "the file is closed");
    drop(others);
    source.open().unwrap();
    assert!(source.read(200_000, 100).is_ok());
    #[cfg(target_os = "linux")]
    assert!(source.read_now(200_000, 100, &ledger).unwrap().is_some());
}

#[test]
fn capacity_that_is_lowered_is_reached_in_several_transactions() {
    struct Evictions(Mutex<Vec<u64>>);
    impl Observer for Evictions {
        fn evicted(&self, eviction: &crate::metrics::Eviction) {
            self.0.lock().push(eviction.keys);
        }
    }
    const COUNT: u64 = 12_000;
    let scene = Scene::new();
    let evictions = Arc::new(Evictions(Mutex::default()));
    Tier::observe(scene.store(), Arc::clone(&evictions) as Arc<dyn Observer>);
    for number in 0..COUNT {
        while !scene.store().put(&key(number), &response("a", number), None) {
            assert!(scene.store().flush(LONG));
        }
    }
    assert!(scene.store().flush(LONG));
    scene.store().refresh().unwrap();
    assert_eq!(scene.store().usage().keys, COUNT);
    let _ = scene.store().clone().capacity(1 << 20);
    // Nothing else is written meanwhile.
    wait_until(|| evictions.0.lock().iter().sum::<u64>() > COUNT - 500);
    let of_each = evictions.0.lock().clone();
    assert!(of_each.len() > 1 && of_each.iter().all(|keys| *keys <= 10_000), "{of_each:?}");
}
