//! The thread that writes: it commits the changes of up to a second together, and synchronizes with other processes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::commit::commit;
use super::core::Core;
use super::directory::{check_owner, make};
use super::index::Index;
use super::pending::{Body, Next, Op, Put};
use super::room::portions;
use super::sync::{learn, sync};
use crate::store::StoreError;

/// The time between two synchronizations with other processes.
const SYNC: Duration = Duration::from_millis(250);

/// The time after which a process reads the keys on disk. Shorter-lived processes never do.
const LEARN_AFTER: Duration = Duration::from_millis(500);

/// The time between two searches for processes that were killed.
const SEARCH: Duration = Duration::from_secs(10);

/// The time between two writes of the marks of used keys.
const MARK: Duration = Duration::from_secs(60);

/// The time between a failure of the disk and the next attempt.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes until the store is closed.
pub(super) fn run(core: &Arc<Core>) {
    let opened = Instant::now();
    let mut down: Option<Instant> = None;
    let (mut marked, mut searched) = (opened, opened);
    let mut tick = opened;
    clean_up_after_dead(core);
    loop {
        let (ops, is_tick) = match core.pending.next(tick) {
            Next::Write(ops) => (ops, false),
            Next::Tick => (Vec::new(), true),
            Next::Closed => break,
        };
        let now = Instant::now();
        if down.is_some_and(|since| now.saturating_duration_since(since) >= PAUSE) {
            down = restore(core);
        }
        if tick <= now {
            tick = now + SYNC;
            if core.index().is_ok_and(|index| !index.is_in_place()) {
                core.trouble.report("be used", &"its directory was removed or replaced");
                give_up(core);
                down = restore(core);
            } else if down.is_none()
                && let Err(error) = core.process.restore(&core.directory)
            {
                core.trouble.report("be used", &error);
            }
            if down.is_none()
                && let Err(error) = synchronize(core, opened.elapsed() >= LEARN_AFTER)
            {
                core.trouble.report("be read", &error);
            }
            if now.saturating_duration_since(searched) >= SEARCH {
                searched = now;
                clean_up_after_dead(core);
            }
        }
        let is_marking = now.saturating_duration_since(marked) >= MARK;
        if is_tick && !is_marking && !core.space.has_idle_lease() {
            continue;
        }
        let mut used = if is_marking { unmarked(core) } else { Vec::new() };
        if is_marking {
            marked = now;
        }
        for ops in portions(core, &ops) {
            write(core, ops, &std::mem::take(&mut used), &mut down);
        }
    }
    // A process that has only read does not wait for the disk to mark what it used.
    let is_writing = core.index().is_ok_and(|index| index.is_writing());
    let used = if is_writing { unmarked(core) } else { Vec::new() };
    if down.is_none() && (!used.is_empty() || core.space.lease() > 0) {
        write(core, &[], &used, &mut down);
    }
}

fn synchronize(core: &Arc<Core>, is_learning: bool) -> Result<(), StoreError> {
    let snapshot = sync(core)?;
    if is_learning { learn(core, &snapshot) } else { Ok(()) }
}

/// Returns the used keys that are not marked in the index.
fn unmarked(core: &Core) -> Vec<u64> {
    let used = core.known.lock().take_used();
    if used.is_empty() {
        return used;
    }
    let unmarked = core.index().and_then(|index| index.snapshot()?.unmarked(used));
    unmarked.unwrap_or_default()
}

/// Commits changes, and answers those that wait for them.
fn write(core: &Arc<Core>, ops: &[Arc<Op>], used: &[u64], down: &mut Option<Instant>) {
    let committed = commit(core, ops, used);
    let failure = committed.as_ref().err().map(ToString::to_string);
    if let Err(error) = &committed {
        core.trouble.report("write", &format!("{error:#}"));
        // After an error the database accepts nothing until it is opened again.
        give_up(core);
        down.get_or_insert_with(Instant::now);
    }
    for op in ops {
        if let Op::Put(Put { body: Body::File(number), .. }) = &**op {
            core.growing.end(*number);
            if committed.is_err() {
                core.remove_file(*number);
            }
            core.space.note_counted(*number);
        }
    }
    core.pending.done(ops);
    let mut replies = committed.unwrap_or_default().into_iter();
    for op in ops {
        let (Op::Remove { done: Some(done), .. } | Op::Purge { done: Some(done), .. }) = &**op else {
            continue;
        };
        let failed = || Err(StoreError::new(failure.clone().unwrap_or_default()));
        // A caller that no longer waits needs no answer.
        let _ = done.send(replies.next().unwrap_or_else(failed));
    }
}

/// Uses the disk no more, until it is opened again.
fn give_up(core: &Core) {
    *core.index.write() = None;
    core.at_hand.forget_all();
    core.space.set_lease(0, true);
}

/// Opens the index again. Returns the present time if that fails.
fn restore(core: &Arc<Core>) -> Option<Instant> {
    reopen(core).inspect_err(|error| core.trouble.report("be opened", error)).err().map(|_| Instant::now())
}

fn reopen(core: &Core) -> Result<(), StoreError> {
    let failed = |error| StoreError::new("its directory cannot be made again").with_source(error);
    make(&core.directory)
        .and_then(|()| core.process.restore(&core.directory))
        .and_then(|()| make(&core.directory.join("bodies")))
        .map_err(failed)?;
    check_owner(&core.directory, core.process.metadata())?;
    let (index, meta) = Index::open(&core.directory.join("index.redb"), core.salt, core.access)?;
    if meta.salt != core.salt {
        let text = "another process has made a new index: it is used when this process starts again";
        return Err(StoreError::new(text));
    }
    if std::mem::replace(&mut *core.index_file.lock(), index.id()) != index.id() {
        // The invalidations of a new index have other numbers.
        core.applied.store(0, Ordering::SeqCst);
        let capacity = std::mem::replace(&mut *core.meta.lock(), meta).capacity;
        if meta.capacity == 0 && capacity > 0 {
            core.set_capacity.store(capacity, Ordering::Relaxed);
        }
    }
    core.known.lock().reload();
    *core.index.write() = Some(Arc::new(index));
    Ok(())
}

/// Removes the unfinished bodies of processes that were killed.
fn clean_up_after_dead(core: &Arc<Core>) {
    for dead in core.process.find_dead(&core.directory) {
        let (own, directory) = (Arc::downgrade(core), core.directory.join("bodies"));
        core.lane.submit_always(Box::new(move || {
            for folder in fs::read_dir(directory).into_iter().flatten().flatten() {
                let names = fs::read_dir(folder.path()).into_iter().flatten().flatten();
                let numbers =
                    names.filter_map(|file| u64::from_str_radix(file.file_name().to_str()?, 16).ok());
                let numbers = numbers.filter(|number| dead.wrote(*number)).collect();
                let Some(core) = own.upgrade().filter(|core| !core.is_closing.load(Ordering::Relaxed)) else {
                    return;
                };
                let orphans = core.index().and_then(|index| index.snapshot()?.orphans(numbers));
                let Ok(orphans) = orphans else { return };
                orphans.into_iter().for_each(|number| _ = core.remove_file(number));
            }
            let Some(core) = own.upgrade().filter(|core| !core.is_closing.load(Ordering::Relaxed)) else {
                return;
            };
            if let Err(error) = core.cut_unfinished() {
                core.trouble.report("cut a file", &error);
                return;
            }
            dead.forget();
        }));
    }
}
