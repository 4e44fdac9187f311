//! Closures that a thread lends to the pool although they borrow from its caller, and for which it
//! waits.
//!
//! **Job.** The pool's queues hold only what lives for ever; the tasks of a scope and the shares of
//! a broadcast live for `'scope`. Here that lifetime is erased, and counting replaces it.
//!
//! **Protocol.**
//! 1. [`ScopeCounter::lend`] counts an entry, and returns an [`ErasedEntry`], which the caller
//!    queues.
//! 2. The thread that takes it from the queue runs the entry (unless the pool is closed), drops it,
//!    and then counts it off. Counting writes to a line that all threads share, so two shortcuts
//!    avoid it: a thread counts off several ended entries at once ([`EndedEntries`]); and it gives
//!    the count of an ended entry to the next one that it lends. The scope's own thread can do the
//!    latter from its first entry on, because some are counted in advance ([`IN_ADVANCE`]).
//! 3. [`ScopeCounter::end_after`] runs the body of the scope. It neither returns nor unwinds before
//!    the count is zero.
//! 4. The thread that counts off the last entry sets the latch that `end_after` waits for. It
//!    clones the waiter's handle before (as P5), because the counter may be freed as soon as the
//!    latch is set.
//!
//! - **P15** The references that have lost their lifetime are inside [`ErasedEntry`]: those of the
//!   entry, and the pointer to the counter. Each `ErasedEntry` is counted until its entry has been
//!   dropped, and the counter lives until the last one has set the latch.
//!
//! Rejected: boxed closures in the pool itself (a waiter could not distinguish its own tasks from
//! unrelated ones); dropping finished results with the handle, which may be dropped later than the
//! scope (they are dropped with the entry); a job with a latch for each share of a broadcast (as
//! many wake-ups of the waiter); a counted reference to the counter in each (two more writes to the
//! line that all threads share, for each entry).
//!
//! Tests: `tests/thread/pool.rs::{what_a_scope_was_given_is_dropped_when_it_ends,
//! an_unjoined_panic_resumes_when_the_scope_ends}`,
//! `tests/thread/resize.rs::each_worker_is_called_once_and_results_are_in_order`, also under Miri.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::thread;

use super::abort_on_unwind::AbortOnUnwind;
use super::countdown::CountdownLatch;
use super::latch::Latch;
use super::raw_pair_arc::{Owned, PairArc};
use super::scope_queue::{ScopeQueue, Ticket};
use crate::loom::Mutex;
use crate::sys::fork;
use crate::task::Panic;
use crate::task::context::{Inherited, inherit};
use crate::task::panic::contain;
use crate::thread::engine::wake::WakeHandle;

/// A task of a scope, or a share of a broadcast, whatever its types.
pub(in crate::thread) trait ScopeEntry: Send + Sync {
    /// Runs it, unless it has been begun. Must not unwind.
    ///
    /// # Safety
    /// P34: if `alone`, no other thread has it: the half of its handle is gone.
    unsafe fn run(&self, counter: &ScopeCounter, alone: bool);
    /// Whether it has been begun, and perhaps ended.
    fn is_taken(&self) -> bool {
        false
    }
}

/// A share of a broadcast. The closure must not unwind.
impl<F: Fn() + Send + Sync> ScopeEntry for F {
    unsafe fn run(&self, _: &ScopeCounter, _: bool) {
        self();
    }
}

/// How many entries of a scope are counted before there are any.
const IN_ADVANCE: usize = 64;

/// Counts the entries that have been lent. The count, which each lending changes, is separate
/// from the fields that each run reads.
#[repr(C)]
pub(in crate::thread) struct ScopeCounter {
    /// Entries not yet dropped, and one for the body.
    left: CountdownLatch,
    /// The panics of entries, in the order in which they were recorded; `None`: it has been taken.
    pub(in crate::thread) panics: Mutex<Vec<Option<Panic>>>,
    /// The addresses of the entries that threads wait for, with those threads.
    joining: Mutex<Vec<(usize, WakeHandle)>>,
    /// Set when the last entry has been counted off.
    latch: Latch,
    /// The thread that waits for the latch. Valid until the latch is set.
    pub(in crate::thread) waiter: NonNull<WakeHandle>,
    /// The task that the counter is in.
    inherited: Inherited,
    /// The process that it was made in; see `fork.rs`.
    born: u32,
    /// Its entries for which the injector has tickets, if there ever were any.
    queue: OnceLock<ScopeQueue<ErasedEntry>>,
}

// SAFETY: P15: the handle that is behind a pointer is there until the latch is set, and may be used
// by any thread.
unsafe impl Send for ScopeCounter {}
// SAFETY: P15: as above.
unsafe impl Sync for ScopeCounter {}

/// An entry, and its counter.
pub(in crate::thread) struct TrackedEntry<E: ?Sized> {
    counter: NonNull<ScopeCounter>,
    pub(in crate::thread) entry: E,
}

// SAFETY: P15: the counter may be used by any thread, and is there as long as the entry is counted.
unsafe impl<E: ?Sized + Send> Send for TrackedEntry<E> {}
// SAFETY: P15: as above.
unsafe impl<E: ?Sized + Sync> Sync for TrackedEntry<E> {}

/// The right to run an entry, once. Dropping it counts the entry off. As small as a fat pointer, so
/// that it is passed in registers.
pub(in crate::thread) struct ErasedEntry(ManuallyDrop<PairArc<TrackedEntry<dyn ScopeEntry>>>);

/// The right to take an entry of its counter from the queue, if there is one.
pub(in crate::thread) type ScopeTicket = Ticket<ErasedEntry>;

/// Entries of one counter that this thread has run and dropped, and that are still counted, or were
/// counted in advance. Dropping it counts them off.
#[derive(Default)]
pub(in crate::thread) struct EndedEntries {
    entries: Cell<usize>,
    /// The counter of these entries, if there are any.
    counter: Cell<Option<NonNull<ScopeCounter>>>,
}

impl ScopeCounter {
    /// A counter for whose end `waiter` will wait. It has counted [`IN_ADVANCE`] entries already,
    /// for [`end_after`](Self::end_after).
    ///
    /// # Safety
    /// The handle is there until `end_after` has ended.
    #[inline]
    pub(in crate::thread) unsafe fn new(waiter: &WakeHandle) -> Self {
        Self {
            left: CountdownLatch::new(1 + IN_ADVANCE),
            latch: Latch::new(),
            waiter: NonNull::from(waiter),
            inherited: Inherited::current(),
            born: fork::generation(),
            panics: Mutex::default(),
            joining: Mutex::default(),
            queue: OnceLock::new(),
        }
    }

    /// Runs `body`, then `rest`, which runs what this thread can, and then `wait`, until nothing is
    /// lent any more: `wait` returns when the latch is set. Called once. An error is the payload of
    /// `body`'s panic.
    ///
    /// `ended` begins with the entries that were counted in advance. So a small scope of which no
    /// other thread runs a part need not count at all.
    pub(in crate::thread) fn end_after<R>(
        &self,
        ended: &EndedEntries,
        body: impl FnOnce() -> R,
        rest: impl FnOnce(),
        wait: impl FnOnce(&Latch),
    ) -> thread::Result<R> {
        ended.add(self, IN_ADVANCE);
        // P16: between here and the end of the wait nothing unwinds, except in a forked child,
        // which lacks the threads that have the remaining entries.
        let frame = AbortOnUnwind::begin();
        let result = catch_unwind(AssertUnwindSafe(body));
        rest();
        let own = 1 + ended.take(self);
        // If all counted entries are this thread's own, no other thread touches the count or the
        // latch.
        if !self.left.is(own) && !self.left.off(own) {
            wait(&self.latch);
            assert!(self.latch.is_set(), "P16: something is lent");
        }
        frame.end();
        result
    }

    /// Both halves of an entry: one to be lent, and its handle's.
    #[inline(always)] // so that a closure is put where it stays, and not copied there
    pub(in crate::thread) fn pair<'scope, E: ScopeEntry + 'scope>(
        &self,
        entry: E,
    ) -> (
        PairArc<TrackedEntry<dyn ScopeEntry + 'scope>>,
        PairArc<TrackedEntry<E>>,
    ) {
        let counter = NonNull::from(self);
        let (entry, handle) = PairArc::pair(TrackedEntry { counter, entry });
        (any(entry), handle)
    }

    /// The half of an entry without a handle.
    #[inline(always)]
    pub(in crate::thread) fn alone<'scope, E: ScopeEntry + 'scope>(
        &self,
        entry: E,
    ) -> PairArc<TrackedEntry<dyn ScopeEntry + 'scope>> {
        let counter = NonNull::from(self);
        any(PairArc::alone(TrackedEntry { counter, entry }))
    }

    /// Lends an entry: counts it, or gives it the count of one that has `ended`.
    ///
    /// # Safety
    /// Called inside [`end_after`](Self::end_after), and what `entry` borrows outlives that. It is
    /// this counter's.
    pub(in crate::thread) unsafe fn lend<'scope>(
        &self,
        entry: PairArc<TrackedEntry<dyn ScopeEntry + 'scope>>,
        ended: Option<&EndedEntries>,
    ) -> ErasedEntry {
        if !ended.is_some_and(|ended| ended.pass_on(self)) {
            self.left.add();
        }
        // SAFETY: P15: only the lifetime changes. This half is dropped before the count is zero,
        // and `end_after` waits for that before it ends: until then, the caller promises,
        // what the entry borrows is there.
        let lent = unsafe {
            mem::transmute::<
                PairArc<TrackedEntry<dyn ScopeEntry + 'scope>>,
                PairArc<TrackedEntry<dyn ScopeEntry>>,
            >(entry)
        };
        ErasedEntry(ManuallyDrop::new(lent))
    }

    /// Runs an entry in the context of the task that the counter is in.
    ///
    /// # Safety
    /// `end_after` does not end before this call does. If `alone`, the half of the entry's handle
    /// is gone.
    pub(in crate::thread) unsafe fn run(&self, entry: &dyn ScopeEntry, alone: bool) {
        // SAFETY: P15: `end_after`, which is inside the task that it was taken in, does not end
        // meanwhile: the caller's promise.
        let _inherited = unsafe { inherit(self.inherited) };
        // SAFETY: P34: the caller's promise.
        unsafe { entry.run(self, alone) };
    }

    /// The newest entry for which the injector has a ticket.
    pub(in crate::thread) fn take_queued(&self) -> Option<ErasedEntry> {
        self.queue.get()?.take_newest()
    }

    /// Takes the panics of entries that no handle has taken.
    pub(in crate::thread) fn take_panics(&self) -> Vec<Option<Panic>> {
        let mut panics = self.panics.lock();
        // Taking from an empty list would cost more than this check.
        if panics.is_empty() {
            return Vec::new();
        }
        mem::take(&mut *panics)
    }

    /// Keeps the panic of an entry; returns its index in the list.
    pub(in crate::thread) fn keep_panic(&self, panic: Panic) -> usize {
        let mut panics = self.panics.lock();
        panics.push(Some(panic));
        panics.len() - 1
    }

    /// Registers `thread` as waiting for an entry until `wait` returns.
    pub(in crate::thread) fn join(
        &self,
        entry: &dyn ScopeEntry,
        thread: WakeHandle,
        wait: impl FnOnce(),
    ) {
        let address = ptr::from_ref(entry).addr();
        self.joining.lock().push((address, thread));
        wait();
        self.joining.lock().retain(|(other, _)| *other != address);
    }

    /// Wakes the thread that has parked for an entry.
    pub(in crate::thread) fn wake_joining(&self, entry: &dyn ScopeEntry) {
        if self.born != fork::generation() {
            return; // it is not there in a forked child, where the lock may be held for ever
        }
        let address = ptr::from_ref(entry).addr();
        let joining = self.joining.lock();
        let found = joining.iter().find(|(other, _)| *other == address);
        let thread = found.map(|(_, thread)| thread.clone());
        drop(joining);
        if let Some(thread) = thread {
            thread.wake();
        }
    }
}

/// Erases the type of an entry.
#[inline(always)]
fn any<'scope>(
    half: PairArc<TrackedEntry<impl ScopeEntry + 'scope>>,
) -> PairArc<TrackedEntry<dyn ScopeEntry + 'scope>> {
    let owned: NonNull<Owned<TrackedEntry<dyn ScopeEntry + 'scope>>> = ManuallyDrop::new(half).0;
    PairArc(owned)
}

impl ErasedEntry {
    /// Runs the entry, and drops it. Never unwinds. It then counts as `ended`; ended entries of
    /// another counter are counted off before.
    pub(in crate::thread) fn run(self, ended: &EndedEntries) {
        let mut lent = ManuallyDrop::new(self);
        // SAFETY: P15: this is counted until it has ended, so the counter is there.
        let counter = unsafe { lent.0.counter.as_ref() };
        ended.count_off_others(counter);
        // SAFETY: P15: as above: `end_after` has not ended. P34: an entry has two halves, this and
        // its handle's.
        unsafe { counter.run(&lent.0.entry, lent.0.is_alone()) };
        // SAFETY: P15: it is not dropped otherwise.
        contain(|| unsafe { ManuallyDrop::drop(&mut lent.0) });
        ended.add(counter, 1);
    }

    /// Puts it into the queue of its counter, and `inject`s a ticket if there is none for it; the
    /// counter may not be there any more then.
    pub(in crate::thread) fn enqueue(self, inject: impl FnOnce(ScopeTicket)) {
        // SAFETY: P15: this is counted still, so the counter is there.
        let counter = unsafe { self.0.counter.as_ref() };
        let queue = counter.queue.get_or_init(ScopeQueue::new).clone();
        queue.push(self, Self::is_taken, inject);
    }

    /// Whether the entry has been begun, and perhaps ended.
    pub(in crate::thread) fn is_taken(&self) -> bool {
        self.0.entry.is_taken()
    }

    /// The address of the counter, which distinguishes scopes that are open at the same time.
    pub(in crate::thread) fn counter(&self) -> usize {
        self.0.counter.addr().get()
    }

    /// The address of the entry, which distinguishes it from others.
    pub(in crate::thread) fn address(&self) -> usize {
        ptr::from_ref(&self.0.entry).addr()
    }
}

impl Drop for ErasedEntry {
    fn drop(&mut self) {
        let counter = self.0.counter.as_ptr();
        // SAFETY: P15: `run` does not drop it.
        contain(|| unsafe { ManuallyDrop::drop(&mut self.0) });
        // SAFETY: P15: it is counted still.
        unsafe { count_off(counter, 1) };
    }
}

impl EndedEntries {
    /// Adds ended entries of this counter. Those of another one are counted off.
    #[inline]
    fn add(&self, counter: &ScopeCounter, entries: usize) {
        self.count_off_others(counter);
        self.counter.set(Some(NonNull::from(counter)));
        self.entries.set(self.entries.get() + entries);
    }

    fn are_of(&self, counter: &ScopeCounter) -> bool {
        self.counter.get() == Some(NonNull::from(counter))
    }

    /// Gives the count of one of them to an entry that this counter is about to lend. False: there
    /// is none.
    fn pass_on(&self, counter: &ScopeCounter) -> bool {
        let entries = self.entries.get();
        let has_one = entries > 0 && self.are_of(counter);
        self.entries.set(entries - usize::from(has_one));
        has_one
    }

    /// Takes those of this counter, which the caller counts off. Those of another one are counted
    /// off here.
    fn take(&self, counter: &ScopeCounter) -> usize {
        self.count_off_others(counter);
        self.entries.take()
    }

    #[inline]
    fn count_off_others(&self, counter: &ScopeCounter) {
        if !self.are_of(counter) {
            self.count_off();
        }
    }

    /// Counts all of them off.
    #[inline]
    pub(in crate::thread) fn count_off(&self) {
        let entries = self.entries.take();
        if entries > 0
            && let Some(counter) = self.counter.get()
        {
            // SAFETY: P15: they are counted still.
            unsafe { count_off(counter.as_ptr(), entries) };
        }
    }
}

impl Drop for EndedEntries {
    fn drop(&mut self) {
        self.count_off();
    }
}

/// Counts entries off that have been dropped.
///
/// # Safety
/// P15: they are counted, and not counted off otherwise.
unsafe fn count_off(counter: *const ScopeCounter, entries: usize) {
    // SAFETY: P15: they are counted still. What follows borrows the count alone, which `off` does
    // not touch once it has counted.
    let left = unsafe { &(*counter).left };
    if left.off(entries) {
        // SAFETY: P15: they were the last, and have not set the latch. This borrows the latch
        // alone, which is not touched once it is set (P5).
        let latch = unsafe { &(*counter).latch };
        if !latch.set_unless_parked() {
            // SAFETY: P15: as above.
            let waiter = unsafe { (*counter).waiter };
            // SAFETY: P15: the latch is not set, so the handle is there.
            let waiter = unsafe { waiter.as_ref() }.clone();
            if latch.set() {
                waiter.wake();
            }
        }
    }
}
