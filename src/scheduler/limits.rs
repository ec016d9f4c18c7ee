//! The system's limits of threads and open files.

use std::fs;
use std::path::Path;

/// Returns the greatest number of threads of a pool that the system's limits allow: half of the limit of open files,
/// and half of the limit of threads in the process's control groups. Without known limits, returns `usize::MAX`.
pub(super) fn max_threads() -> usize {
    max_threads_from(|path| fs::read_to_string(path).ok())
}

/// Returns the limit of open files of this process, if the system reports it.
pub(crate) fn max_open_files() -> Option<usize> {
    parse_open_files(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn max_threads_from(read: impl Fn(&Path) -> Option<String>) -> usize {
    let files = read(Path::new("/proc/self/limits")).and_then(|text| parse_open_files(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let threads = groups.lines().filter_map(|line| max_threads_of_group(line, &read)).min();
    files.into_iter().chain(threads).min().map_or(usize::MAX, |limit| (limit / 2).max(1))
}

/// Returns the soft limit in the line `Max open files` of `/proc/self/limits`.
fn parse_open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the smallest `pids.max` of a control group, given as a line of `/proc/self/cgroup`, and of its parents.
fn max_threads_of_group(line: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<usize> {
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
        max_threads_from(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn half_of_the_smallest_limit_applies() {
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
