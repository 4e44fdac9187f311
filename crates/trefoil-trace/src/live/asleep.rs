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
//! Tests: `tests/asleep.rs`.

use std::time::Duration;

use crate::loom::{Mutex, Parker, thread};
use crate::sys::fork::PerProcess;
use crate::sys::other_threads;

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
        if other_threads::all_asleep() == Some(asleep) {
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
