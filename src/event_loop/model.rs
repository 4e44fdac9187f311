//! The inbox of a loop, for the models in `tests/trefoil-checks/`.
//!
//! It exists under `--cfg loom` only. One of loom's condition variables replaces the kernel's wait;
//! everything else is the loop's real code.
#![allow(missing_docs)]

use std::sync::Arc;

use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Condvar, Mutex};
use crate::task::{self, Inbox, Runnable, SleepPlace, Task, inbox_fault};

/// One queue entry.
#[derive(Debug)]
pub struct Entry(Runnable);

impl Entry {
    pub fn run(self) {
        self.0.run();
    }
}

pub fn closure<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Entry, Task<T>) {
    let (runnable, task) = task::closure(f, false);
    (Entry(runnable), task)
}

/// An inbox, the descriptor that its loop sleeps on, and a note beside it.
#[derive(Clone)]
pub struct Mail(Arc<Parts>);

struct Parts {
    inbox: Inbox,
    /// One for each way to sleep: a wake-up of the wrong one is lost.
    written: [Mutex<bool>; 2],
    waits: [Condvar; 2],
    noted: AtomicBool,
}

impl Parts {
    fn wake(&self, place: SleepPlace) {
        let which = place as usize;
        *self.written[which].lock() = true;
        self.waits[which].notify_one();
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail")
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self(Arc::new(Parts {
            inbox: Inbox::default(),
            written: [Mutex::new(false), Mutex::new(false)],
            waits: [Condvar::new(), Condvar::new()],
            noted: AtomicBool::new(false),
        }))
    }
}

impl Mail {
    /// On any thread: posts an entry.
    pub fn post(&self, entry: Entry) {
        let parts = &*self.0;
        match parts.inbox.push(entry.0) {
            Ok(None) => {}
            Ok(Some(sleep)) => parts.wake(sleep),
            Err(refused) => drop(refused),
        }
    }

    /// On any thread: leaves a note, as in `Shared`.
    pub fn note(&self) {
        let parts = &*self.0;
        parts.noted.store(true, Ordering::Release);
        if let Some(sleep) = parts.inbox.ring() {
            parts.wake(sleep);
        }
    }

    /// On the loop's thread: whether there was a note.
    pub fn take_note(&self) -> bool {
        let noted = &self.0.noted;
        noted.load(Ordering::Relaxed) && noted.swap(false, Ordering::Acquire)
    }

    /// On the loop's thread: takes the entries.
    pub fn collect(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.0.inbox.drain(&mut entries);
        entries.into_iter().map(Entry).collect()
    }

    /// On the loop's thread: sleeps like `turn.rs`; `parks`: by parking.
    pub fn sleep(&self, parks: bool) {
        let place = if parks {
            SleepPlace::Parker
        } else {
            SleepPlace::Poller
        };
        let Parts {
            inbox,
            written,
            waits,
            noted,
        } = &*self.0;
        let (written, waits) = (&written[place as usize], &waits[place as usize]);
        if inbox.begin_sleep(place) && !noted.load(Ordering::Relaxed) {
            let mut guard = written.lock();
            while !*guard {
                guard = waits.wait(guard);
            }
            *guard = false;
        }
        inbox.end_sleep();
    }

    pub fn close(&self) {
        drop(self.0.inbox.close());
    }
}

/// Splits `begin_sleep` into a look and a store, or makes it one step again.
pub fn begin_sleep_in_two_steps(on: bool) {
    inbox_fault::begin_sleep_in_two_steps(on);
}
