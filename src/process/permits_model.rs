//! Permits for the models: processes that take them, and a parent that takes them back.
//!
//! It drives the real `pages::permit_words`. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use crate::loom::atomic::{AtomicU32, Ordering};
use crate::loom::{Condvar, Mutex};
use crate::process::pages::permit_words::{PermitWords, Sleep, model};

/// Some permits, and those that sleep for them.
pub struct Permits {
    words: Vec<AtomicU32>,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A futex as the kernel has it: it looks at the word and goes to sleep in one step. It wakes
/// exactly as many as asked, so that a wake-up that is lost shows.
impl Sleep for Permits {
    fn wait(&self, word: &AtomicU32, value: u32) {
        let guard = self.lock.lock();
        if word.load(Ordering::SeqCst) == value {
            drop(self.changed.wait(guard));
        }
    }

    fn wake(&self, _word: &AtomicU32, all: bool) {
        drop(self.lock.lock());
        if all {
            self.changed.notify_all()
        } else {
            self.changed.notify_one()
        }
    }
}

impl Permits {
    pub fn new(permits: usize, early: bool) -> Self {
        model::set_early(early);
        Self {
            words: (0..=permits).map(|_| AtomicU32::new(0)).collect(),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// Process `own` waits for a permit. Returns which.
    pub fn acquire(&self, own: u32) -> usize {
        let permit = PermitWords(&self.words).acquire(own, self);
        assert_eq!(self.words[permit + 1].load(Ordering::SeqCst), own);
        permit
    }

    pub fn release(&self, permit: usize, own: u32) {
        PermitWords(&self.words).release(permit, own, self);
    }

    /// The parent: process `ended` is gone.
    pub fn ended(&self, ended: u32) {
        PermitWords(&self.words).release_of(ended, self);
    }

    pub fn available(&self) -> usize {
        PermitWords(&self.words).available()
    }
}
