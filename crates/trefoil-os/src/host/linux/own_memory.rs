//! How much memory the copy of a process does not share with the original.
//!
//! `private_memory` counts pages of files and of memory that is meant to be shared apart from all
//! others, and that is enough in a process that was started. A copy has all pages of the original,
//! until one of the two writes to them.
//!
//! - **H89** `getrusage` fills in the structure that it is given.
//!
//! Tests: below; `tests/process/fork_server.rs`.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::sys::sysconf::page_size;

/// How many bytes of memory are this process's own, because it shares them neither with a file nor
/// with another process. The kernel looks at each page.
#[must_use]
pub fn own() -> Option<u64> {
    sum(&std::fs::read_to_string("/proc/self/smaps_rollup").ok()?)
}

fn sum(rollup: &str) -> Option<u64> {
    let of = |name| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((of("Private_Clean:")? + of("Private_Dirty:")?) << 10)
}

/// At most so many bytes that were shared have become this process's own since it began, by page
/// faults.
#[must_use]
pub fn faulted() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: H89: the structure is a local variable.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return u64::MAX; // as many as there are
    }
    // SAFETY: H89: the call has succeeded.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_minflt.unsigned_abs()).saturating_mul(page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_ones_own() {
        assert_eq!(
            sum("Rss: 9 kB\nPrivate_Clean:  3 kB\nPrivate_Dirty: 4 kB\n"),
            Some(7 << 10)
        );
        assert_eq!(sum("Private_Dirty: 4 kB\n"), None);
        const SIZE: u64 = 32 << 20;
        let (before, faulted_before) = (own().unwrap(), faulted());
        let mut memory = vec![1_u8; SIZE as usize];
        std::hint::black_box(&mut memory);
        // (Other tests free memory meanwhile.)
        assert!(own().unwrap() > before.saturating_sub(SIZE / 2) + SIZE / 2);
        assert!(faulted() > faulted_before);
    }
}
