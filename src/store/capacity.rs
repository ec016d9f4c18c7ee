//! The default capacity of a [`MemoryStore`](super::MemoryStore).

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the default capacity of a [`MemoryStore`](super::MemoryStore) in bytes: 256 MiB, or a quarter of
/// the memory available to the process if that is less.
///
/// The available memory is the least of the machine's memory and the limits of all control groups of the
/// process (version 1 and 2, including parent groups). If none of them can be read, the capacity is 256 MiB.
///
/// ```
/// let bytes = forwardcache::store::default_capacity();
/// assert!(bytes > 0 && bytes <= 256 << 20);
/// ```
#[must_use]
pub fn default_capacity() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    MAX_DEFAULT.min(memory_limit(read).map_or(MAX_DEFAULT, |limit| limit / PART_OF_MEMORY))
}

const MAX_DEFAULT: u64 = 256 << 20;
const PART_OF_MEMORY: u64 = 4;

/// Returns the least of all limits in the system's files.
fn memory_limit(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total_memory(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| limit(&read(&path)?));
    machine.into_iter().chain(limits).min()
}

/// Returns `MemTotal` of `/proc/meminfo` in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Returns the limit files for a process with this `/proc/self/cgroup`, including those of parent groups.
///
/// In a container, the path of the group is often not visible, while the root shows the container's limit.
/// Missing files are therefore ignored.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, names): (_, &[&str]) = if controllers.is_empty() {
            ("/sys/fs/cgroup", &["memory.max", "memory.high"])
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        for directory in group.ancestors() {
            files.extend(names.iter().map(|name| Path::new(root).join(directory).join(name)));
        }
    }
    files
}

/// Parses a limit file. `max` means no limit, and so does zero, which would forbid the process itself.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    const MACHINE: (&str, &str) =
        ("/proc/meminfo", "MemFree:  1 kB\nMemTotal:       2048 kB\nBuffers: 0 kB\n");

    #[test]
    fn memory_of_the_machine_is_the_limit_without_groups() {
        assert_eq!(limit_of(&[MACHINE]), Some(2048 * 1024));
        assert_eq!(limit_of(&[]), None);
        assert_eq!(limit_of(&[("/proc/meminfo", "MemTotal: many\n")]), None);
    }

    #[test]
    fn version_two_uses_the_least_limit_of_group_and_parents() {
        let group = ("/proc/self/cgroup", "0::/system.slice/cache.service\n");
        let own = ("/sys/fs/cgroup/system.slice/cache.service/memory.max", "max\n");
        let high = ("/sys/fs/cgroup/system.slice/cache.service/memory.high", "900000\n");
        let above = ("/sys/fs/cgroup/system.slice/memory.max", "500000\n");
        assert_eq!(limit_of(&[MACHINE, group, own]), Some(2048 * 1024));
        assert_eq!(limit_of(&[MACHINE, group, own, high]), Some(900_000));
        assert_eq!(limit_of(&[MACHINE, group, own, high, above]), Some(500_000));
    }

    #[test]
    fn limit_of_a_container_is_read_at_the_root() {
        let root = ("/sys/fs/cgroup/memory.max", "300000\n");
        assert_eq!(limit_of(&[MACHINE, ("/proc/self/cgroup", "0::/\n"), root]), Some(300_000));
        let old = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "400000\n");
        let groups = ("/proc/self/cgroup", "5:cpu,memory:/docker/abc\n4:pids:/docker/abc\n");
        assert_eq!(limit_of(&[MACHINE, groups, old]), Some(400_000));
    }

    #[test]
    fn huge_limit_of_version_one_means_no_limit() {
        let groups = ("/proc/self/cgroup", "4:memory:/a:b\n");
        let own = ("/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_of(&[MACHINE, groups, own]), Some(2048 * 1024));
        let own = ("/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "1000\n");
        assert_eq!(limit_of(&[MACHINE, groups, own]), Some(1000));
    }
}
