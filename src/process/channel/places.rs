//! How many places a channel has left: counters in memory that all its processes share.
//!
//! **Job.** A channel holds no more items than its capacity. A sender takes a place first, a receiver gives one back
//! afterwards; the two counters only grow. A process that is killed between two of these steps
//! leaves the counters too far apart, and [`mend`](Places::mend) puts them right.
//!
//! **Protocol.**
//! 1. Sending: take a place (`taken` + 1, if there is one); write the record. If the record cannot be written, give the
//!    place back.
//! 2. Receiving: read a record; give its place back (`freed` + 1).
//! 3. Mending: if more places are taken than there are records in the pipe, and this has been so, with the same
//!    counters, for as long as no process that runs needs between two steps, then those places are given back.
//! 4. Waiting: count oneself in; quiet the bell; look for a place once more; sleep. A receiver that has given a place back
//!    then looks whether anyone is counted, and rings. Counting in and giving back are
//!    each followed by a full fence before the look: one of the two sees the other.
//!
//! A process that is stopped between two steps for so long is taken for dead. When it goes on there is one item more than
//! the capacity, until the channel is empty once: `freed` never passes `taken`, so the surplus is forgotten there.
//!
//! **Invariants.**
//! - **W23** `taken` and `freed` never decrease, and `freed` passes `taken` never.
//!
//! Tests: below; `checks/tests/channel_models.rs` (under loom); `tests/process/channel.rs`. Rejected: `docs/DESIGN.md`.

use crate::loom::atomic::{AtomicU64, Ordering, fence};

/// How many places were ever taken.
const TAKEN: usize = 0;
/// How many were given back.
const FREED: usize = 1;
/// How many wait for a place; more than do, if some were killed.
const WAITING: usize = 2;
/// Where the next payload goes; not used here.
pub(super) const TAIL: usize = 3;
/// How many words there are.
pub(super) const WORDS: usize = 4;

/// The counters, wherever they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    words: &'a [AtomicU64],
    capacity: u64,
}

/// The counters, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    taken: u64,
    freed: u64,
}

impl Count {
    /// How many places are taken.
    pub(super) fn held(self) -> u64 {
        self.taken.saturating_sub(self.freed)
    }
}

impl<'a> Places<'a> {
    pub(super) fn new(words: &'a [AtomicU64], capacity: u64) -> Self {
        Self { words, capacity }
    }

    pub(super) fn count(&self) -> Count {
        // In this order, so that the difference is not too small.
        let freed = self.words[FREED].load(Ordering::Acquire);
        let taken = self.words[TAKEN].load(Ordering::Acquire);
        Count { taken, freed }
    }

    /// There is no place, by the counters.
    pub(super) fn seem_full(&self) -> bool {
        self.count().held() >= self.capacity
    }

    /// Takes a place and has `write` fill it. `None`: there is no place.
    pub(super) fn send<E>(&self, write: impl FnOnce() -> Result<(), E>) -> Option<Result<(), E>> {
        if !self.take() {
            return None;
        }
        let written = write();
        if written.is_err() {
            self.give_back();
        }
        Some(written)
    }

    fn take(&self) -> bool {
        let take = |taken: u64| {
            let freed = self.words[FREED].load(Ordering::Acquire);
            (taken.saturating_sub(freed) < self.capacity).then(|| taken.wrapping_add(1))
        };
        let word = &self.words[TAKEN];
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    /// A record has been read.
    pub(super) fn give_back(&self) {
        let more = |freed: u64| {
            let taken = self.words[TAKEN].load(Ordering::Acquire);
            (freed < taken).then(|| freed + 1) // not if peers gone wild have written here
        };
        let word = &self.words[FREED];
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Gives back the `lost` places of the dead, if the counters are still as they were `then`. True if it did.
    pub(super) fn mend(&self, then: Count, lost: u64) -> bool {
        let (yes, no) = (Ordering::AcqRel, Ordering::Acquire);
        let (from, to) = (then.freed, then.freed + lost);
        self.words[TAKEN].load(Ordering::Acquire) == then.taken
            && self.words[FREED]
                .compare_exchange(from, to, yes, no)
                .is_ok()
    }

    /// From now on a sender waits for a place; it must look once more before it sleeps.
    pub(super) fn wait(&self) {
        self.words[WAITING].fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst); // pairs with the one in `are_awaited`
    }

    /// One waiter less.
    pub(super) fn end_wait(&self) {
        let less = |count: u64| count.checked_sub(1);
        let _ = self.words[WAITING].fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// A sender waits for a place; asked after one has become free.
    pub(super) fn are_awaited(&self) -> bool {
        fence(Ordering::SeqCst); // pairs with the one in `wait`
        self.words[WAITING].load(Ordering::Relaxed) > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn places_are_as_many_as_the_capacity() {
        let words = words();
        let places = Places::new(&words, 2);
        let sent = || places.send(|| Ok::<_, ()>(()));
        assert_eq!([sent(), sent(), sent()], [Some(Ok(())), Some(Ok(())), None]);
        places.give_back();
        assert_eq!(places.send(|| Err(3)), Some(Err(3)));
        assert_eq!([sent(), sent()], [Some(Ok(())), None]);
        assert_eq!(places.count(), Count { taken: 4, freed: 2 });
    }

    #[test]
    fn only_what_has_not_moved_is_mended() {
        let words = words();
        let places = Places::new(&words, 3);
        // One has sent, two have died before.
        assert!(places.send(|| Ok::<_, ()>(())).is_some());
        assert!(places.take() && places.take());
        let then = places.count();
        assert_eq!(then.held(), 3);
        assert!(places.mend(then, 2));
        assert_eq!(places.count().held(), 1);
        assert!(!places.mend(then, 2), "it is too old");
        let now = places.count();
        assert!(places.take());
        assert!(!places.mend(now, 1), "a place was taken meanwhile");
    }

    #[test]
    fn numbers_from_elsewhere_break_nothing() {
        let words = words();
        let places = Places::new(&words, 1);
        assert_eq!(places.send(|| Ok::<_, ()>(())), Some(Ok(())));
        assert!(places.seem_full());
        words[FREED].store(99, Ordering::Relaxed);
        assert!(!places.seem_full());
        places.give_back();
        places.end_wait();
        assert_eq!(places.count().held(), 0);
    }
}
