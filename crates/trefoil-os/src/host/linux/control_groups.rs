//! How much memory a control group leaves to this process; and sizes in the kernel's texts.
//!
//! Tests: below.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// How many bytes the line with this name says, in a text such as that of `/proc/meminfo`.
pub(crate) fn bytes_in(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A control group with a limit on memory.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    folder: PathBuf,
    /// The name of the file that says how many bytes are used.
    used: &'static str,
    limit: u64,
}

impl Group {
    /// How many bytes it has left, if so little that `length` bytes do not fit: pages of files are
    /// free memory, which the kernel takes when it needs it.
    pub(crate) fn left(&self, length: u64, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let used: u64 = read(&self.folder.join(self.used))?.trim().parse().ok()?;
        let left = self.limit.saturating_sub(used);
        if left >= length {
            return None;
        }
        let text = read(&self.folder.join("memory.stat")).unwrap_or_default();
        let count = |name: &str| {
            // (For the older kind of groups, those that begin so include the groups within.)
            let whole = |line: &'_ str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
            let total = |line: &'_ str| whole(line.strip_prefix("total_")?);
            let in_all = text.lines().find_map(total);
            in_all.or_else(|| text.lines().find_map(whole)).unwrap_or(0)
        };
        Some(
            left.saturating_add(count("active_file "))
                .saturating_add(count("inactive_file ")),
        )
    }
}

/// The groups of this process that have a limit.
pub(crate) fn own_groups() -> impl Iterator<Item = Group> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_in(&groups, |path| read_to_string(path).ok()).into_iter()
}

/// The memory groups with a limit in the text of `/proc/self/cgroup`, and among those that contain
/// them. (In a container the groups' paths may be those outside, which do not exist: then the limit
/// is that of the root.)
fn groups_in(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<Group> {
    let mut limited = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let (root, name, used) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                let root = "/sys/fs/cgroup/memory";
                (root, "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        let path = Path::new(root).join(group.trim_start_matches('/'));
        let folders = path.ancestors().take_while(|path| path.starts_with(root));
        limited.extend(folders.filter_map(|folder| {
            let limit = read(&folder.join(name))?.trim().parse().ok()?;
            let folder = folder.to_owned();
            Some(Group {
                folder,
                used,
                limit,
            })
        }));
    }
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let groups = groups_in(groups, read).into_iter();
        groups.map(|group| group.limit).min()
    }

    #[test]
    fn the_lowest_limit_counts() {
        let v2 = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("5000\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("70000\n".to_owned()),
            _ => None,
        };
        assert_eq!(limit("0::/a/b\n", v2), Some(5000));
        assert_eq!(limit("0::/elsewhere/c\n", v2), Some(70000));
        assert_eq!(limit("0::/\n", |_| None), None);
        let v1 = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/memory/x/memory.limit_in_bytes" => Some("9000\n".to_owned()),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => Some("9223372036854771712".to_owned()),
            _ => None,
        };
        assert_eq!(
            limit("3:cpu,cpuacct:/y\n4:hugetlb,memory:/x\n", v1),
            Some(9000)
        );
        assert_eq!(limit("3:cpu:/x\n", v1), None);
        assert_eq!(limit("", v1), None);
    }

    #[test]
    fn what_a_group_has_left_includes_pages_of_files() {
        let v2 = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/memory.max" => Some("5000\n".to_owned()),
            "/sys/fs/cgroup/a/memory.current" => Some("4000\n".to_owned()),
            "/sys/fs/cgroup/a/memory.stat" => {
                Some("file 9\ninactive_file 300\nactive_file 20\n".to_owned())
            }
            _ => None,
        };
        let v1 = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes" => Some("5000\n".to_owned()),
            "/sys/fs/cgroup/memory/a/memory.usage_in_bytes" => Some("6000\n".to_owned()),
            "/sys/fs/cgroup/memory/a/memory.stat" => Some(
                "inactive_file 1\nactive_file 2\ntotal_inactive_file 300\ntotal_active_file 20\n"
                    .to_owned(),
            ),
            _ => None,
        };
        let [new] = &groups_in("0::/a/b\n", v2)[..] else {
            panic!("one has a limit")
        };
        assert_eq!((new.left(1001, v2), new.left(1000, v2)), (Some(1320), None));
        let [old] = &groups_in("4:memory:/a\n", v1)[..] else {
            panic!("one has a limit")
        };
        assert_eq!(old.left(1, v1), Some(320));
    }

    #[test]
    fn the_total_is_read() {
        assert_eq!(
            bytes_in("MemTotal:       16 kB\nMemFree: 3 kB\n", "MemTotal"),
            Some(16 << 10)
        );
        assert_eq!(bytes_in("MemFree: 3 kB\n", "MemTotal"), None);
    }
}
