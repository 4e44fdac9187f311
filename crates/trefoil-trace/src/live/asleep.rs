//! Whether every thread of this process sleeps until another one wakes it.
//!
//! **Job.** The executors and blocking waits report each sleep that has no end of its own: no
//! deadline, no descriptor. If that holds for all threads of the process, and one of them waits for
//! something, the program is dead. A thread of this file's own looks for that a while after the
//! last report, because others may be about to go on, and looks a few times more, because helper
//! threads take a moment to end.
//!
//! **Why that is enough.** The look reads the number of reported sleeps and of changes, then asks
//! the kernel for all threads, and reads the number of changes again. If that is the same, all
//! reported threads have been inside their sleeps all the time, where they wake nobody. A thread
//! that was woken and has not run yet is not asleep for the kernel. (A signal handler that wakes a
//! thread is not considered.)
//!
//! Tests: below, `tests/asleep.rs`.

use std::time::Duration;

use crate::loom::{Mutex, Parker, thread};
use crate::sys::fork::PerProcess;
use crate::sys::thread_id;

/// When it looks for the first time; each pause is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// How often it looks while nothing changes.
const LOOKS: u32 = 12;

static COUNTS: PerProcess<Mutex<Counts>> = PerProcess::new();

#[derive(Default)]
struct Counts {
    asleep: usize,
    /// How many of them wait for something: the others have nothing to do.
    waiting: usize,
    changes: u64,
    is_watched: bool,
}

/// A thread's sleep, until this is dropped.
#[derive(Debug)]
pub struct Asleep {
    /// The address of the counts: a forked child has others.
    counts: usize,
    waits: bool,
}

impl Drop for Asleep {
    fn drop(&mut self) {
        if let Some(counts) = COUNTS.get()
            && std::ptr::from_ref(counts).addr() == self.counts
        {
            let mut counts = counts.lock();
            counts.asleep -= 1;
            counts.waiting -= usize::from(self.waits);
            counts.changes += 1;
        }
    }
}

/// This thread is about to sleep until another one wakes it. `waits`: for something that its code
/// needs. `dead`: reports that all do, by the number of changes.
pub(super) fn fall_asleep(waits: bool, dead: fn(u64)) -> Asleep {
    let shared = COUNTS.get_or_init(Mutex::default);
    let mut counts = shared.lock();
    counts.asleep += 1;
    counts.waiting += usize::from(waits);
    counts.changes += 1;
    let begins = counts.waiting > 0 && !counts.is_watched;
    counts.is_watched |= begins;
    drop(counts);
    if begins {
        let watch = thread::Builder::new().name("trefoil-asleep".to_owned());
        if watch.spawn(move || watch_over(shared, dead)).is_err() {
            shared.lock().is_watched = false;
        }
    }
    Asleep {
        counts: std::ptr::from_ref(shared).addr(),
        waits,
    }
}

/// Looks until all are dead, nobody waits, or nothing has changed for long.
fn watch_over(shared: &'static Mutex<Counts>, dead: fn(u64)) {
    let (mut pause, mut looks, mut seen) = (FIRST, 0, 0);
    let parker = Parker::new();
    loop {
        parker.park_timeout(pause);
        let mut counts = shared.lock();
        if counts.changes != seen {
            (pause, looks, seen) = (FIRST, 0, counts.changes);
        }
        if counts.waiting == 0 || looks == LOOKS {
            counts.is_watched = false;
            return;
        }
        let asleep = counts.asleep;
        drop(counts);
        if all_asleep() == Some(asleep) {
            let mut counts = shared.lock();
            if counts.changes == seen {
                counts.is_watched = false;
                drop(counts);
                return dead(seen);
            }
        }
        looks += 1;
        pause = LONGEST.min(pause * 2);
    }
}

/// How many threads this process has besides the calling one, if all of them sleep in the kernel:
/// `None` if one does not, or if that cannot be read: only Linux has these files.
///
/// Cost: some ten microseconds for each thread.
fn all_asleep() -> Option<usize> {
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

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
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
