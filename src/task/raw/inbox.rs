//! A queue that any thread pushes to and one thread drains, made of the tasks themselves; and whether that thread sleeps, in
//! the same word. `docs/MODELS.md` has a picture.
//!
//! **Protocol.** A Treiber stack over the headers' `next` links.
//!
//! 1. `push` links the cell in front with one compare-and-exchange, which also tells it whether the drainer slept:
//!    then this thread, and no other, must wake it. Nothing goes into an inbox that is closed.
//! 2. Before the drainer sleeps it puts a mark into the word, which succeeds only if nothing is there; then it
//!    looks at whatever else it would be rung for.
//! 3. `drain` takes the whole stack with one swap and turns it round, so entries come out in the order in which they
//!    went in. There is no pop of one entry, hence no ABA.
//! 4. `ring` takes the mark away, for a thread that has left something elsewhere; so does the drainer itself.
//! 5. `close` takes the last entries in the step after which none can follow.
//!
//! - **T11** A cell is in at most one inbox at a time: a `Runnable` is the only entry of its task (`SCHEDULED` is set once per
//!   entry), and it is consumed by `push`. So `next` has one writer at a time. A future that waiters may claim can have more,
//!   stale ones, and never goes into an inbox: its executor queues `Runnable`s themselves.
//! - **T23** The word is null, a mark, which is never followed, or the pointer of an entry; the `next` of an entry in it is
//!   null or the pointer of another. A header's address is above the marks.
//! - **T25** No wake-up is lost, and there is at most one for each sleep: `docs/MODELS.md` has the proof.
//!
//! **Rejected.** A bell in a word of its own (a fence for each push); an array of pointers in segments (`docs/DESIGN.md`).
//!
//! Tests: `checks/tests/models.rs::inbox_*`, `checks/tests/loop_models.rs`, with twins that lack
//! a step or a fence.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use super::header::{Header, Runnable, TaskRef};
use crate::loom::atomic::{AtomicPtr, Ordering, fence};

/// How the drainer sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// In the kernel, for many things.
    Asleep,
    /// Until it is woken, or the time is up.
    Parked,
}

/// What a thread that has put something in must still do.
#[must_use]
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Nothing: the drainer looks by itself, or another thread wakes it.
    Heard,
    /// Wake the drainer, which sleeps so.
    Wake(Sleep),
    /// It will not be drained: here it is again.
    Closed(Runnable),
}

/// The marks, as addresses that no header has.
const ASLEEP: usize = 2;
const PARKED: usize = 4;
const CLOSED: usize = 6;
const _: () = assert!(align_of::<Header>() >= 8);

fn mark(of: usize) -> *mut Header {
    ptr::without_provenance_mut(of)
}

/// What the word says where it is no entry.
fn sleeps(word: *mut Header) -> Option<Sleep> {
    match word.addr() {
        ASLEEP => Some(Sleep::Asleep),
        PARKED => Some(Sleep::Parked),
        _ => None,
    }
}

/// The entry, if it is one (T23).
fn entry(word: *mut Header) -> Option<NonNull<Header>> {
    if word.addr() > CLOSED {
        NonNull::new(word)
    } else {
        None
    }
}

/// A lock-free multi-producer queue of runnables that never allocates.
pub(crate) struct Inbox {
    newest: AtomicPtr<Header>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// (1) Adds one. Releases what this thread did before.
    pub(crate) fn push(&self, runnable: Runnable) -> Pushed {
        let new = runnable.into_ref().into_raw();
        let mut newest = self.guess();
        loop {
            if newest.addr() == CLOSED {
                // SAFETY: T6: it was taken apart above, and has not been linked.
                return Pushed::Closed(unsafe { runnable_of(new) });
            }
            let next = entry(newest).map_or(ptr::null_mut(), NonNull::as_ptr);
            // SAFETY: T6: the entry keeps the cell; T11: its link is ours to write.
            unsafe { new.as_ref() }.next.store(next, Ordering::Relaxed);
            match self.newest.compare_exchange_weak(
                newest,
                new.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(before) => return sleeps(before).map_or(Pushed::Heard, Pushed::Wake),
                Err(actual) => newest = actual,
            }
        }
    }

    /// What the word may be. Under loom a load would hide that others come in between.
    fn guess(&self) -> *mut Header {
        if cfg!(loom) {
            ptr::null_mut()
        } else {
            self.newest.load(Ordering::Relaxed)
        }
    }

    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        entry(self.newest.load(Ordering::Acquire)).is_none()
    }

    /// (3) Takes everything that is in it now, oldest first. Acquires what the
    /// pushing threads did before. The drainer's, while it is awake.
    pub(crate) fn drain(&self) -> Drain {
        let found = self.newest.load(Ordering::Relaxed);
        if entry(found).is_none() {
            return Drain { oldest: None };
        }
        let newest = self.newest.swap(ptr::null_mut(), Ordering::AcqRel);
        Drain::from(newest)
    }

    /// (2) The drainer, before it looks a last time and sleeps. False: something is here.
    pub(crate) fn lie_down(&self, how: Sleep) -> bool {
        let mark = mark(match how {
            Sleep::Asleep => ASLEEP,
            Sleep::Parked => PARKED,
        });
        #[cfg(loom)]
        if fault::in_two_steps() {
            let empty = self.is_empty();
            if empty {
                self.newest.store(mark, Ordering::Relaxed);
            }
            return empty;
        }
        let lain = self.newest.compare_exchange(
            ptr::null_mut(),
            mark,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        #[cfg(loom)]
        if fault::without_fence() {
            return lain.is_ok();
        }
        // Partner: the fence in `ring`.
        fence(Ordering::SeqCst);
        lain.is_ok()
    }

    /// (4) The drainer, after its sleep or where it has found something after all.
    pub(crate) fn get_up(&self) {
        let found = self.newest.load(Ordering::Relaxed);
        if sleeps(found).is_some() {
            let _or_somebody_wakes_it = self.newest.compare_exchange(
                found,
                ptr::null_mut(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// (4) Any thread, after it has left something for the drainer elsewhere: how it sleeps, if this thread must wake
    /// it.
    pub(crate) fn ring(&self) -> Option<Sleep> {
        // Partner: the fence in `lie_down`.
        fence(Ordering::SeqCst);
        let found = self.newest.load(Ordering::Relaxed);
        let sleep = sleeps(found)?;
        // Acquire: the wake-up comes after what the drainer did before it lay down, as that of a `push` does; it
        // made its place to sleep then, and the wake-up must not be overwritten by that.
        self.newest
            .compare_exchange(found, ptr::null_mut(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then_some(sleep)
    }

    /// (5) The drainer: takes what is left; nothing follows.
    pub(crate) fn close(&self) -> Drain {
        let newest = self.newest.swap(mark(CLOSED), Ordering::AcqRel);
        Drain::from(newest)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.newest.load(Ordering::Relaxed).addr() == CLOSED
    }
}

impl Drop for Inbox {
    /// What is left in it is dropped: those tasks end in `Closed`.
    fn drop(&mut self) {
        self.drain().for_each(drop);
    }
}

/// An entry that is ours again.
///
/// # Safety
/// T6, T11: the cell is that of an entry that was pushed, and in no inbox any more; its count is the caller's to give away.
unsafe fn runnable_of(cell: NonNull<Header>) -> Runnable {
    // SAFETY: T6: the count of the entry.
    let entry = unsafe { TaskRef::from_raw(cell) };
    // SAFETY: T11: it is the entry that was pushed.
    unsafe { Runnable::from_ref(entry) }
}

/// The entries of one [`Inbox::drain`].
pub(crate) struct Drain {
    oldest: Option<NonNull<Header>>,
}

// SAFETY: T6: it owns counted references only, which are `Send` (see `Ref`).
unsafe impl Send for Drain {}

impl Drain {
    /// The entries of a stack that was taken out of an inbox, from this one back.
    fn from(newest: *mut Header) -> Self {
        let mut newest = entry(newest);
        let mut oldest: *mut Header = ptr::null_mut();
        while let Some(cell) = newest {
            // SAFETY: T6: the entry, now ours, keeps the cell.
            let header = unsafe { cell.as_ref() };
            newest = NonNull::new(header.next.load(Ordering::Relaxed)); // T23
            header.next.store(oldest, Ordering::Relaxed); // T11
            oldest = cell.as_ptr();
        }
        Self {
            oldest: NonNull::new(oldest),
        }
    }
}

impl Iterator for Drain {
    type Item = Runnable;

    #[inline]
    fn next(&mut self) -> Option<Runnable> {
        let cell = self.oldest?;
        // SAFETY: T6: the entry keeps the cell until we hand it on.
        let next = unsafe { cell.as_ref() }.next.load(Ordering::Relaxed);
        self.oldest = NonNull::new(next);
        // SAFETY: T6, T11: `drain` took it out of the inbox, and it has just been taken out of this.
        Some(unsafe { runnable_of(cell) })
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// Faults on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static TWO_STEPS: Cell<bool> = const { Cell::new(false) };
        static NO_FENCE: Cell<bool> = const { Cell::new(false) };
    }

    /// `lie_down` as a look and a store.
    pub(crate) fn lie_down_in_two_steps(on: bool) {
        TWO_STEPS.set(on);
    }

    pub(super) fn in_two_steps() -> bool {
        TWO_STEPS.get()
    }

    /// `lie_down` without its fence.
    pub(crate) fn break_fence(on: bool) {
        NO_FENCE.set(on);
    }

    pub(super) fn without_fence() -> bool {
        NO_FENCE.get()
    }
}
