//! The blocks of a slab that come back from other threads, and who frees a slab that nobody keeps.
//!
//! One word: how many have come back, which one came last (the blocks are linked through themselves, the rest
//! hangs on that one), and whether the slab is *alone*. The thread whose slab it is knows which blocks it has given out; the
//! others know only what they bring back, so they can tell that a slab has all of its blocks again only if nothing of it
//! changes elsewhere. Hence:
//!
//! 1. While its thread takes blocks from a slab, others leave what they bring ([`Returned::push`]), and the thread
//!    collects it when it has no other block left ([`Returned::collect`]).
//! 2. When it finds none there either, it takes the slab out of its lists and leaves it alone ([`Returned::leave`]), unless one
//!    comes back meanwhile. All blocks are out then: each that comes back is counted, and who brings the last one frees the slab.
//!    That can be at once: its thread does not touch it after the step that leaves it.
//! 3. If the thread itself brings one back, it keeps the slab again ([`Returned::keep`]), and takes what has come back so
//!    far. The block in its hand is not among them, so they were not all.
//! 4. A thread that ends leaves each slab alone with those blocks counted that it has not given out
//!    ([`Returned::abandon`]). Nobody keeps it again.
//!
//! - **T19** A slab is freed once, by who sees all of its blocks back while it is alone, or by its thread, which
//!   keeps it and has all of them. Who has a block out has the slab.
//!
//! Rejected: a queue for each thread, to which others bring its blocks: a thread that sleeps would keep all that it has once
//! given out.
//!
//! Checked by `checks/tests/models.rs`, with twins whose `leave` looks and stores in two steps, and
//! forgets the slab after it has left it.

use crate::loom::atomic::{AtomicU64, Ordering};

const ALONE: u64 = 1 << 63;
/// One block that has come back; the 31 bits from here up count them.
const ONE: u64 = 1 << 32;
/// The place of the one that came last; means nothing if none has.
const PLACE: u64 = ONE - 1;

/// The word.
#[derive(Debug)]
pub(in crate::task) struct Returned(AtomicU64);

/// Blocks that have come back.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::task) struct Batch {
    pub(in crate::task) count: u32,
    /// Where the one lies that came last, if there is one.
    pub(in crate::task) last: Option<u32>,
}

fn batch(word: u64) -> Batch {
    let count = ((word & !ALONE) / ONE) as u32;
    Batch {
        count,
        last: (count != 0).then_some((word & PLACE) as u32),
    }
}

impl Returned {
    pub(in crate::task) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// (1) Any thread brings the block at `place` back, of `capacity` that there are; `link` links it to the one before. True: the
    /// slab is the caller's to free.
    pub(in crate::task) fn push(
        &self,
        place: u32,
        capacity: u32,
        mut link: impl FnMut(Option<u32>),
    ) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let before = batch(word);
            link(before.last);
            let next = (word & ALONE) + u64::from(before.count + 1) * ONE + u64::from(place);
            // Releases the link and what was done in the block; acquires the same of all others, for who frees.
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return word & ALONE != 0 && before.count + 1 == capacity,
                Err(actual) => word = actual,
            }
        }
    }

    /// (1) The slab's thread, which keeps it: what has come back since the last call.
    pub(in crate::task) fn collect(&self) -> Batch {
        if self.0.load(Ordering::Relaxed) == 0 {
            return batch(0);
        }
        batch(self.0.swap(0, Ordering::Acquire))
    }

    /// (2) The slab's thread, which has no block of it left. `forget`: takes it out of the lists, before it can be
    /// freed. False: some have come back, and the slab is to be kept as before.
    pub(in crate::task) fn leave(&self, forget: impl FnOnce()) -> bool {
        #[cfg(loom)]
        if fault::forgets_late() {
            let left = self.leave_now();
            if left {
                forget();
            }
            return left;
        }
        forget();
        self.leave_now()
    }

    fn leave_now(&self) -> bool {
        #[cfg(loom)]
        if fault::is_broken() {
            let none = self.0.load(Ordering::Acquire) == 0;
            if none {
                self.0.store(ALONE, Ordering::Release);
            }
            return none;
        }
        // Releases what this thread did with the slab, for who frees it.
        self.0
            .compare_exchange(0, ALONE, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// (3) The slab's thread, which has left it alone and has a block of it in its hand: what has come
    /// back meanwhile.
    pub(in crate::task) fn keep(&self) -> Batch {
        batch(self.0.swap(0, Ordering::Acquire))
    }

    /// (4) The slab's thread, which keeps it and ends, with so many blocks that are not out. True: all
    /// are back, the slab is the caller's to free.
    pub(in crate::task) fn abandon(&self, here: u32, capacity: u32) -> bool {
        let more = ALONE + u64::from(here) * ONE;
        let before = self.0.fetch_add(more, Ordering::AcqRel);
        batch(before).count + here == capacity
    }
}

/// A fault on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(in crate::task) mod fault {
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<bool> = const { Cell::new(false) };
        static LATE: Cell<bool> = const { Cell::new(false) };
    }

    pub(in crate::task) fn forget_late(on: bool) {
        LATE.set(on);
    }

    pub(super) fn forgets_late() -> bool {
        LATE.get()
    }

    pub(in crate::task) fn leave_in_two_steps(on: bool) {
        BROKEN.set(on);
    }

    pub(super) fn is_broken() -> bool {
        BROKEN.get()
    }
}
