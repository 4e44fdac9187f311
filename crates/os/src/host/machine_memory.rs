//! How much memory there is for this program: the machine's, or less if a control group limits it.
//!
//! Tests: below.

use std::fs::read_to_string;
use std::io;
use std::path::Path;

/// In bytes.
pub fn machine_memory() -> io::Result<u64> {
    let unknown = || {
        let message = "this system does not report its memory, of which `memory_budget` is a part";
        io::Error::new(io::ErrorKind::Unsupported, message)
    };
    let meminfo = read_to_string("/proc/meminfo").map_err(|_| unknown())?;
    let total = total(&meminfo).ok_or_else(unknown)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(&groups, |path| read_to_string(path).ok());
    Ok(limit.map_or(total, |limit| total.min(limit)))
}

/// The machine's memory, by the text of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The lowest limit of the memory groups in the text of `/proc/self/cgroup`, and of those that
/// contain them. (In a container the groups' paths may be those outside, which do not exist: then
/// the limit is that of the root.)
fn limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let counts = controllers.is_empty() || controllers.split(',').any(|one| one == "memory");
        let path = Path::new(root).join(group.trim_start_matches('/'));
        let groups = path
            .ancestors()
            .take_while(|path| counts && path.starts_with(root));
        let limits = groups.filter_map(|path| read(&path.join(name))?.trim().parse().ok());
        limits.collect::<Vec<u64>>()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_total_is_read() {
        assert_eq!(
            total("MemTotal:       16 kB\nMemFree: 3 kB\n"),
            Some(16 << 10)
        );
        assert_eq!(total("MemFree: 3 kB\n"), None);
        let is_known = Path::new("/proc/meminfo").exists();
        assert_eq!(
            machine_memory().is_ok_and(|bytes| bytes > 1 << 20),
            is_known
        );
    }
}
