//! The cell without its types: its header, the counted reference to it, and what executors and
//! producers see of it.
//!
//! These types name one another, so they stand together; what is done with them is in the files
//! beside this one.
//!
//! **Which thread may touch what** (T1 to T5 are declared at `task/state.rs`):
//!
//! - **T6** A `NonNull<Header>` in a [`TaskRef`], a `Task` or a waker points to a live cell made by
//!   `cell::allocate`, with provenance over the whole allocation, and owns one count (T4).
//! - **T7** The vtable of a cell was made for that cell's own `W`, `T` and `S`, so its functions
//!   and offsets fit it, and a `Task<T>` or `Completer<T>` has the same `T`.
//! - **T8** The payload holds the work from birth until the thread that has `RUNNING` (T1) drops or
//!   consumes it, and an output from before `DONE` until its owner (T2) takes or drops it, which it
//!   does once.
//! - **T9** The work of a [`Kind::Local`] cell may not be `Send`: it is polled and dropped only
//!   where `Schedule::is_owner_thread` says so, which is checked at each place; elsewhere it is
//!   leaked, never touched. Its output is touched by the finisher, on that thread, or by the
//!   handle, which is not `Send` unless `T` is.
//! - **T10** `S` is shared by reference only, and stays until the cell is destroyed; a caller of
//!   its functions holds a count meanwhile.
//! - **T11** A [`Runnable`] is the entry that the transition which set `SCHEDULED` has asked for,
//!   and the only one that was made for it; it is consumed once. A future that waiters may claim
//!   can have more, stale ones.
//! - **T18** [`YIELDED`] is set in `tag` while the task's one entry is that of a task that has
//!   yielded, and comes with its right (T16): from the making of that entry until it is consumed.
//!   Such an entry stays with its executor's thread.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::task::Waker;

use once_cell::race::OnceBox;

use super::current::Birth;
use crate::loom::UnsafeCell;
use crate::loom::atomic::AtomicU32;
use crate::record::Kind;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::side::Side;
use crate::task::state::State;

/// In a task's tag: its entry is that of a task that has yielded (T18).
pub(super) const YIELDED: u32 = 1 << 31;

/// The part of a cell that all tasks share.
#[repr(C)]
pub(super) struct Header {
    /// First: the mark of the task that runs on a thread points here (T15).
    pub(super) birth: Birth,
    pub(super) state: State,
    /// A word for the executor (the event loop: the task's place in its table), but for one bit:
    /// [`YIELDED`].
    pub(super) tag: AtomicU32,
    pub(super) vtable: &'static VTable,
    /// Filled while `WAITING` is set or the handle is at work (T3).
    pub(super) consumer: UnsafeCell<Option<Waker>>,
    pub(super) side: OnceBox<Side>,
    /// Under loom the payload's accesses are seen through this.
    #[cfg(loom)]
    pub(super) payload: UnsafeCell<()>,
}

/// What depends on a cell's types. All functions demand T6 and T7: a live cell, and the vtable from
/// its own header.
pub(super) struct VTable {
    pub(super) kind: Kind,
    /// Where the payload, hence the output, lies in the cell.
    pub(super) output: usize,
    /// After `Start::Run` or a claim; takes over one reference.
    pub(super) run: unsafe fn(NonNull<Header>) -> Ran,
    /// Drops the work in place. May unwind. Demands `RUNNING`, or that no
    /// reference is left.
    pub(super) drop_work: unsafe fn(NonNull<Header>),
    /// Writes an output. Demands `RUNNING` and that the work is gone.
    pub(super) write_error: unsafe fn(NonNull<Header>, TaskError),
    /// Moves the output out: drops a value, gives an error back. May unwind.
    /// Demands to be its owner (T2).
    pub(super) drop_output: unsafe fn(NonNull<Header>) -> Option<TaskError>,
    /// Hands a new `Runnable`, which takes over one reference, to `S`: that of the transition that
    /// has just set SCHEDULED (T11). The caller holds another one (T10).
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// No other thread than this one can ever poll the future; so local work may be touched here
    /// (T9).
    pub(super) is_owner_thread: unsafe fn(NonNull<Header>) -> bool,
    /// `S` of a promise; valid while the caller has a reference.
    pub(super) hook: unsafe fn(NonNull<Header>) -> *const dyn OnCancel,
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

// A panic cannot leave a cell half-changed: its transitions are single steps.
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

/// What became of a task that was run.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It has ended (or the entry was stale): the executor can forget it.
    Done,
    /// It waits: its waker will make a new entry.
    Pending,
    /// It was woken meanwhile, by itself or by others: queue it, after the others. Only where
    /// [`Schedule::RUNNER_QUEUES`] says so.
    Again(Runnable),
}

/// Where a woken future goes.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// A wake-up, from any thread. Dropping the entry (the executor is gone) ends
    /// the task in `Closed`.
    fn schedule(&self, runnable: Runnable);

    /// Like [`schedule`](Self::schedule), for a wake-up that came while the future was
    /// polled, most often by itself: it should let others go first. On the runner's thread.
    fn reschedule(&self, runnable: Runnable) {
        self.schedule(runnable);
    }

    /// Only this thread can ever poll the futures, so it must not wait for them; local ones may be
    /// polled and dropped.
    fn is_owner_thread(&self) -> bool {
        false
    }

    /// The thread that runs an entry queues the next one itself, where one is due at once: it gets
    /// that back ([`Ran::Again`]), and `reschedule` is not called. Not for futures that waiters
    /// may claim.
    const RUNNER_QUEUES: bool = false;
}

/// The producer's half of a promise.
pub(crate) trait OnCancel: Send + Sync + 'static {
    /// The task was cancelled and has ended; called once, on the canceller's
    /// thread. Must be short.
    fn on_cancel(&self, id: TaskId);

    /// What the hook holds is not needed any more.
    fn let_go(&self) {}

    /// From where the promise will be kept.
    fn origin(&self) -> Origin {
        Origin::Completer
    }

    /// An executor's work ends the task, in the process that made it: its own, or that of the task
    /// which it comes from. Takes no lock: a forked child asks, where locks may be held for
    /// ever.
    fn is_executors(&self) -> bool {
        false
    }

    /// A thread is about to block until the task is `done`, and may do something for it. Must be
    /// short, unless it is `patient`: then it waits without a limit, and what is its own may take
    /// long.
    fn help(&self, patient: bool, done: &dyn Fn() -> bool) {
        let _ = (patient, done);
    }
}

/// From where the end of a task will come.
#[derive(Debug)]
pub(crate) enum Origin {
    /// From an executor, which runs it.
    Work,
    /// From the end of another task.
    Task(TaskRef),
    /// From user code, which has the completer.
    Completer,
}
