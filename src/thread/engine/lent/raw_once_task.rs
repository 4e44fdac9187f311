//! A task of a scope: its closure, and later its result.
//!
//! - **P34** The place belongs to the thread that has made the state [`BEGUN`], until that sets the
//!   latch; then to the thread that has made it [`TAKEN`]. In between no thread touches it. Where
//!   the handle is gone, the place belongs to the one thread that is left.
//!
//! Tests: `tests/thread/pool.rs::{tasks_that_are_joined_in_any_order_and_by_others,
//! what_a_scope_was_given_is_dropped_when_it_ends}`, also under Miri.
#![allow(unsafe_code)]

use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;

use super::latch::Latch;
use super::raw_pair_arc::{Owned, PairArc};
use super::raw_scope_counter::{ScopeCounter, ScopeEntry, TrackedEntry};
use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicU32, Ordering};
use crate::task::panic;

const QUEUED: u32 = 0;
const BEGUN: u32 = 1;
const TAKEN: u32 = 2;

/// A task of a scope: its state, and its closure or result.
pub(in crate::thread) struct OnceTask<F, T> {
    state: AtomicU32,
    /// Set when the task has ended.
    latch: Latch,
    place: UnsafeCell<Contents<F, T>>,
}

/// A task as its handle sees it.
pub(in crate::thread) trait OnceTaskHandle<T>: ScopeEntry {
    /// Set when it has ended.
    fn latch(&self) -> &Latch;
    /// Takes the value, if the task has ended and no caller has taken it.
    fn take(&self) -> Option<T>;
}

/// A spawned task. An error is the index of its panic in the scope's list.
pub(in crate::thread) type Scoped<F, T> = OnceTask<F, Result<T, usize>>;

impl<F, T> ScopeEntry for Scoped<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    unsafe fn run(&self, counter: &ScopeCounter, alone: bool) {
        let call = |closure| panic::catch(closure).map_err(|panic| counter.keep_panic(panic));
        // SAFETY: P34: the caller's promise.
        if unsafe { self.run_closure(call, alone) } {
            counter.wake_joining(self);
        }
    }

    fn is_taken(&self) -> bool {
        self.is_begun()
    }
}

enum Contents<F, T> {
    Closure(F),
    Value(T),
    Empty,
}

// SAFETY: P34: what is in the place goes from thread to thread, and is never touched by two at
// once.
unsafe impl<F: Send, T: Send> Sync for OnceTask<F, T> {}

impl<F, T> OnceTask<F, T> {
    pub(in crate::thread) fn new(closure: F) -> Self {
        Self {
            state: AtomicU32::new(QUEUED),
            latch: Latch::new(),
            place: UnsafeCell::new(Contents::Closure(closure)),
        }
    }

    /// Whether a thread has begun it, and perhaps ended it.
    fn is_begun(&self) -> bool {
        self.state.load(Ordering::Relaxed) != QUEUED
    }

    /// Lets `call` run the closure, stores the value, and sets the latch. True: a thread has parked
    /// for it, and must be woken. Does nothing if the task has been begun before. `call` must not
    /// unwind.
    ///
    /// # Safety
    /// P34: if `alone`, the handle is gone, so that no other thread begins it, or waits for it.
    unsafe fn run_closure(&self, call: impl FnOnce(F) -> T, alone: bool) -> bool {
        let begins = if alone {
            !self.is_begun()
        } else {
            self.change(QUEUED, BEGUN)
        };
        if !begins {
            return false;
        }
        // SAFETY: P34: this thread has made it BEGUN, or is the only one that is left.
        if let Contents::Closure(closure) = unsafe { self.put(Contents::Empty) } {
            let value = call(closure);
            // SAFETY: P34: as above.
            unsafe { self.put(Contents::Value(value)) };
        }
        !alone && self.latch.set()
    }

    /// Replaces the contents of the place, and returns the previous ones.
    ///
    /// # Safety
    /// P34: the place is the caller's.
    unsafe fn put(&self, place: Contents<F, T>) -> Contents<F, T> {
        // SAFETY: P34: no other thread touches it, the caller's promise.
        self.place
            .with_mut(|at| mem::replace(unsafe { &mut *at }, place))
    }

    fn take_value(&self) -> Option<T> {
        if !self.latch.is_set() || !self.change(BEGUN, TAKEN) {
            return None;
        }
        // SAFETY: P34: this thread has made it TAKEN.
        match unsafe { self.put(Contents::Empty) } {
            Contents::Value(value) => Some(value),
            _ => None,
        }
    }

    fn change(&self, from: u32, to: u32) -> bool {
        // Relaxed: no thread has touched the place since the task was made known to this one; or it
        // has ended, and what was done before the latch was set is visible (P4).
        let order = Ordering::Relaxed;
        self.state.compare_exchange(from, to, order, order).is_ok()
    }
}

impl<F, T> OnceTaskHandle<T> for OnceTask<F, T>
where
    Self: ScopeEntry,
{
    fn latch(&self) -> &Latch {
        &self.latch
    }

    fn take(&self) -> Option<T> {
        self.take_value()
    }
}

/// A large value is in a box until its user gets it (`large.rs`).
impl<F, T> OnceTaskHandle<Result<T, usize>> for Scoped<F, Box<T>>
where
    Self: ScopeEntry,
{
    fn latch(&self) -> &Latch {
        &self.latch
    }

    fn take(&self) -> Option<Result<T, usize>> {
        match self.take_value()? {
            Ok(value) => Some(Ok(*value)),
            Err(which) => Some(Err(which)),
        }
    }
}

/// Erases the type of the closure from the handle's half of a task.
pub(in crate::thread) fn handle<'scope, T>(
    half: PairArc<TrackedEntry<impl OnceTaskHandle<T> + 'scope>>,
) -> PairArc<TrackedEntry<dyn OnceTaskHandle<T> + 'scope>> {
    let owned: NonNull<Owned<TrackedEntry<dyn OnceTaskHandle<T> + 'scope>>> =
        ManuallyDrop::new(half).0;
    PairArc(owned)
}
