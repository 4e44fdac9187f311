//! The protocol of `Permits` (`process::value::permits`), on words that several processes share.
//!
//! The first word counts releases. Each of the others is one permit: the id of the process that has
//! it, or 0.
//!
//! 1. A process takes a permit by one exchange of its word, 0 for its own id. So a permit is either
//!    free or names its owner: there is no moment at which a death could lose it.
//! 2. A release clears the word, then adds to the count, then wakes one sleeper. A process that
//!    finds no permit sleeps while the count is what it was before the search.
//! 3. When a pool's worker has ended, the pool clears the words with its id, adds to the count, and
//!    wakes all sleepers: the one that the last release has woken may have been that worker. It
//!    does so before it starts another process, which could get the same id.
//!
//! Tests: `tests/trefoil-checks/tests/process_models.rs`, with a broken twin that adds before it
//! clears.

use crate::loom::atomic::{AtomicU32, Ordering};

/// How a process sleeps until a word changes.
pub(crate) trait Sleep {
    /// Sleeps while `word` is `value`, until [`wake`](Self::wake) is called for it. It may return
    /// for no reason.
    fn wait(&self, word: &AtomicU32, value: u32);

    /// Wakes one, or all, of those that sleep on `word`.
    fn wake(&self, word: &AtomicU32, all: bool);
}

/// The words of some permits.
#[derive(Debug)]
pub(crate) struct PermitWords<'a>(pub(crate) &'a [AtomicU32]);

impl PermitWords<'_> {
    fn releases(&self) -> &AtomicU32 {
        &self.0[0]
    }

    fn owners(&self) -> &[AtomicU32] {
        &self.0[1..]
    }

    /// How many are free at this moment.
    pub(crate) fn available(&self) -> usize {
        let is_free = |owner: &&AtomicU32| owner.load(Ordering::Relaxed) == 0;
        self.owners().iter().filter(is_free).count()
    }

    /// Takes a permit, if one is free, for the process `own`. Returns which.
    pub(crate) fn try_acquire(&self, own: u32) -> Option<usize> {
        let take = |owner: &AtomicU32| {
            let taken = owner.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst);
            taken.is_ok()
        };
        self.owners().iter().position(take)
    }

    /// Waits for a permit, and takes it.
    pub(crate) fn acquire(&self, own: u32, sleep: &impl Sleep) -> usize {
        loop {
            let before = self.releases().load(Ordering::SeqCst);
            if let Some(permit) = self.try_acquire(own) {
                return permit;
            }
            sleep.wait(self.releases(), before);
        }
    }

    /// Gives back a permit that the process `own` has. (In a forked child it is the parent's.)
    pub(crate) fn release(&self, permit: usize, own: u32, sleep: &impl Sleep) {
        let word = &self.owners()[permit];
        #[cfg(loom)]
        if model::is_early() {
            self.releases().fetch_add(1, Ordering::SeqCst);
            sleep.wake(self.releases(), false);
            word.store(0, Ordering::SeqCst);
            return;
        }
        let cleared = word.compare_exchange(own, 0, Ordering::SeqCst, Ordering::SeqCst);
        if cleared.is_ok() {
            self.releases().fetch_add(1, Ordering::SeqCst);
            sleep.wake(self.releases(), false);
        }
    }

    /// Takes back what the process `ended` had.
    pub(crate) fn release_of(&self, ended: u32, sleep: &impl Sleep) {
        for owner in self.owners() {
            let _ = owner.compare_exchange(ended, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.releases().fetch_add(1, Ordering::SeqCst);
        sleep.wake(self.releases(), true);
    }
}

/// A fault for the model to find.
#[cfg(loom)]
pub(crate) mod model {
    use std::cell::Cell;

    // loom runs all threads of a model on one system thread.
    std::thread_local! {
        static EARLY: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes a release add before it clears.
    pub(crate) fn set_early(early: bool) {
        EARLY.with(|cell| cell.set(early));
    }

    pub(super) fn is_early() -> bool {
        EARLY.with(Cell::get)
    }
}
