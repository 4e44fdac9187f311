//! From a queue entry to the end of the task: every step that does not depend on types.
//!
//! A step begins with a transition of [`CellState`](crate::task::state::CellState) and does what
//! that returns. User code runs with its panics caught, and an output is made visible only when the
//! work has been dropped.
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{run_vs_cancel, wake_vs_suspend}` (loom),
//! `tests/task/reentrancy.rs::{cancelled_from_inside_its_own_poll,
//! a_future_that_panicked_is_dropped_after_the_panic_and_may_panic_again}`.
#![allow(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Instant;

use super::entered_task;
use super::header::{Header, Origin, PromiseSource, Ran, TaskRef, YIELDED};
#[cfg(feature = "inspect")]
use super::list;
use super::stored_error::Output;
use crate::blocking_threads::{self, contain};
use crate::events;
use crate::events::Wakers;
use crate::events::{Ending, Kind};
use crate::loom::atomic::{Ordering, fence};
use crate::parking::marker;
use crate::sys::prefetch;
use crate::task::awaited;
use crate::task::cancel_token::CancelToken;
use crate::task::error::TaskError;
use crate::task::extras::TaskExtras;
use crate::task::id::TaskId;
use crate::task::state::{Cancel, Finish, Released};
use crate::task::traced;
use crate::task::unobserved::{Hook, TaskReport};

impl TaskRef {
    /// The address of its cell: different from that of any other task that exists now.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// The executor's word for this task; 0 at first.
    pub(crate) fn tag(&self) -> u32 {
        self.header().tag.load(Ordering::Relaxed) & !YIELDED
    }

    /// Sets the word, before the task is first run. It must be below [`YIELDED`].
    pub(crate) fn set_tag(&self, tag: u32) {
        debug_assert!(tag < YIELDED);
        self.header().tag.store(tag, Ordering::Relaxed);
    }

    /// The caller waits for the end, once: it takes the result, runs the task, or registers itself,
    /// and nearly always writes the cell's line. (Who only looks, perhaps again and again, must not
    /// take the line from the thread that runs the task.)
    #[inline]
    pub(in crate::task) fn will_end_here(&self) {
        prefetch::will_write(&self.header().state);
    }

    /// Runs the work. This reference becomes the runner's.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and the work is in place.
    #[inline]
    pub(super) unsafe fn run_started(self) -> Ran {
        let run = self.header().vtable.run;
        // SAFETY: T7: the function is from this cell's own vtable; RUNNING is ours to give (the
        // caller's promise), and our count goes with the pointer (T6).
        unsafe { run(self.into_raw()) }
    }

    /// Drops the work, writes the error, finishes.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and the work is in place.
    pub(super) unsafe fn abandon(self, error: TaskError) {
        if !self.may_touch_work() {
            // T9: leaked, with the cell. An executor that drops its entries on
            // its own thread, as ours does, never gets here.
            debug_assert!(false, "a local task was dropped on another thread");
            std::mem::forget(self);
            return;
        }
        // SAFETY: T8: the work is there and ours (the caller's promise), on a thread that may touch
        // it (T9: just asked).
        unsafe { drop_work(self.0) };
        // SAFETY: T8: RUNNING is ours still, and the place is empty now.
        unsafe { self.end(error) };
    }

    /// Writes the error, finishes.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away; neither work nor output is in place.
    pub(super) unsafe fn end(self, error: TaskError) {
        self.header().note_settled(error.ending());
        // SAFETY: T8: the place is empty and ours (the caller's promise).
        unsafe { self.write_error(error) };
        // SAFETY: T8: RUNNING is ours still, and there is an output now.
        unsafe { self.finish(false) };
    }

    /// The work may be dropped on this thread (T9).
    fn may_touch_work(&self) -> bool {
        let vtable = self.header().vtable;
        // SAFETY: T6: our count keeps the cell for the length of the call; T7: the vtable is from
        // its header.
        vtable.kind != Kind::Local || unsafe { (vtable.is_owner_thread)(self.0) }
    }

    /// Whether waiting for it here would be a deadlock: the task, or one that it comes from, is the
    /// one that this thread runs, or belongs to a loop of this thread.
    #[inline]
    pub(in crate::task) fn needs_this_thread(&self) -> bool {
        match self.header().vtable.kind {
            Kind::Closure => self.runs_here(), // it is of no loop, and comes from no other task
            _ => self.needs_this_thread_or_comes_from_it(),
        }
    }

    fn needs_this_thread_or_comes_from_it(&self) -> bool {
        if self.is_of_this_thread() {
            return true;
        }
        let mut origin = self.origin();
        while let Origin::Task(source) = origin {
            if source.is_of_this_thread() {
                return true;
            }
            origin = source.origin();
        }
        matches!(origin, Origin::ThisThread)
    }

    fn is_of_this_thread(&self) -> bool {
        // SAFETY: T6: our count keeps the cell for the length of the call; T7: the vtable is from
        // its header.
        self.runs_here() || unsafe { (self.header().vtable.is_owner_thread)(self.0) }
    }

    /// Drops the output. If it `reports`, an error that was never taken is reported. A panic of its
    /// destructor goes no further.
    ///
    /// # Safety
    /// T2, T8: an output is in place, and the caller owns it, or has RUNNING. It is gone
    /// afterwards.
    pub(super) unsafe fn drop_output(&self, reports: bool) {
        self.header().touch_payload();
        // SAFETY: T6, T7: our cell, and the function from its own vtable; the rest is the caller's
        // promise.
        contain(|| unsafe { (self.header().vtable.drop_output)(self, reports) });
    }

    /// # Safety
    /// T1, T8: the caller has RUNNING, and neither work nor output is in place.
    unsafe fn write_error(&self, error: TaskError) {
        self.header().touch_payload();
        // SAFETY: T6, T7: our cell, and the function from its own vtable; the rest is the caller's
        // promise.
        unsafe { (self.header().vtable.write_error)(self, error) }
    }

    /// Makes the output visible, wakes the consumer.
    ///
    /// # Safety
    /// T1, T8: the caller has RUNNING and gives it away, and an output is in place.
    #[inline]
    pub(super) unsafe fn finish(self, honour_cancel: bool) {
        match self.header().state.finish(honour_cancel) {
            Finish::Handed => {
                let _given_up = self.into_raw();
            }
            // SAFETY: T2, T3: it is what `CellState::finish` has just said.
            rest => unsafe { self.finish_rest(rest) },
        }
    }

    /// The rest of `finish`, which gives its reference to this call.
    ///
    /// # Safety
    /// T2, T3: `CellState::finish` has just given `rest` to the caller.
    #[inline(never)]
    unsafe fn finish_rest(self, rest: Finish) {
        match rest {
            Finish::Handed => unreachable!("the reference is gone"),
            Finish::Consumer => {
                // SAFETY: T3: `finish` found WAITING and cleared it with DONE, so the handle does
                // not touch the slot any more.
                let consumer = unsafe { self.take_consumer() };
                blocking_threads::wake(consumer);
            }
            // SAFETY: T2: there was no handle, so the output is the finisher's: ours.
            Finish::Orphan => unsafe { self.drop_output(true) },
            Finish::Overruled => {
                // SAFETY: T1: still running, so the output that we have written is ours.
                unsafe { self.drop_output(false) };
                // SAFETY: T1, T8: still running, and the output is gone.
                unsafe { self.end(TaskError::Cancelled) };
            }
        }
    }

    /// Records that this waker is in the consumer slot: that of the running task, or another.
    #[cold]
    #[inline(never)]
    pub(super) fn report_registered(&self, waker: *const ()) {
        let is_own = !waker.is_null() && waker == marker::waker();
        events::registered(self.id().get(), is_own);
    }

    /// Empties the consumer slot.
    ///
    /// # Safety
    /// T3: it is the caller's: the handle's while it is not lent, or the finisher's.
    pub(super) unsafe fn take_consumer(&self) -> Option<Waker> {
        // SAFETY: T3: no other thread touches it while it is the caller's.
        let take = |slot: *mut Option<Waker>| unsafe { (*slot).take() };
        self.header().consumer.with_mut(take)
    }

    /// Cancels the task; see `Task::cancel`.
    pub(crate) fn cancel(&self) -> bool {
        let (is_cancelled, mut source) = self.cancel_alone();
        // By a loop: a chain of mapped tasks may be long.
        while let Some(task) = source {
            (_, source) = task.cancel_alone();
        }
        is_cancelled
    }

    /// Cancels the task. If its end is to cancel another one, returns that.
    fn cancel_alone(&self) -> (bool, Option<Self>) {
        let header = self.header();
        let mut source = None;
        let action = match header.vtable.kind {
            Kind::Closure | Kind::Promise => header.state.cancel_idle(),
            _ => {
                header.note_cancelled();
                header.state.cancel_future()
            }
        };
        self.cancel_own_token();
        match action {
            Cancel::No => return (false, None),
            Cancel::Marked => {}
            Cancel::Schedule => {
                header.note_woken();
                // SAFETY: T6: `cancel_future` added the reference that goes to the entry, and
                // `self` keeps the cell meanwhile (T10); T7: the function is from
                // its own vtable.
                unsafe { (header.vtable.schedule)(self.0) }
            }
            Cancel::Claimed => {
                // SAFETY: T6: `cancel_*` added the reference that this one takes over.
                let claimed = unsafe { TaskRef::from_raw(self.0) };
                // SAFETY: T1: `cancel_*` set RUNNING, for us: no thread has run, dropped or written
                // anything (T8).
                unsafe { claimed.abandon(TaskError::Cancelled) };
                if header.vtable.kind == Kind::Promise {
                    contain(|| source = self.producer().on_cancel(header.birth.id));
                }
            }
        }
        (true, source)
    }

    /// Schedules a future that sleeps, as its waker would; does nothing to any other task.
    pub(crate) fn wake(&self) {
        let header = self.header();
        if matches!(header.vtable.kind, Kind::Future | Kind::Local) && header.state.wake_by_ref() {
            header.note_woken();
            // SAFETY: T6: `wake_by_ref` added the reference that goes to the entry, and `self`
            // keeps the cell meanwhile (T10); T7: the function is from its own vtable.
            unsafe { (header.vtable.schedule)(self.0) };
        }
    }

    /// What completes a promise.
    pub(in crate::task) fn producer(&self) -> &dyn PromiseSource {
        // SAFETY: T6: our count keeps the cell; T7: the function is from its own vtable. (For other
        // kinds than promises it panics.)
        let producer = unsafe { (self.header().vtable.producer)(self.0) };
        // SAFETY: T10: it lies in the cell, which our count keeps.
        unsafe { &*producer }
    }

    /// What will bring this task to its end.
    pub(crate) fn origin(&self) -> Origin {
        match self.header().vtable.kind {
            Kind::Promise => self.producer().origin(),
            _ => Origin::Work,
        }
    }

    /// Whether an executor of the process that made it will bring it to its end: one that runs it,
    /// makes a worker run it, or ends the task that it comes from. False once it has ended.
    pub(in crate::task) fn is_executors(&self) -> bool {
        let header = self.header();
        let is_work = header.vtable.kind != Kind::Promise;
        !header.state.is_done() && (is_work || self.producer().is_executors())
    }

    /// Whether this is a forked child of that process: the task is the parent's, and counts as
    /// closed here. (A loop of the thread that forked may still run its copy.)
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.id().is_of_parent_process() && self.is_executors()
    }

    /// Called before a thread blocks until its end: see [`PromiseSource::help`].
    pub(in crate::task) fn help(&self, deadline: Option<Instant>) {
        if self.header().vtable.kind == Kind::Promise {
            self.producer().help(deadline, &|| self.is_finished());
        }
    }

    /// Called before a thread that waits without a limit sleeps: see [`PromiseSource::stand_by`].
    pub(in crate::task) fn stand_by(&self, caller: &Waker) {
        if self.header().vtable.kind == Kind::Promise {
            self.producer().stand_by(caller);
        }
    }

    /// Called after that: see [`PromiseSource::step_back`].
    pub(in crate::task) fn step_back(&self) {
        if self.header().vtable.kind == Kind::Promise {
            self.producer().step_back();
        }
    }

    /// Where its output is, or will be.
    #[inline]
    pub(super) fn output<T>(&self) -> NonNull<Output<T>> {
        // SAFETY: T7: the vtable is that of this cell, so its offset is inside the allocation,
        // which our pointer is good for (T6).
        unsafe { self.0.byte_add(self.header().vtable.output) }.cast()
    }
}

/// What callers and executors ask about a task.
impl TaskRef {
    /// Another reference to the same task.
    pub(crate) fn task_ref(&self) -> Self {
        self.clone()
    }

    pub(crate) fn id(&self) -> TaskId {
        self.header().birth.id
    }

    /// Where it was spawned.
    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.header().birth.site
    }

    /// The task whose code spawned it.
    pub(crate) fn parent(&self) -> Option<TaskId> {
        self.header().rare.parent()
    }

    /// The name that it was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.extras()?.name.get().map(|name| &**name)
    }

    /// The record of what most tasks do not need, if there is one.
    #[inline]
    pub(in crate::task) fn extras(&self) -> Option<&TaskExtras> {
        self.header().rare.get()
    }

    /// The record of rare data, which is made if there is none.
    pub(in crate::task) fn extras_or_make(&self) -> &TaskExtras {
        self.header().rare.get_or_make()
    }

    /// The hook of its executor, which replaces the process's.
    pub(in crate::task) fn report_hook(&self) -> Option<Hook> {
        self.extras()?.hook.get().cloned()
    }

    /// Sets the hook that is called for a failure that was never taken, instead of the process's
    /// hook. The first one that was set stays.
    pub(crate) fn set_hook(&self, hook: Hook) {
        let _first = self.extras_or_make().hook.set(hook);
    }

    /// Calls the hook because `error` was never taken.
    #[cold]
    pub(crate) fn report(&self, error: TaskError) {
        self.report_of(error).report(self.report_hook());
    }

    /// The report that `error` was never taken.
    pub(in crate::task) fn report_of(&self, error: TaskError) -> TaskReport {
        TaskReport {
            id: self.id(),
            name: self.name().map(Box::from),
            site: self.spawned_at(),
            error,
            is_notice: false,
        }
    }

    /// Whether both are references to the same task.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Whether it has ended, or is lost in a forked child.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.header().state.is_done() || self.is_lost()
    }

    /// Whether it was cancelled (also after it has ended).
    pub(crate) fn is_cancelled(&self) -> bool {
        self.header().state.is_cancelled()
    }

    /// Whether a thread runs or drops the work now: a hint.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.header().state.is_running()
    }

    /// Whether no code will ask for its output any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.header().state.is_settled()
    }

    /// The task's state, for `Debug`.
    pub(in crate::task) fn shown(&self) -> &dyn fmt::Debug {
        &self.header().state
    }
}

/// The task as its own code sees it.
impl TaskRef {
    /// Runs `f` as the code of this task.
    pub(in crate::task) fn run_inside<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: T15: our count keeps the cell; it is dropped at the end of this call, as is what
        // `f` enters, inside it.
        let _entered = unsafe { entered_task::enter(self.mark()) };
        f()
    }

    /// The mark of this task while it runs.
    #[inline]
    pub(super) fn mark(&self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    fn runs_here(&self) -> bool {
        marker::current() == self.mark()
    }

    /// The token that the task's code polls to learn that it should end, made on first use.
    pub(in crate::task) fn token(&self) -> CancelToken {
        token(self.header())
    }

    /// After the task was marked as cancelled: cancels its token, if its code has asked for one.
    fn cancel_own_token(&self) {
        fence(Ordering::SeqCst); // pairs with the fence in `token`
        if let Some(token) = self.extras().and_then(|extras| extras.token.get()) {
            token.cancel();
        }
    }
}

fn token(header: &Header) -> CancelToken {
    let extras = header.rare.get_or_make();
    let token = extras.token.get_or_init(CancelToken::new);
    // Pairs with the fence in `cancel_own_token`: either the canceller sees the token, or this
    // thread sees the canceller's mark.
    fence(Ordering::SeqCst);
    if header.state.is_cancelled() {
        token.cancel();
    }
    token.clone()
}

/// Calls `f` with the header of the task that runs here, if there is one.
fn running<R>(f: impl FnOnce(&Header) -> R) -> Option<R> {
    let current = marker::current().cast::<Header>();
    // SAFETY: T15: null, or the task of a runner that is further down on this thread's stack, or
    // waits for it: alive for as long as this call, and `f` can keep nothing of it.
    unsafe { current.as_ref() }.map(f)
}

impl CancelToken {
    /// The token of the task whose code calls this, also inside a worker process, where the
    /// parent's cancellation arrives as a message. The parts of a `join`, `scope` or `map` have the
    /// token of the task that called it; a spawned task has its own. Outside any task it is a new
    /// token that nothing cancels.
    ///
    /// ```
    /// use trefoil::{CancelToken, Task, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(2);
    /// let task: Task<u64> = pool.spawn(|| {
    ///     let mut steps = 0;
    ///     while !CancelToken::current().is_cancelled() {
    ///         steps += 1;
    ///     }
    ///     steps
    /// });
    /// task.cancel(); // not begun: it never runs; begun: it sees that, and ends
    /// let _ = task.join();
    /// ```
    #[must_use]
    pub fn current() -> Self {
        running(token).unwrap_or_default()
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.header().state.retain();
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        match self.header().state.release() {
            Released::Kept => {}
            // SAFETY: T4: that was the last reference, and `self` is not used any more. Done: the
            // work was dropped before (T8), the output's owner has taken or dropped it before it
            // let go (T2).
            Released::Done => unsafe { free(self.0) },
            // SAFETY: T4: that was the last reference, and `self` is not used any more.
            Released::Unfinished => unsafe { destroy_unfinished(self.0) },
        }
    }
}

debug!(impl TaskRef, self, id = self.id(), state = *self.shown());

// The functions that report take no more than the cell: where nobody listens, a call costs as much
// as its arguments.

impl TaskRef {
    /// Records that the task is made.
    #[inline(always)]
    pub(super) fn note_spawned(&self) {
        if events::is_on() {
            self.report_spawned();
        }
    }

    #[cold]
    #[inline(never)]
    fn report_spawned(&self) {
        let Header { birth, vtable, .. } = self.header();
        let parent = self.parent().map_or(0, TaskId::get);
        events::spawned(birth.id.get(), parent, birth.site, vtable.kind);
        #[cfg(feature = "inspect")]
        list::insert(self);
    }
}

impl Header {
    /// Records that it ends without running code.
    #[inline(always)]
    pub(super) fn note_settled(&self, how: Ending) {
        if events::is_on() {
            self.report_settled(how);
        }
    }

    #[cold]
    #[inline(never)]
    fn report_settled(&self, how: Ending) {
        events::settled(self.birth.id.get(), how);
        #[cfg(feature = "inspect")]
        list::remove(self.birth.id);
    }

    /// Records that its code begins to run on this thread.
    #[inline(always)]
    pub(super) fn note_begun(&self) {
        if events::is_on() {
            self.report_begun();
        }
    }

    #[cold]
    #[inline(never)]
    fn report_begun(&self) {
        let _of_another = awaited::take_last();
        events::begun_heard(self.birth.id.get(), self.birth.site, self.vtable.kind);
        if let Some(name) = self.rare.get().and_then(|extras| extras.name.get()) {
            events::named(self.birth.id.get(), name);
        }
    }

    /// Records that its code has ended.
    pub(super) fn report_ended(&self, how: Ending) {
        events::ended(self.birth.id.get(), how);
        #[cfg(feature = "inspect")]
        list::remove(self.birth.id);
    }

    /// Records that its poll has ended, and that it waits, unless it `woke_itself` or was woken
    /// meanwhile. Returns whether it has recorded that it is queued again. `kept`: see
    /// [`Schedule::KEPT`].
    ///
    /// [`Schedule::KEPT`]: super::header::Schedule::KEPT
    #[cold]
    #[inline(never)]
    pub(super) fn report_paused(&self, kept: Option<u32>, woke_itself: bool) -> bool {
        let id = self.birth.id.get();
        if self.state.runs_again(woke_itself) {
            events::queued_again(id);
            return true;
        }
        #[cfg(feature = "inspect")]
        let is_listed = list::has(self.birth.id);
        #[cfg(not(feature = "inspect"))]
        let is_listed = false;
        let wakers = match kept.and_then(|kept| self.state.wakers(kept)) {
            Some(0) if !is_listed => Wakers::None,
            Some(1) => Wakers::One,
            _ => Wakers::Many,
        };
        events::paused(id, awaited::last(), wakers);
        false
    }

    /// Records that the handle takes its waker back, before the task's end.
    #[inline(always)]
    pub(super) fn note_taken(&self) {
        if events::is_on() {
            events::registered(self.birth.id.get(), false);
        }
    }

    /// Records that it is about to be cancelled.
    #[inline(always)]
    fn note_cancelled(&self) {
        if events::is_on() {
            events::cancelled(self.birth.id.get());
        }
    }

    /// Records that a waker is about to queue it.
    #[inline(always)]
    pub(super) fn note_woken(&self) {
        events::woken(self.birth.id.get());
    }

    /// Lets loom know that the payload is accessed now, as for a write.
    #[inline(always)]
    pub(super) fn touch_payload(&self) {
        #[cfg(loom)]
        self.payload.with_mut(|_| ());
    }
}

/// Drops the work of a task that has not ended. Its destructors are code of the task, too; a panic
/// of theirs goes no further.
///
/// # Safety
/// T1, T8, T9: the caller has RUNNING, or there is no other reference; the work is in place, and
/// this thread may touch it. It is gone afterwards.
unsafe fn drop_work(ptr: NonNull<Header>) {
    // SAFETY: T6: the caller keeps the cell.
    let header = unsafe { ptr.as_ref() };
    header.touch_payload();
    // SAFETY: T15: the caller keeps the cell, and the guard is dropped before this returns.
    let _entered = unsafe { entered_task::enter(ptr.as_ptr().cast_const().cast()) };
    // SAFETY: T7: the function is from the cell's own vtable; the rest is the caller's promise.
    let drop_work = || unsafe { (header.vtable.drop_work)(ptr) };
    contain(|| traced::drop_work(&header.rare, drop_work));
}

/// Like [`destroy`], where the work is still there.
///
/// # Safety
/// Like [`destroy`], and the task has not ended.
#[cold]
#[inline(never)]
pub(super) unsafe fn destroy_unfinished(ptr: NonNull<Header>) {
    // SAFETY: T4: no other thread can reach the cell, and it is not freed yet.
    let header = unsafe { ptr.as_ref() };
    // SAFETY: T7: the vtable is from the cell's own header; T4: the cell is there for the length of
    // the call.
    if header.vtable.kind == Kind::Local && !unsafe { (header.vtable.is_owner_thread)(ptr) } {
        return; // T9: leaked rather than dropped on the wrong thread.
    }
    // SAFETY: T4: no reference is left; not DONE, so the work is still there (T8).
    unsafe { drop_work(ptr) };
    header.note_settled(Ending::Closed);
    // SAFETY: T4: as above, and the work is gone.
    unsafe { free(ptr) };
}

/// Frees a cell, after its last reference has gone.
///
/// # Safety
/// T4: it was the caller's, there is none any more, and the cell is not used again.
#[inline]
pub(super) unsafe fn destroy(ptr: NonNull<Header>) {
    // SAFETY: T4: no other thread can reach the cell, and it is not freed yet.
    if unsafe { ptr.as_ref() }.state.is_done() {
        // SAFETY: T4; the work was dropped before DONE (T8), the output's owner has taken or
        // dropped it before it let go (T2).
        unsafe { free(ptr) };
    } else {
        // SAFETY: T4: the caller's promise; not DONE.
        unsafe { destroy_unfinished(ptr) };
    }
}

/// # Safety
/// Like [`destroy`], and neither work nor output is in place.
#[inline]
unsafe fn free(ptr: NonNull<Header>) {
    // SAFETY: T4: no other thread can reach the cell, and it is not freed yet.
    let vtable = unsafe { ptr.as_ref() }.vtable;
    // SAFETY: T7: the function is from the cell's own vtable; the rest is the caller's promise
    // (T4).
    unsafe { (vtable.free)(ptr) }
}
