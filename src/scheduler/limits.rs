//! How many threads and open files the system has room for.

use std::fs;
use std::path::Path;

/// The most threads of a pool that the limits of this process allow: half of what it may have open, and half of the
/// threads that its control groups allow. Where the system says nothing there is no limit.
pub(super) fn most_threads() -> usize {
    most(|path| fs::read_to_string(path).ok())
}

/// How many files this process may have open, where the system says that.
pub(crate) fn most_open_files() -> Option<usize> {
    open_files(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn most(read: impl Fn(&Path) -> Option<String>) -> usize {
    let files = read(Path::new("/proc/self/limits")).and_then(|text| open_files(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let threads = groups.lines().filter_map(|line| threads(line, &read)).min();
    files.into_iter().chain(threads).min().map_or(usize::MAX, |limit| (limit / 2).max(1))
}

/// The soft limit of `Max open files`.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `pids.max` of a group of `/proc/self/cgroup` and of those above it.
fn threads(line: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let root = match controllers {
        "" => "/sys/fs/cgroup",
        controllers if controllers.split(',').any(|controller| controller == "pids") => "/sys/fs/cgroup/pids",
        _ => return None,
    };
    let files = Path::new(group.trim_start_matches('/')).ancestors();
    files.filter_map(|group| read(&Path::new(root).join(group).join("pids.max"))?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_of(files: &[(&str, &str)]) -> usize {
        most(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn half_of_the_least_limit_counts() {
        let files =
            ("/proc/self/limits", "Limit   Soft\nMax open files            1024       4096     files\n");
        let group = ("/proc/self/cgroup", "0::/system/cache\n");
        let own = ("/sys/fs/cgroup/system/cache/pids.max", "max\n");
        let above = ("/sys/fs/cgroup/system/pids.max", "300\n");
        let old = [("/proc/self/cgroup", "5:pids,cpu:/a\n"), ("/sys/fs/cgroup/pids/a/pids.max", "40\n")];
        assert_eq!(most_of(&[]), usize::MAX);
        assert_eq!(most_of(&[files]), 512);
        assert_eq!(most_of(&[files, group, own]), 512);
        assert_eq!(most_of(&[files, group, own, above]), 150);
        assert_eq!(most_of(&old), 20);
        assert_eq!(
            most_of(&[("/proc/self/limits", "Max open files  unlimited unlimited files")]),
            usize::MAX
        );
    }
}
