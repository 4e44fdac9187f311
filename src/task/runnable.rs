//! The executor's side of a task: what sits in a queue and wants to run.
//!
//! A [`Runnable`] is one queue entry. An executor makes a pair with [`closure`],
//! [`future`] or [`local_future`]: the entry for its own queue, the [`Task`] for
//! the caller; whatever wakes a future later hands a new entry to its
//! [`Schedule`]. Running an entry never unwinds, and an entry that
//! somebody else has run meanwhile (a waiter that claimed it, a canceller) is
//! *stale*: running it does nothing. So executors need to know nothing of
//! results, panics, cancellation or waiters.
//!
//! An entry that is dropped instead of run ends its task in `Closed`: an executor
//! that goes away leaves nobody waiting.

use std::fmt;
use std::panic::Location;

use super::completer::Origin;
use super::raw::{self, Handle, Ref};
pub(crate) use super::raw::{Runnable, Yielded};
use super::traced::{self, Birth};
use super::unobserved::Hook;
use super::{Task, TaskError, TaskId};

/// Where a woken future goes.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// A wake-up, from any thread. Dropping the entry (the executor is gone) ends
    /// the task in `Closed`.
    fn schedule(&self, runnable: Runnable);

    /// As [`schedule`](Self::schedule), for a wake-up that came while the future was
    /// polled, most often by itself: it should let others go first. On the runner's thread.
    fn reschedule(&self, runnable: Runnable) {
        self.schedule(runnable);
    }

    /// For [`local_future`]s: this is the one thread on which they may be polled
    /// and dropped.
    fn is_owner_thread(&self) -> bool {
        true
    }

    /// For all futures: only this thread can ever poll them, so it must not wait for them.
    fn needs_this_thread(&self) -> bool {
        false
    }

    /// Who runs an entry queues the next one himself, where one is due at once: he gets it back
    /// ([`Ran::Again`]), and `reschedule` is not called. Not for futures that waiters may claim.
    const RUNNER_QUEUES: bool = false;
}

/// What became of a task that was run.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It has ended (or the entry was stale): the executor can forget it.
    Done,
    /// It waits: its waker will make a new entry.
    Pending,
    /// It was woken meanwhile: queue this entry. Only where [`Schedule::RUNNER_QUEUES`] says so.
    Again(Runnable),
    /// It has woken itself, and goes on after the others: queue it. Only where
    /// [`Schedule::RUNNER_QUEUES`] says so.
    Yielded(Yielded),
}

impl Runnable {
    /// Calls the closure, or polls the future once. Never unwinds.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        Ref::from_entry(self).run()
    }

    /// What distinguishes its task from all others of this moment.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.cell().address()
    }

    /// Drops the work unrun; the task ends in `reason`.
    #[allow(dead_code)] // for shutdowns that cancel
    pub(crate) fn discard(self, reason: TaskError) {
        Ref::from_entry(self).discard(reason);
    }

    /// The task has ended without this entry: running it does nothing.
    #[allow(dead_code)] // the thread pool's
    pub(crate) fn is_stale(&self) -> bool {
        self.cell().header().is_done()
    }

    #[allow(dead_code)]
    pub(crate) fn id(&self) -> TaskId {
        self.cell().header().id
    }

    /// The executor's word for this task; 0 at first.
    #[allow(dead_code)] // the event loop's
    pub(crate) fn tag(&self) -> u32 {
        self.cell().tag()
    }

    #[allow(dead_code)] // the event loop's
    pub(crate) fn set_tag(&self, tag: u32) {
        self.cell().set_tag(tag);
    }

    /// Whom to tell of a failure that nobody took, instead of the process's hook. The
    /// first one set stays.
    #[allow(dead_code)] // the executors'
    pub(crate) fn set_hook(&self, hook: Hook) {
        let _ = self.cell().header().side_or_make().hook.set(hook);
    }

    /// Another reference to the same task, to cancel it by.
    #[allow(dead_code)] // the event loop's
    pub(crate) fn task_ref(&self) -> TaskRef {
        TaskRef(self.cell().clone())
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        if !self.cell().header().is_stale() {
            self.cell().clone().discard(TaskError::Closed);
        }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable")
            .field(&self.cell().header().id)
            .finish()
    }
}

/// A reference that can only cancel and wake: what an executor keeps of a live task.
#[derive(Clone)]
pub(crate) struct TaskRef(pub(super) Ref);

#[allow(dead_code)] // the event loop's
impl TaskRef {
    /// As [`Task::cancel`].
    pub(crate) fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Runs it here, if it is queued and this thread may. True: it did.
    pub(crate) fn run_here(&self) -> bool {
        self.0.run_here()
    }

    /// Schedules a future that sleeps, as its waker would.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    pub(super) fn needs_this_thread(&self) -> bool {
        self.0.needs_this_thread()
    }

    pub(super) fn header(&self) -> &raw::Header {
        self.0.header()
    }

    /// It has ended, or never will, in a forked child.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.header().is_done() || self.0.is_lost()
    }

    /// See [`OnCancel::is_executors`](super::completer::OnCancel::is_executors).
    pub(super) fn is_executors(&self) -> bool {
        self.0.is_executors()
    }

    pub(crate) fn id(&self) -> TaskId {
        self.0.header().id
    }

    /// As [`Runnable::tag`].
    pub(crate) fn tag(&self) -> u32 {
        self.0.tag()
    }

    /// It is the same task.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.address() == other.0.address()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.header().name()
    }

    /// Where it was spawned.
    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.header().site
    }

    /// The task whose code has spawned it.
    pub(crate) fn parent(&self) -> Option<TaskId> {
        self.header().parent
    }

    /// Somebody has asked for its end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.header().is_cancelled()
    }

    /// Its code runs at this moment: a hint.
    pub(crate) fn is_running(&self) -> bool {
        self.header().is_running()
    }

    /// It is in its executor's queue at this moment: a hint.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.header().is_scheduled()
    }

    /// Nobody will ask for its output any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.header().is_settled()
    }

    /// From where its end will come.
    pub(crate) fn origin(&self) -> Origin {
        self.0.origin()
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef")
            .field(&self.id())
            .field(self.0.header().shown())
            .finish()
    }
}

/// A queued closure. `claimable`: a waiter may run it on its own thread.
#[track_caller]
pub(crate) fn closure<F, T>(f: F, claimable: bool) -> (Runnable, Task<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let birth = Birth::at(Location::caller());
    pair(raw::allocate_closure(
        traced::closure(f, birth),
        claimable,
        birth,
    ))
}

/// A queued future that any thread may poll.
#[track_caller]
#[allow(dead_code)]
pub(crate) fn future<F, S>(future: F, schedule: S) -> (Runnable, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
    S: Schedule,
{
    let birth = Birth::at(Location::caller());
    pair(raw::allocate_future(
        traced::future(future, birth, false),
        schedule,
        false,
        birth,
    ))
}

/// As [`future`]; a waiter may poll it on its own thread while it is queued.
#[track_caller]
#[allow(dead_code)] // the thread pool's
pub(crate) fn claimable_future<F, S>(future: F, schedule: S) -> (Runnable, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
    S: Schedule,
{
    let birth = Birth::at(Location::caller());
    pair(raw::allocate_future(
        traced::future(future, birth, false),
        schedule,
        true,
        birth,
    ))
}

/// A queued future that only `schedule`'s thread polls and drops. On another
/// thread, running its entry panics, and dropping it leaks the future.
#[track_caller]
#[allow(dead_code)]
pub(crate) fn local_future<F, S>(future: F, schedule: S) -> (Runnable, Task<F::Output>)
where
    F: Future<Output: 'static> + 'static,
    S: Schedule,
{
    let birth = Birth::at(Location::caller());
    pair(raw::allocate_local(
        traced::future(future, birth, true),
        schedule,
        birth,
    ))
}

/// As [`future`], with the reference that the executor keeps of a live task, which costs less here than
/// to ask for it afterwards.
#[track_caller]
#[allow(dead_code)] // the event loop's
pub(crate) fn kept_future<F, S>(future: F, schedule: S) -> (Runnable, TaskRef, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
    S: Schedule,
{
    let birth = Birth::at(Location::caller());
    kept(raw::allocate_kept_future(
        traced::future(future, birth, false),
        schedule,
        birth,
    ))
}

/// As [`kept_future`], for a [`local_future`].
#[track_caller]
#[allow(dead_code)] // the event loop's
pub(crate) fn kept_local_future<F, S>(
    future: F,
    schedule: S,
) -> (Runnable, TaskRef, Task<F::Output>)
where
    F: Future<Output: 'static> + 'static,
    S: Schedule,
{
    let birth = Birth::at(Location::caller());
    kept(raw::allocate_kept_local(
        traced::future(future, birth, true),
        schedule,
        birth,
    ))
}

fn kept<T>((entry, kept, handle): (Runnable, Ref, Handle<T>)) -> (Runnable, TaskRef, Task<T>) {
    (entry, TaskRef(kept), Task::from_handle(handle))
}

fn pair<T>((entry, handle): (Runnable, Handle<T>)) -> (Runnable, Task<T>) {
    (entry, Task::from_handle(handle))
}
