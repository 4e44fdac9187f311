//! The cell without its types: its header, the counted reference to it, and what executors and
//! producers see of it.
//!
//! These types refer to one another, so they are in one file. The other files of this directory
//! have what is done with them.
//!
//! **Which thread may access what** (T1 to T5 are declared at `task/state.rs`):
//!
//! - **T6** A `NonNull<Header>` in a [`TaskRef`], a `Task` or a waker points to a live cell made by
//!   `cell::allocate`, with provenance over the whole allocation, and owns one count (T4).
//! - **T7** The vtable of a cell was made for that cell's own `W`, `T` and `S`, so its functions
//!   and offsets fit it, and a `Task<T>` or `Completer<T>` has the same `T`, or, if that is large,
//!   the `T` of a box with it (T30, `boxed.rs`).
//! - **T8** The payload holds the work from birth until the thread that has `RUNNING` (T1) drops or
//!   consumes it, and an output from before `DONE` until its owner (T2) takes or drops it, which it
//!   does once.
//! - **T9** The work of a [`Kind::Local`] cell may not be `Send`: it is polled and dropped only
//!   where `Schedule::is_owner_thread` says so, which is checked at each place; elsewhere it is
//!   leaked, never touched. Its output is touched by the finisher, on that thread, or by the
//!   handle, which is not `Send` unless `T` is.
//! - **T10** `S` is shared by reference only, and stays until the cell is destroyed; a caller of
//!   its functions holds a count meanwhile.
//! - **T11** A [`Runnable`] is the entry for which the transition that set `SCHEDULED` has asked,
//!   and the only one that was made for it; it is consumed once. A future that waiters may claim
//!   can have more entries, which are stale.
//! - **T18** [`YIELDED`] is set in `tag` while the task's one entry is that of a task that has
//!   yielded, which owns RUNNING (T16): from the making of that entry until it is consumed. Such an
//!   entry stays on its executor's thread.
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{complete_vs_drop_of_the_handle,
//! a_full_count_of_references}`, `tests/task/reentrancy.rs::more_wakers_than_can_be_counted`, Miri.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Instant;

use super::entered_task::Birth;
use super::rare::Rare;
use crate::events::Kind;
use crate::loom::UnsafeCell;
use crate::loom::atomic::AtomicU32;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::state::CellState;

/// A bit of a task's tag: its entry is that of a task that has yielded (T18).
pub(super) const YIELDED: u32 = 1 << 31;

/// The part of a cell that all tasks share.
#[repr(C)]
pub(super) struct Header {
    /// This is the first field: the mark of the task that runs on a thread points here (T15).
    pub(super) birth: Birth,
    pub(super) state: CellState,
    /// A word for the executor (the event loop keeps the task's place in its table there), except
    /// for one bit: [`YIELDED`].
    pub(super) tag: AtomicU32,
    pub(super) vtable: &'static VTable,
    /// The waker of the consumer. It is filled only while `WAITING` is set, or while the handle
    /// registers a waker or takes one back (T3).
    pub(super) consumer: UnsafeCell<Option<Waker>>,
    /// The parent, and what most tasks do not have.
    pub(super) rare: Rare,
    /// An empty cell through which loom sees the accesses to the payload.
    #[cfg(loom)]
    pub(super) payload: UnsafeCell<()>,
}

/// What depends on a cell's types. All functions demand T6 and T7: a live cell, and the vtable from
/// its own header.
pub(super) struct VTable {
    pub(super) kind: Kind,
    /// That of `S`: see [`Schedule::KEPT`].
    #[cfg(feature = "inspect")]
    pub(super) kept: Option<u32>,
    /// Where the payload, and so the output, is in the cell.
    pub(super) output: usize,
    /// After `Start::Run` or a claim; takes over one reference.
    pub(super) run: unsafe fn(NonNull<Header>) -> Ran,
    /// Drops the work in place. May unwind. Demands `RUNNING`, or that no
    /// reference is left.
    pub(super) drop_work: unsafe fn(NonNull<Header>),
    /// Writes an output. Demands `RUNNING` and that the work is gone.
    pub(super) write_error: unsafe fn(&TaskRef, TaskError),
    /// Drops the output, and if the caller says so, reports an error. May unwind. Demands that the
    /// caller owns it (T2). (The words of a report are linked with the tasks that can have one.)
    pub(super) drop_output: unsafe fn(&TaskRef, bool),
    /// Hands a new `Runnable`, which takes over one reference, to `S`: that of the transition that
    /// has just set SCHEDULED (T11). The caller holds another one (T10).
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Whether no other thread than this one can ever poll the future; then local work may be
    /// touched here (T9).
    pub(super) is_owner_thread: unsafe fn(NonNull<Header>) -> bool,
    /// `S` of a promise; valid while the caller has a reference.
    pub(super) producer: unsafe fn(NonNull<Header>) -> *const dyn PromiseSource,
    /// Drops `S` and frees the memory. Demands that no reference is left and
    /// that work and output are gone.
    pub(super) free: unsafe fn(NonNull<Header>),
}

/// One counted reference to a task of unknown types, which can cancel, wake and describe it.
pub(crate) struct TaskRef(pub(super) NonNull<Header>);

// SAFETY: T1 to T4 and T10: all that a reference reaches from another thread goes
// through the atomic state, or belongs to one thread at a time by its flags. Work and
// output that are not `Send` are kept to their thread by T9.
unsafe impl Send for TaskRef {}
// SAFETY: T1 to T4, as above: `&TaskRef` gives atomic transitions only.
unsafe impl Sync for TaskRef {}

// A panic cannot leave a cell half changed, because each transition is a single step.
impl UnwindSafe for TaskRef {}
impl RefUnwindSafe for TaskRef {}

impl TaskRef {
    /// Takes over one count of a live cell.
    ///
    /// # Safety
    /// T6: `ptr` came from `allocate`, and one count of its cell is the caller's to give away.
    #[inline]
    pub(super) unsafe fn from_raw(ptr: NonNull<Header>) -> Self {
        Self(ptr)
    }

    /// Gives the count away.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: T6: the cell lives while we hold a count, and `self` is borrowed for as long as
        // what is returned.
        unsafe { self.0.as_ref() }
    }
}

/// One entry of an executor's queue: a task that wants to run. Running it never unwinds. Dropped,
/// its task ends in `Closed`.
pub(crate) struct Runnable(TaskRef);

impl Runnable {
    /// # Safety
    /// T11: SCHEDULED is set, no other entry was made for it, and the reference is the entry's.
    #[inline]
    pub(super) unsafe fn from_ref(cell: TaskRef) -> Self {
        Self(cell)
    }

    #[inline]
    pub(super) fn cell(&self) -> &TaskRef {
        &self.0
    }

    /// The reference of an entry that is consumed.
    #[inline]
    pub(super) fn into_ref(self) -> TaskRef {
        let entry = ManuallyDrop::new(self);
        // SAFETY: T6: the entry is never used or dropped again, so its count becomes ours.
        unsafe { std::ptr::read(entry.cell()) }
    }
}

/// What happened to a task that was run.
#[derive(Debug)]
pub(crate) enum Ran {
    /// The task has ended, or the entry was stale: the executor can forget it.
    Done,
    /// The future waits: its waker will make a new entry.
    Pending,
    /// The future was woken during its poll, by itself or by others: the executor queues this entry
    /// behind the others. Returned only if [`Schedule::RUNNER_QUEUES`] is set.
    Again(Runnable),
}

/// Where a woken future goes.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// A wake-up, from any thread. Dropping the entry (the executor is gone) ends
    /// the task in `Closed`.
    fn schedule(&self, runnable: Runnable);

    /// Like [`schedule`](Self::schedule), for a wake-up that came while the future was polled, most
    /// often from itself: others should go first. Called on the thread that polled.
    fn reschedule(&self, runnable: Runnable) {
        self.schedule(runnable);
    }

    /// Whether only this thread can ever poll the futures: then it must not wait for them, and may
    /// poll and drop local ones.
    fn is_owner_thread(&self) -> bool {
        false
    }

    /// If a future was woken during its poll, the thread that ran it gets the new entry back
    /// ([`Ran::Again`]) and queues it itself; `reschedule` is not called. Not for futures that
    /// waiters may claim.
    const RUNNER_QUEUES: bool = false;

    /// How many references to an unfinished task the executor keeps besides the entries in its
    /// queues, from before the first poll on. `None`: that varies.
    const KEPT: Option<u32> = None;
}

/// The side that completes a promise: what it does when the promise's task is cancelled, and what
/// it says about itself to threads that wait.
pub(crate) trait PromiseSource: Send + Sync + 'static {
    /// The task was cancelled and has ended; called once, on the canceller's thread. Must be short.
    /// Returns a task that is to be cancelled, too.
    fn on_cancel(&self, id: TaskId) -> Option<TaskRef>;

    /// The task has ended, so no cancellation will follow: drops what is kept for one.
    fn let_go(&self) {}

    /// What completes the promise.
    fn origin(&self) -> Origin {
        Origin::Completer
    }

    /// Whether work of an executor, in the process that made the task, completes the promise: its
    /// own work, or that of the task which it comes from. Takes no lock, because forked children
    /// call it, where locks may be held for ever.
    fn is_executors(&self) -> bool {
        false
    }

    /// Called by a thread that is about to block until the task is `done`, or until the `deadline`,
    /// and may do some of its work. Only if there is no deadline may work for this task take long.
    fn help(&self, deadline: Option<Instant>, done: &dyn Fn() -> bool) {
        let _ = (deadline, done);
    }

    /// Called by a thread that waits for the task without a limit, each time before it sleeps: does
    /// what only its caller should do, and keeps the waker for more of that.
    fn stand_by(&self, caller: &Waker) {
        let _ = caller;
    }

    /// That thread does not wait any more.
    fn step_back(&self) {}
}

/// What brings a task to its end.
#[derive(Debug)]
pub(crate) enum Origin {
    /// An executor, which runs it.
    Work,
    /// The end of another task.
    Task(TaskRef),
    /// User code, which has the completer.
    Completer,
    /// Code that runs on this thread.
    ThisThread,
}
