//! The consumer's reference: it owns the output and lends the slot.
//!
//! There is one [`Task`] per task. `&mut` on it is the right to fill, lend and take back the
//! consumer slot (T3) and to take the output (T2), so those methods take `&mut self`; methods that
//! take `&self` are atomic.
//!
//! What a blocking `join` tries, in order: `task/handle.rs`.
//!
//! Tests: models, Miri.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::Waker;

use super::header::{Header, TaskRef};
use crate::events;
use crate::large::is_large;
use crate::sys::stack;
use crate::task::awaited;
use crate::task::context::{self, OUTSIDERS};
use crate::task::error::TaskError;
use crate::task::state::{Detach, Look};

/// How many times a waiter polls a future that yields, before it parks.
const CLAIMS: u32 = 16;

/// Work that was started and will end: the handle that all executors return.
///
/// Await it in async code on any runtime, or [`join`](Task::join) it in blocking code; both give
/// `Result<T, TaskError>`. **Dropping it detaches it**: the work continues (unless it was made
/// [`cancel_on_drop`](Task::cancel_on_drop)). It is one pointer in size.
///
/// A task's end becomes visible only after its closure or future has been dropped, so whatever it
/// captured is free again. If the destructor of a result that was never taken, and is dropped with
/// its `Task`, panics, the panic hook reports that, and the panic is caught.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let task = pool.spawn(|| (1..=20u64).product::<u64>());
/// assert_eq!(task.join().unwrap(), 2_432_902_008_176_640_000);
/// ```
///
/// It is `Send` and `Sync` if its result is `Send`. Otherwise it stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(trefoil::Task::ready(std::rc::Rc::new(1)));
/// ```
///
/// # Cancel safety
/// Awaiting `&mut task` is cancel safe: dropping that future loses nothing, and the task can be
/// awaited or joined again.
#[must_use = "a dropped task is detached: join it, await it, or say `detach()`"]
#[cfg_attr(not(doc), repr(transparent))] // (for `boxed.rs`: no promise to users)
pub struct Task<T> {
    cell: ManuallyDrop<TaskRef>,
    _output: PhantomData<T>,
}

// SAFETY: T2, T9: all that a handle gives to another thread is the output, a `T`.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: T1 to T4: `&Task` gives no access to the `T`, only atomic transitions.
unsafe impl<T: Send> Sync for Task<T> {}

impl<T> Task<T> {
    /// Takes over the handle's count.
    ///
    /// # Safety
    /// T6, T7: `ptr` came from `allocate` with output `T`, and no handle was made of it before.
    #[inline]
    pub(super) unsafe fn from_raw(ptr: NonNull<Header>) -> Self {
        // SAFETY: T6: the caller's promise is the same.
        let cell = unsafe { TaskRef::from_raw(ptr) };
        Self {
            cell: ManuallyDrop::new(cell),
            _output: PhantomData,
        }
    }

    /// What `from_raw` was given.
    pub(super) fn raw(&self) -> NonNull<Header> {
        self.cell.0
    }

    pub(in crate::task) fn cell(&self) -> &TaskRef {
        &self.cell
    }

    pub(crate) fn task_ref(&self) -> TaskRef {
        self.cell.task_ref()
    }

    /// What the handle may do next. In a forked child, the output of a task that is lost there
    /// counts as taken.
    #[inline]
    fn look(&self) -> Look {
        match self.cell.header().state.look() {
            Look::Pending if self.cell.is_lost() => Look::Taken,
            look => look,
        }
    }

    /// Takes the output, if the task has ended: `Closed` if it was taken before.
    #[inline]
    pub(in crate::task) fn take(&mut self) -> Option<Result<T, TaskError>> {
        if const { is_large::<T>() } {
            return match self.as_boxed().take_stored() {
                Some(Ok(value)) => Some(Ok(*value)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
        }
        self.take_stored()
    }

    /// Like [`take`](Self::take). `T` must not be large.
    #[inline]
    pub(in crate::task) fn take_stored(&mut self) -> Option<Result<T, TaskError>> {
        match self.look() {
            Look::Pending => return None,
            Look::Taken => return Some(Err(TaskError::Closed)),
            Look::Output => {}
        }
        self.cell.header().touch_payload();
        // SAFETY: T2, T8: DONE and not taken, as `look` has just said, so an output is there and
        // ours; it is marked as taken next, with nothing in between, so it is not read
        // again; T7: it is of type `T`.
        let output = unsafe { self.cell.output().read() };
        self.cell.header().state.set_taken();
        Some(output.map_err(TaskError::from))
    }

    /// Registers `waker`, instead of any earlier one, to be woken at the end. False: the task has
    /// ended already; nothing is registered.
    #[inline]
    pub(in crate::task) fn register(&mut self, waker: Waker) -> bool {
        if self.cell.is_lost() || !self.unregister() {
            return false;
        }
        let data = waker.data();
        // SAFETY: T3: not lent, as `unregister` says, so the slot is ours, and empty: nothing is
        // overwritten but a `None`.
        self.cell
            .header()
            .consumer
            .with_mut(|slot| unsafe { slot.write(Some(waker)) });
        if self.cell.header().state.lend() {
            awaited::note(&self.cell);
            if events::is_on() {
                self.cell.report_registered(data);
            }
            return true;
        }
        // SAFETY: T3: `lend` says that the task is done, and the slot still ours.
        drop(unsafe { self.cell.take_consumer() });
        false
    }

    /// Takes a registered waker back. False: the task has ended.
    #[inline]
    pub(in crate::task) fn unregister(&mut self) -> bool {
        let lent = self.cell.header().state.unlend();
        if lent == Some(true) {
            self.cell.header().note_taken();
            // SAFETY: T3: `unlend` has just given it back.
            drop(unsafe { self.cell.take_consumer() });
        }
        lent.is_some()
    }

    /// Sets whether dropping the handle cancels the task.
    pub(in crate::task) fn tie(&self, tied: bool) {
        if self.is_tied() != tied {
            self.cell.header().state.tie(tied);
        }
    }

    /// Whether dropping the handle cancels the task.
    pub(in crate::task) fn is_tied(&self) -> bool {
        self.cell.header().state.is_tied()
    }

    /// The error that the task has ended with: `Closed` if the output was taken before.
    pub(in crate::task) fn error(&mut self) -> Option<&TaskError> {
        if const { is_large::<T>() } {
            return self.as_boxed().stored_error();
        }
        self.stored_error()
    }

    /// Like [`error`](Self::error). `T` must not be large.
    fn stored_error(&mut self) -> Option<&TaskError> {
        static TAKEN: TaskError = TaskError::Closed;
        match self.look() {
            Look::Pending => return None,
            Look::Taken => return Some(&TAKEN),
            Look::Output => {}
        }
        self.cell.header().touch_payload();
        // SAFETY: T2, T8: DONE and not taken, as `look` has just said, so an output is there and
        // ours, and stays while we have `&mut self`; T7: it is of type `T`.
        let output = unsafe { self.cell.output::<T>().as_ref() };
        output.as_ref().err().map(|error| &**error)
    }
}

impl TaskRef {
    /// Runs the task here, if it is queued and this thread may run it. Returns true if it did.
    pub(crate) fn run_here(&self) -> bool {
        let mut helped = false;
        if stack::is_half_left()
            && let Some(entry) = context::take_newest(self.address())
        {
            let _ran = entry.run();
            helped = true;
        }
        // A closure has ended after one run. A future may sleep now, or want another poll. A future
        // that wants many polls probably waits for other tasks, which run only when this thread
        // stops polling it.
        for _ in 0..CLAIMS {
            if self.is_finished() || !stack::is_half_left() || !self.claim_and_run() {
                break;
            }
            helped = true;
        }
        helped
    }

    /// Runs the task here, if it is queued and may be claimed (a future: polls it once): by
    /// threads whose home has its tag, or, if the tag says so or is 0, by any thread.
    fn claim_and_run(&self) -> bool {
        let tag = self.tag();
        let at_home = tag == 0 || tag & !OUTSIDERS == context::home();
        if !at_home && tag & OUTSIDERS == 0 {
            return false;
        }
        if !self.header().state.claim() {
            return false;
        }
        // SAFETY: T6: `claim` added the reference that this one takes over.
        let claimed = unsafe { TaskRef::from_raw(self.0) };
        // SAFETY: T1, T8: `claim` has set RUNNING, for us, and the work has not been touched since;
        // it is called once.
        let run = |claimed: TaskRef| unsafe { claimed.run_started() };
        // A worker that is inside another pool (`install`) leaves that pool while the task runs.
        if tag == 0 || at_home && !context::is_away() {
            let _ran = run(claimed); // a future that may be claimed is never `Ran::Again`
        } else {
            let mut claimed = Some(claimed);
            context::run_inside(tag, &mut || {
                let _ran = claimed.take().map(run);
            });
        }
        true
    }
}

impl<T> Drop for Task<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: T6: the count leaves with the field, which is not used again: `self`
        // is being dropped.
        let cell = unsafe { ManuallyDrop::take(&mut self.cell) };
        match cell.header().state.look() {
            Look::Taken => return, // dropping `cell` gives the count back
            // (In a forked child the parent's work is left alone.)
            Look::Pending if cell.header().state.is_tied() && !cell.is_lost() => _ = cell.cancel(),
            Look::Pending | Look::Output => {}
        }
        match cell.header().state.drop_handle() {
            // SAFETY: T2: done, and the output is the handle's; not taken, as `look` has said.
            Detach::Done => unsafe { cell.drop_output(true) },
            // T3: taken back with WAITING set, so the slot is ours.
            Detach::Filled => {
                cell.header().note_taken();
                // SAFETY: T3: as above.
                drop(unsafe { cell.take_consumer() });
            }
            Detach::Kept => {}
            Detach::Gone => {
                let _given_up = cell.into_raw();
            }
        }
    }
}
