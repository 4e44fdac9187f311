//! The task cell: one allocation from spawn to result.
//!
//! **Job.** A [`Header`] with everything that does not depend on types, then
//! the executor's half (`S`), then one place that holds first the work (a
//! closure or a future) and later the output.
//!
//! ```text
//!   Task<T> ──┐
//!   Waker ────┤   ┌──────────┬─────┬────────┬──────┬──────────┬────┬──────┬────────┬──────┐ ┌───┬─────────────────┐
//!   Runnable ─┼──▶│ state    │ tag │ vtable │ next │ consumer │ id │ site │ parent │ side │ │ S │ work  OR output │
//!   Completer ┤   │ flags+rc │     │        │      │ a Waker  │    │      │        │      │ │   │                 │
//!   TaskRef ──┘   └──────────┴─────┴────────┴──────┴──────────┴────┴──────┴────────┴──────┘ └───┴─────────────────┘
//!                                          Header: 72 bytes
//! ```
//!
//! Budget: an idle task takes 96 bytes and its future at most. The header has 72,
//! an executor's `S` 8, the smallest output 16. What most tasks never have (a name,
//! a hook, a cancel token) is in a record of its own, behind `side`. `cell::tests`
//! gates it.
//!
//! **Memory.** A cell comes from what its thread has in [`stock`] of earlier ones. Where one thread spawns and another frees, the
//! memory goes back by way of a shelf that all threads share.
//!
//! **One consumer slot.** Whoever waits is a `std::task::Waker`: an `.await` is
//! one by nature; a parked thread, a callback and a node in a ready queue are
//! wakers of our own ([`crate::sync::park`], `task/on_done.rs`). So there is one
//! protocol for all consumers, and 16 bytes hold any of them.
//!
//! **Who may touch what** (T1 to T5 are declared at [`super::state`]):
//!
//! - **T6** A `NonNull<Header>` in a [`Ref`], a [`Handle`] or a waker points to
//!   a live cell made by `cell::allocate`, with provenance over the whole
//!   allocation, and owns one count (T4).
//! - **T7** The vtable of a cell was made for that cell's own `W`, `T` and `S`, so
//!   its functions and offsets fit it, and a `Handle<T>` or `Completer<T>` has
//!   the same `T`.
//! - **T8** The payload holds the work from birth until the thread that has
//!   `RUNNING` (T1) drops or consumes it, and an output from before `DONE`
//!   until its owner (T2) takes or drops it, which it does once.
//! - **T9** The work of a [`Kind::Local`] cell may not be `Send`: it is polled and
//!   dropped only where `Schedule::is_owner_thread` says so, which is checked
//!   at each place; elsewhere it is leaked, never touched. Its output is touched by
//!   the finisher, on that thread, or by the handle, which is not `Send` unless
//!   `T` is.
//! - **T10** `S` is shared by reference only, and stays until the cell is
//!   destroyed; who calls into it holds a count meanwhile.
//!
//! **Rejected.** async-task as a base: no closures, promises or claims, a
//! result that is not a `Result`, and about twice the read-modify-writes. A
//! boxed callback list instead of one slot: one allocation per wait.
//!
//! Tests: `checks/tests/models.rs` (loom), `tests/task/handle.rs`, `cell::tests`.
#![allow(unsafe_code)]

mod cell;
pub(super) mod current;
mod handle;
mod inbox;
mod promise;
mod queued;
mod ready;
pub(in crate::task) mod shelf;
mod side;
mod stock;
mod waker;

pub(super) use cell::{
    allocate_closure, allocate_future, allocate_kept_future, allocate_kept_local, allocate_local,
    allocate_promise, allocate_ready,
};
pub(super) use handle::Handle;
#[cfg(loom)]
pub(crate) use inbox::fault as inbox_fault;
pub(crate) use inbox::{Brought, Drain, Inbox, Pushed, Sleep};
pub(super) use promise::Promise;
pub(crate) use queued::{Queued, Runnable, Yielded};
pub(super) use ready::{Ready, Watch};
pub(super) use side::Side;

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::task::Waker;

use super::completer::{OnCancel, Origin};
use super::panic::contain;
use super::runnable::Ran;
use super::state::{Cancel, Finish, Start, State};
use super::{TaskError, TaskId, context, unobserved};
use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::record::{self, Ending};
use crate::sys::prefetch;
use side::SidePointer;

/// What kind of work a cell was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Closure,
    Future,
    Local,
    Promise,
}

/// The part of a cell that all tasks share.
#[repr(C)]
pub(super) struct Header {
    state: State,
    /// A word for the executor (the event loop: the task's place in its table).
    tag: AtomicU32,
    vtable: &'static VTable,
    /// The link of an [`Inbox`].
    next: AtomicPtr<Header>,
    /// Filled while `WAITING` is set or the handle is at work (T3).
    consumer: UnsafeCell<Option<Waker>>,
    pub(super) id: TaskId,
    pub(super) site: &'static Location<'static>,
    pub(super) parent: Option<TaskId>,
    side: SidePointer,
    /// Under loom the payload's accesses are seen through this.
    #[cfg(loom)]
    payload: UnsafeCell<()>,
}

/// What depends on a cell's types. All functions demand T6 and T7: a live cell, and the vtable from its own header.
struct VTable {
    kind: Kind,
    /// Where the payload, hence the output, lies in the cell.
    output: usize,
    /// After `Start::Run` or a claim; takes over one reference.
    run: unsafe fn(NonNull<Header>) -> Ran,
    /// Drops the work in place. May unwind. Demands `RUNNING`, or that no
    /// reference is left.
    drop_work: unsafe fn(NonNull<Header>),
    /// Writes an output. Demands `RUNNING` and that the work is gone.
    write_error: unsafe fn(NonNull<Header>, TaskError),
    /// Moves the output out: drops a value, gives an error back. May unwind.
    /// Demands to be its owner (T2).
    drop_output: unsafe fn(NonNull<Header>) -> Option<TaskError>,
    /// Hands a new `Runnable`, which takes over one reference, to `S`: that of the transition that has just set SCHEDULED (T11). The
    /// caller holds another one (T10).
    schedule: unsafe fn(NonNull<Header>),
    /// This is the thread on which the work may be touched (T9).
    is_owner_thread: unsafe fn(NonNull<Header>) -> bool,
    /// No other thread than this one can ever poll the future.
    needs_this_thread: unsafe fn(NonNull<Header>) -> bool,
    /// `S` of a promise; valid while the caller has a reference.
    hook: unsafe fn(NonNull<Header>) -> *const dyn OnCancel,
    /// Drops `S` and frees the memory. Demands that no reference is left and
    /// that work and output are gone.
    free: unsafe fn(NonNull<Header>),
}

/// One counted reference to a cell of unknown types.
pub(super) struct Ref(NonNull<Header>);

// SAFETY: T1 to T4 and T10: all that a reference reaches from another thread goes
// through the atomic state, or belongs to one thread at a time by its flags. Work and
// output that are not `Send` are kept to their thread by T9.
unsafe impl Send for Ref {}
// SAFETY: T1 to T4, as above: `&Ref` gives atomic transitions only.
unsafe impl Sync for Ref {}

// A panic cannot leave a cell half-changed: its transitions are single steps.
impl UnwindSafe for Ref {}
impl RefUnwindSafe for Ref {}

impl Ref {
    /// Takes over one count of a live cell.
    ///
    /// # Safety
    /// T6: `ptr` came from `allocate`, and one count of its cell is the caller's to give away.
    #[inline]
    unsafe fn from_raw(ptr: NonNull<Header>) -> Self {
        Self(ptr)
    }

    /// The reference of an entry that is consumed. (A `Runnable` has a destructor,
    /// so safe code cannot move out of it.)
    #[inline]
    pub(super) fn from_entry(entry: Runnable) -> Self {
        let entry = ManuallyDrop::new(entry);
        // SAFETY: the entry is never used or dropped again, so its count becomes ours (T6).
        unsafe { std::ptr::read(entry.cell()) }
    }

    /// Gives the count away.
    #[inline]
    fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: T6: the cell lives while we hold a count, and `self` is borrowed for as long as what is returned.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// The cell will be wanted soon: its header, and what a usual future has of its own.
    #[inline]
    pub(super) fn prefetch(&self) {
        const LINE: usize = 64;
        let cell: *const () = self.0.as_ptr().cast_const().cast();
        prefetch::soon(cell);
        prefetch::soon(cell.wrapping_byte_add(LINE));
        prefetch::soon(cell.wrapping_byte_add(2 * LINE));
    }

    pub(super) fn tag(&self) -> u32 {
        self.header().tag.load(Ordering::Relaxed)
    }

    pub(super) fn set_tag(&self, tag: u32) {
        self.header().tag.store(tag, Ordering::Relaxed);
    }

    /// Runs a queue entry, if it is not stale.
    #[inline]
    pub(super) fn run(self) -> Ran {
        match self.header().state.start() {
            // SAFETY: T1: `start` has just set RUNNING, for us.
            Start::Run => unsafe { self.run_started() },
            Start::Cancelled => {
                // SAFETY: T1: as above; the work has not been touched since.
                unsafe { self.abandon(TaskError::Cancelled) };
                Ran::Done
            }
            Start::Stale => Ran::Done,
        }
    }

    /// Goes on with a task that has yielded.
    ///
    /// # Safety
    /// T16: the reference and its right came from a [`Yielded`], which is gone.
    #[inline]
    unsafe fn resume(self) -> Ran {
        if self.header().state.resume() {
            // SAFETY: T16: the `Yielded` had RUNNING, which is ours now (T1), and its future is there still (T8).
            return unsafe { self.run_started() };
        }
        // SAFETY: T16: the `Yielded` had RUNNING, which is ours now (T1), and its future is there still (T8).
        unsafe { self.abandon(TaskError::Cancelled) };
        Ran::Done
    }

    /// A task that has yielded will not go on: it ends in `reason`, unless it was cancelled.
    ///
    /// # Safety
    /// As [`resume`](Self::resume).
    unsafe fn give_up(self, reason: TaskError) {
        let cancelled = self.header().state.is_cancelled();
        let reason = if cancelled {
            TaskError::Cancelled
        } else {
            reason
        };
        // SAFETY: T16: the `Yielded` had RUNNING, which is ours now (T1), and its future is there still (T8).
        unsafe { self.abandon(reason) };
    }

    /// This reference becomes the runner's.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and the work is in place.
    #[inline]
    unsafe fn run_started(self) -> Ran {
        let run = self.header().vtable.run;
        // SAFETY: T7: the function is from this cell's own vtable; RUNNING is ours to give (the caller's promise), and our
        // count goes with the pointer (T6).
        unsafe { run(self.into_raw()) }
    }

    /// A queue entry is dropped: the work is dropped here, the task ends in
    /// `reason`, unless somebody else has seen to it.
    pub(super) fn discard(self, reason: TaskError) {
        match self.header().state.start() {
            // SAFETY: T1: `start` has just set RUNNING, for us; the work has not been touched since.
            Start::Run => unsafe { self.abandon(reason) },
            // SAFETY: T1: `start` has set RUNNING here, too, and left the work for us to drop.
            Start::Cancelled => unsafe { self.abandon(TaskError::Cancelled) },
            Start::Stale => {}
        }
    }

    /// Drops the work, writes the error, finishes.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and the work is in place.
    unsafe fn abandon(self, error: TaskError) {
        if !self.may_touch_work() {
            // T9: leaked, with the cell. An executor that drops its entries on
            // its own thread, as ours does, never gets here.
            debug_assert!(false, "a local task was dropped on another thread");
            std::mem::forget(self);
            return;
        }
        // SAFETY: T8: the work is there and ours (the caller's promise), on a thread that may touch it (T9: just asked).
        contain(|| unsafe { self.drop_work() });
        // SAFETY: T8: RUNNING is ours still, and the place is empty now.
        unsafe { self.end(error) };
    }

    /// Writes the error, finishes.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away; neither work nor output is in place.
    unsafe fn end(self, error: TaskError) {
        record::settled(self.header().id.get(), error.ending());
        // SAFETY: T8: the place is empty and ours (the caller's promise).
        unsafe { self.write_error(error) };
        // SAFETY: T8: RUNNING is ours still, and there is an output now.
        unsafe { self.finish(false) };
    }

    /// The work may be dropped on this thread (T9).
    fn may_touch_work(&self) -> bool {
        let vtable = self.header().vtable;
        // SAFETY: T6: our count keeps the cell for the length of the call; T7: the vtable is from its header.
        vtable.kind != Kind::Local || unsafe { (vtable.is_owner_thread)(self.0) }
    }

    /// Only this thread can bring it, or what it comes from, to its end: that is the one whose code this thread
    /// runs, or one of a loop of this thread.
    pub(super) fn needs_this_thread(&self) -> bool {
        if self.is_of_this_thread() {
            return true;
        }
        let mut origin = self.origin();
        while let Origin::Task(source) = origin {
            if source.0.is_of_this_thread() {
                return true;
            }
            origin = source.0.origin();
        }
        false
    }

    fn is_of_this_thread(&self) -> bool {
        // SAFETY: T6: our count keeps the cell for the length of the call; T7: the vtable is from its header.
        current::is(self.header()) || unsafe { (self.header().vtable.needs_this_thread)(self.0) }
    }

    /// # Safety
    /// T1, T8, T9: the caller has RUNNING, the work is in place, and this thread may touch it. It is gone afterwards.
    unsafe fn drop_work(&self) {
        self.header().touch_payload();
        // SAFETY: T6, T7: our cell, and the function from its own vtable; the rest is the caller's promise.
        unsafe { (self.header().vtable.drop_work)(self.0) }
    }

    /// Drops the output; an error comes back, for whom it may concern.
    ///
    /// # Safety
    /// T2, T8: an output is in place, and the caller owns it, or has RUNNING. It is gone afterwards.
    unsafe fn drop_output(&self) -> Option<TaskError> {
        self.header().touch_payload();
        // SAFETY: T6, T7: our cell, and the function from its own vtable; the rest is the caller's promise.
        unsafe { (self.header().vtable.drop_output)(self.0) }
    }

    /// Drops the output; an error that nobody took is reported. A panic of its destructor goes no further.
    ///
    /// # Safety
    /// As [`drop_output`](Self::drop_output).
    unsafe fn drop_unobserved(&self) {
        contain(|| {
            // SAFETY: T2, T8: the caller's promise is the same.
            if let Some(error) = unsafe { self.drop_output() } {
                unobserved::report(self.header(), error);
            }
        });
    }

    /// # Safety
    /// T1, T8: the caller has RUNNING, and neither work nor output is in place.
    unsafe fn write_error(&self, error: TaskError) {
        self.header().touch_payload();
        // SAFETY: T6, T7: our cell, and the function from its own vtable; the rest is the caller's promise.
        unsafe { (self.header().vtable.write_error)(self.0, error) }
    }

    /// Makes the output visible, wakes the consumer.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and an output is in place.
    #[inline]
    unsafe fn finish(self, honour_cancel: bool) {
        match self.header().state.finish(honour_cancel) {
            Finish::Handed => {
                let _given_up = self.into_raw();
            }
            // SAFETY: T2, T3: it is what `State::finish` has just said.
            rest => unsafe { self.finish_rest(rest) },
        }
    }

    /// What `finish` left to do, with its reference.
    ///
    /// # Safety
    /// T2, T3: [`State::finish`] has just given `rest` to the caller.
    #[inline(never)]
    unsafe fn finish_rest(self, rest: Finish) {
        match rest {
            Finish::Handed => unreachable!("the reference is gone"),
            Finish::Consumer => {
                // SAFETY: T3: `finish` found WAITING and cleared it with DONE, so the handle does not touch the slot any more.
                let consumer = self
                    .header()
                    .consumer
                    .with_mut(|slot| unsafe { (*slot).take() });
                if let Some(waker) = consumer {
                    contain(|| waker.wake());
                }
            }
            // SAFETY: T2: there was no handle, so the output is the finisher's: ours.
            Finish::Orphan => unsafe { self.drop_unobserved() },
            Finish::Overruled => {
                // SAFETY: T1: still running, so the output that we have written is ours.
                contain(|| drop(unsafe { self.drop_output() }));
                // SAFETY: T1, T8: still running, and the output is gone.
                unsafe { self.end(TaskError::Cancelled) };
            }
        }
    }

    /// Asks for the end; see `Task::cancel`.
    pub(super) fn cancel(&self) -> bool {
        let header = self.header();
        let action = match header.vtable.kind {
            Kind::Closure => header.state.cancel_queued(),
            Kind::Future | Kind::Local => header.state.cancel_future(),
            Kind::Promise => header.state.cancel_promise(),
        };
        current::cancel_own_token(header);
        match action {
            Cancel::No => return false,
            Cancel::Marked => {}
            Cancel::Schedule => {
                header.note_woken();
                // SAFETY: T6: `cancel_future` added the reference that goes to the entry, and `self` keeps the cell
                // meanwhile (T10); T7: the function is from its own vtable.
                unsafe { (header.vtable.schedule)(self.0) }
            }
            Cancel::Claimed => {
                // SAFETY: T6: `cancel_*` added the reference that this one takes over.
                let claimed = unsafe { Ref::from_raw(self.0) };
                // SAFETY: T1: `cancel_*` set RUNNING, for us: nobody has run, dropped or written anything (T8).
                unsafe { claimed.abandon(TaskError::Cancelled) };
                if header.vtable.kind == Kind::Promise {
                    contain(|| self.hook().on_cancel(header.id));
                }
            }
        }
        true
    }

    /// Schedules a future that sleeps; nothing happens to any other task.
    pub(super) fn wake(&self) {
        let header = self.header();
        if matches!(header.vtable.kind, Kind::Future | Kind::Local) && header.state.wake_by_ref() {
            header.note_woken();
            // SAFETY: T6: `wake_by_ref` added the reference that goes to the entry, and `self` keeps the cell
            // meanwhile (T10); T7: the function is from its own vtable.
            unsafe { (header.vtable.schedule)(self.0) };
        }
    }

    /// The producer's side of a promise.
    pub(super) fn hook(&self) -> &dyn OnCancel {
        // SAFETY: T6: our count keeps the cell; T7: the function is from its own vtable. (For other kinds than promises it panics.)
        let hook = unsafe { (self.header().vtable.hook)(self.0) };
        // SAFETY: T10: it lies in the cell, which our count keeps.
        unsafe { &*hook }
    }

    /// From where the end of this task will come.
    pub(super) fn origin(&self) -> Origin {
        match self.header().vtable.kind {
            Kind::Promise => self.hook().origin(),
            Kind::Closure | Kind::Future | Kind::Local => Origin::Work,
        }
    }

    /// An executor of the process that made it brings it to its end: a pool that runs it or has it run, or one
    /// that ends the task which it comes from. Nobody, once it has ended: one that was made with its result has no hook.
    pub(super) fn is_executors(&self) -> bool {
        let header = self.header();
        let is_kept = || header.vtable.kind == Kind::Promise && self.hook().is_executors();
        !header.state.is_done() && (header.state.is_claimable() || is_kept())
    }

    /// That process has forked, and this is the child: nobody here will.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        context::is_parents(self.header().id) && self.is_executors()
    }

    /// Before a thread blocks for it: see [`OnCancel::help`].
    pub(super) fn help(&self, patient: bool, done: &dyn Fn() -> bool) {
        if self.header().vtable.kind == Kind::Promise {
            self.hook().help(patient, done);
        }
    }

    /// Where its output lies, or will lie.
    #[inline]
    fn output<T>(&self) -> NonNull<Result<T, TaskError>> {
        // SAFETY: T7: the vtable is that of this cell, so its offset is inside of the allocation, which our pointer is good for (T6).
        unsafe { self.0.byte_add(self.header().vtable.output) }.cast()
    }
}

impl Clone for Ref {
    fn clone(&self) -> Self {
        self.header().state.retain();
        Self(self.0)
    }
}

impl Drop for Ref {
    #[inline]
    fn drop(&mut self) {
        if self.header().state.release() {
            // SAFETY: T4: that was the last reference, and `self` is not used any more.
            unsafe { destroy(self.0) };
        }
    }
}

impl Header {
    /// The record of what most tasks do not have, if there is one.
    #[inline]
    pub(super) fn side(&self) -> Option<&Side> {
        self.side.get()
    }

    /// That record, made if need be.
    pub(super) fn side_or_make(&self) -> &Side {
        self.side.get_or_make()
    }

    /// Somebody asked for its end (also after it has ended).
    pub(super) fn is_cancelled(&self) -> bool {
        self.state.is_cancelled()
    }

    /// Its output is in place (and may have been taken).
    pub(super) fn is_done(&self) -> bool {
        self.state.is_done()
    }

    /// For the holder of a queue entry: to run it would do nothing.
    #[inline]
    pub(super) fn is_stale(&self) -> bool {
        self.state.is_stale()
    }

    /// Some thread has the work to itself now: a hint.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.state.is_running()
    }

    /// It is queued, or will be when it suspends: a hint.
    pub(super) fn is_scheduled(&self) -> bool {
        self.state.is_scheduled()
    }

    /// The output was taken, or the handle is gone.
    pub(super) fn is_settled(&self) -> bool {
        self.state.is_settled()
    }

    /// How it is, for `Debug`.
    pub(super) fn shown(&self) -> &dyn fmt::Debug {
        &self.state
    }

    /// The name that the task was given.
    pub(super) fn name(&self) -> Option<&str> {
        self.side()?.name.get().map(|name| &**name)
    }

    /// Its code begins to run on this thread.
    #[inline(always)]
    fn note_begun(&self, kind: record::Kind) {
        if record::is_on() {
            record::begun(self.id.get(), self.site, kind);
            if let Some(name) = self.name() {
                record::named(self.id.get(), name);
            }
        }
    }

    /// It does not run any more.
    #[inline(always)]
    fn note_ended(&self, how: Ending) {
        record::ended(self.id.get(), how);
    }

    /// It is about to be queued by a waker.
    #[inline(always)]
    fn note_woken(&self) {
        record::woken(self.id.get());
    }

    /// Tells loom that the payload is written now.
    #[inline(always)]
    fn touch_payload(&self) {
        #[cfg(loom)]
        self.payload.with_mut(|_| ());
    }
}

/// As [`destroy`], where the work is still there.
///
/// # Safety
/// As [`destroy`], and the task has not ended.
#[cold]
#[inline(never)]
unsafe fn destroy_unfinished(ptr: NonNull<Header>) {
    // SAFETY: T4: nobody else can reach the cell, and it is not freed yet.
    let header = unsafe { ptr.as_ref() };
    // SAFETY: T7: the vtable is from the cell's own header; T4: the cell is there for the length of the call.
    if header.vtable.kind == Kind::Local && !unsafe { (header.vtable.is_owner_thread)(ptr) } {
        return; // T9: leaked rather than dropped on the wrong thread.
    }
    header.touch_payload();
    // SAFETY: T4: no reference is left; not DONE, so the work is still there (T8).
    contain(|| unsafe { (header.vtable.drop_work)(ptr) });
    // SAFETY: T4: as above, and the work is gone.
    unsafe { free(ptr) };
}

/// The last reference is gone.
///
/// # Safety
/// T4: it was the caller's, nobody has one any more, and the cell is not used again.
#[inline]
unsafe fn destroy(ptr: NonNull<Header>) {
    // SAFETY: T4: nobody else can reach the cell, and it is not freed yet.
    if unsafe { ptr.as_ref() }.state.is_done() {
        // SAFETY: T4; the work was dropped before DONE (T8), the output's owner has taken or dropped it before it let go (T2).
        unsafe { free(ptr) };
    } else {
        // SAFETY: T4: the caller's promise; not DONE.
        unsafe { destroy_unfinished(ptr) };
    }
}

/// # Safety
/// As [`destroy`], and neither work nor output is in place.
#[inline]
unsafe fn free(ptr: NonNull<Header>) {
    // SAFETY: T4: nobody else can reach the cell, and it is not freed yet.
    let vtable = unsafe { ptr.as_ref() }.vtable;
    // SAFETY: T7: the function is from the cell's own vtable; the rest is the caller's promise (T4).
    unsafe { (vtable.free)(ptr) }
}
