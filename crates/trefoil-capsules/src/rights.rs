//! What this process may do with files: for whom it runs, and how long they may be.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

/// Whether this process has no other rights than its caller's: nobody may choose its arguments
/// otherwise.
#[cfg(unix)]
pub(crate) fn has_callers() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() == geteuid() && getgid() == getegid() && !is_secure()
}

#[cfg(not(unix))]
pub(crate) fn has_callers() -> bool {
    true
}

/// Whether the kernel has given this process more rights by its file: file capabilities, too.
/// (Where the kernel does not show that, it may be so.)
#[cfg(target_os = "linux")]
fn is_secure() -> bool {
    const AT_SECURE: usize = 23;
    const WORD: usize = size_of::<usize>();
    let Ok(all) = std::fs::read("/proc/self/auxv") else {
        return true;
    };
    let word = |bytes: &[u8]| bytes.first_chunk().map(|word| usize::from_ne_bytes(*word));
    let mut entries = all.chunks_exact(2 * WORD);
    let entry = entries.find(|entry| word(entry) == Some(AT_SECURE));
    entry.and_then(|entry| word(&entry[WORD..])) != Some(0)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn is_secure() -> bool {
    false
}

/// How long a file of this process may be. (A write beyond it raises a signal.)
pub(crate) fn longest_file() -> u64 {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    #[cfg(not(unix))]
    let limit = None;
    limit.unwrap_or(u64::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_its_callers_rights() {
        assert!(has_callers());
    }
}
