//! What the system knows about this process: its threads, descriptors, rights, and the name that
//! lists of processes show.
//!
//! - **H39** `prctl` with `PR_SET_NAME` reads a C string, and copies at most 15 bytes of it.
//!
//! Tests: below; `tests/process/host.rs::init_does_nothing_beside_other_threads`,
//! `tests/environments/main.rs::a_worker_hears_all_signals_and_has_its_programs_name`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::unix::fs::MetadataExt;

pub use super::auxiliary::has_other_rights;
use crate::sys::thread_id;

/// The directory that lists this process's descriptors.
pub(crate) const DESCRIPTORS: &str = "/proc/self/fd";

/// The directory that lists its threads.
const THREADS: &str = "/proc/self/task";

/// The kernel's flag for a thread that has begun to end, and runs no code of the program any more.
const PF_EXITING: u32 = 4;

/// Whether this thread is the only one of its process. `None`: unknown.
///
/// A thread may be listed for a while after it was joined, so each listed one is checked.
pub fn is_alone() -> Option<bool> {
    // (The directory has a link for each thread, and two of its own. To ask for their number takes
    // one system call, and to read the directory five; a new worker asks three times.)
    if std::fs::metadata(THREADS).ok()?.nlink() == 3 {
        return Some(true);
    }
    let tasks = std::fs::read_dir(THREADS).ok()?;
    let tasks: Vec<_> = tasks.collect::<Result<_, _>>().ok()?;
    let living = tasks
        .iter()
        .filter(|task| match std::fs::read(task.path().join("stat")) {
            Ok(stat) => !is_ending(&stat),
            Err(_) => task.path().exists(),
        });
    Some(tasks.len() == 1 || living.count() <= 1)
}

/// Whether the kernel's line about a thread says that the thread is ending. (The name comes first,
/// in parentheses, and may contain anything.)
fn is_ending(stat: &[u8]) -> bool {
    let name = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    let mut fields = stat[name..].split(|byte| *byte == b' ');
    let flags = fields
        .nth(7)
        .and_then(|flags| std::str::from_utf8(flags).ok()?.parse().ok());
    flags.is_some_and(|flags: u32| flags & PF_EXITING != 0)
}

/// Whether the calling thread is the program's first.
pub fn is_first_thread() -> bool {
    thread_id::mine() == u64::from(std::process::id())
}

/// Sets the name that lists of processes show; the kernel takes 15 bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: H39: the name ends with a zero byte, and outlives the call.
    let _ = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_a_link_for_each_thread() {
        let links = || std::fs::metadata(THREADS).unwrap().nlink();
        let listed = || std::fs::read_dir(THREADS).unwrap().count() as u64 + 2;
        std::thread::scope(|scope| {
            let (here, there) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || there.recv().is_err());
            // (Other tests may start or end threads meanwhile.)
            assert!((0..1_000_000).any(|_| links() == listed() && links() > 3));
            drop(here);
        });
    }

    #[test]
    fn a_thread_that_ends_is_known_by_its_flags() {
        assert!(is_ending(b"7 (a) b (c) R 1 2 3 0 -1 4194308 0 0"));
        assert!(!is_ending(b"7 (a) 4 (4) R 1 2 3 0 -1 4194304 4 4"));
        assert!(!is_ending(b"") && !is_ending(b"7 (a) R 1"));
    }
}
