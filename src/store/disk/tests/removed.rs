//! A directory that is removed or replaced while a process uses it.

use super::*;
use crate::store::disk::directory::file_id;

const CAPACITY: u64 = 24 << 20;

/// A store that has written a response whose body is in a file.
fn used() -> Scene {
    let scene = Scene::new();
    let store = scene.store().clone().capacity(CAPACITY);
    let scene = Scene { store: Some(store), ..scene };
    scene.put(1, &response_of("a", 1, 100_000));
    assert!(scene.store().flush(LONG));
    assert_eq!((scene.found(1), scene.files().len()), (vec![Some(1)], 1));
    scene
}

/// Removes what is in the directory, as `rm -rf` does: the process may make some of it again meanwhile.
fn remove_all(scene: &Scene) {
    for entry in fs::read_dir(scene.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// Puts a response until another process finds it.
fn assert_is_used_again(scene: &Scene) -> DiskStore {
    // Of two processes that make an index at the same time, one would not use that of the other.
    let path = scene.folder.path().join("index.redb");
    wait_until(|| {
        let made = file_id(&path);
        made.is_some() && scene.store().core().index().is_ok_and(|index| index.id() == made)
    });
    let other = DiskStore::open(scene.folder.path()).unwrap();
    wait_until(|| {
        scene.put(2, &response_of("a", 2, 100_000));
        scene.store().flush(LONG) && other.find(&key(2)).unwrap().len() == 1
    });
    other
}

#[test]
fn directory_whose_content_was_removed_is_made_again() {
    let scene = used();
    remove_all(&scene);
    let other = assert_is_used_again(&scene);
    assert!(scene.found(1).is_empty());
    other.refresh().unwrap();
    assert_eq!(other.usage().capacity, CAPACITY);
    // Each process sees that the other one lives, so that none of its files is removed.
    wait_until(|| fs::read_dir(scene.folder.path().join("processes")).unwrap().count() == 2);
    assert_eq!(scene.files().len(), 1);
    assert!(other.flush(LONG));
    // Invalidations are numbered anew.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear: Arc<dyn Fn(&Purge) + Send + Sync> = {
        let heard = Arc::clone(&heard);
        Arc::new(move |purge| heard.lock().push(purge.clone()))
    };
    scene.store().on_invalidation(Arc::downgrade(&hear));
    assert!(Tier::remove(&other, &key(2)).unwrap());
    wait_until(|| scene.found(2).is_empty() && heard.lock().len() == 1);
}

#[test]
fn purges_before_the_removal_do_not_hide_purges_after_it() {
    let scene = used();
    for _ in 0..5 {
        scene.store().purge(&Purge::prefix("http://elsewhere/").unwrap()).unwrap();
    }
    remove_all(&scene);
    let other = assert_is_used_again(&scene);
    let heard = Arc::new(Mutex::new(0));
    let hear: Arc<dyn Fn(&Purge) + Send + Sync> = {
        let heard = Arc::clone(&heard);
        Arc::new(move |_| *heard.lock() += 1)
    };
    scene.store().on_invalidation(Arc::downgrade(&hear));
    other.purge(&Purge::prefix("http://elsewhere/").unwrap()).unwrap();
    wait_until(|| *heard.lock() == 1);
}

#[test]
fn process_is_registered_again_if_only_its_registration_was_removed() {
    let scene = used();
    let folder = scene.folder.path().join("processes");
    fs::remove_dir_all(&folder).unwrap();
    wait_until(|| fs::read_dir(&folder).is_ok_and(|files| files.count() == 1));
    assert_eq!(scene.found(1), [Some(1)]);
    let other = DiskStore::open(scene.folder.path()).unwrap();
    assert!(other.core().process.find_dead(scene.folder.path()).is_empty());
}

#[test]
fn index_that_another_process_has_made_is_not_written_to() {
    let (scene, foreign) = (used(), Scene::new());
    foreign.put(1, &response("a", 7));
    assert!(foreign.store().flush(LONG));
    let Scene { folder, store } = foreign;
    drop(store);
    let (theirs, ours) = (folder.path().join("index.redb"), scene.folder.path().join("index.redb"));
    fs::rename(theirs, &ours).unwrap();
    let before = fs::read(&ours).unwrap();
    wait_until(|| scene.store().core().index().is_err());
    assert!(scene.store().find(&key(1)).is_err());
    scene.store().put(&key(2), &response("a", 2), None);
    assert!(scene.store().purge(&Purge::all()).is_err());
    assert!(fs::read(&ours).unwrap() == before);
    // The next process uses it.
    let Scene { folder, store } = scene;
    drop(store);
    let next = Scene::of(folder);
    assert_eq!(next.found(1), [Some(7)]);
}

#[cfg(unix)]
#[test]
fn directory_that_another_user_has_made_instead_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scene = used();
    fs::set_permissions(scene.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    remove_all(&scene);
    wait_until(|| scene.store().core().index().is_err());
    scene.store().put(&key(2), &response("a", 2), None);
    assert!(scene.store().purge(&Purge::all()).is_err());
    assert!(!scene.folder.path().join("index.redb").exists());
}

#[test]
fn body_that_cannot_be_written_costs_no_other_change() {
    let scene = used();
    scene.put(3, &response_of("a", 3, 100_000));
    assert!(scene.store().flush(LONG));
    // No file can be created from here on.
    let bodies = scene.folder.path().join("bodies");
    fs::remove_dir_all(&bodies).unwrap();
    fs::write(&bodies, "").unwrap();
    scene.put(2, &response_of("a", 2, 100_000));
    scene.put(3, &response_of("a", 4, 100_000));
    scene.put(4, &response_of("a", 4, 100));
    assert!(Tier::remove(scene.store(), &key(1)).unwrap());
    assert!(scene.store().flush(LONG));
    assert_eq!((scene.found(4), scene.store().core().index().is_ok()), (vec![Some(4)], true));
    // Neither the response that is not written nor the one that it replaces.
    assert!(scene.found(2).is_empty() && scene.found(3).is_empty());
    assert_eq!(Tier::usage(scene.store()).skipped, 2);
    fs::remove_file(&bodies).unwrap();
    scene.put(2, &response_of("a", 2, 100_000));
    assert!(scene.store().flush(LONG));
    assert_eq!(scene.found(2), [Some(2)]);
}
