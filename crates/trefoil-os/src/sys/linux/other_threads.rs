//! What the other threads of this process do, as the kernel sees it.
//!
//! Tests: below.

use crate::sys::thread_id;

/// How many threads this process has besides the calling one, if all of them sleep in the kernel:
/// `None` if one does not, or if that cannot be read.
///
/// Cost: some ten microseconds for each thread.
pub fn all_asleep() -> Option<usize> {
    let mine = thread_id::mine().to_string();
    let mut others = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?;
        if task.file_name().to_str() == Some(mine.as_str()) {
            continue;
        }
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        // The state comes after the name, which is in parentheses and may contain parentheses.
        if !stat.rsplit_once(')')?.1.trim_start().starts_with('S') {
            return None;
        }
        others += 1;
    }
    Some(others)
}

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // threads of a test
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_computes_is_not_asleep() {
        let (ends, end) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let computes = thread::spawn(move || {
            begun.send(()).unwrap();
            while end.try_recv() == Err(mpsc::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        });
        begins.recv().unwrap();
        assert_eq!(all_asleep(), None);
        drop(ends);
        computes.join().unwrap();
    }
}
