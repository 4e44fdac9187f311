//! What depends on a cell's types: its layout, and the functions in its vtable.
//!
//! A task is made here: [`closure`], [`Newborn::future`] and the others make the cell, one half for
//! the executor and the `Task` for the caller. The functions of a vtable are reached only through a
//! cell that it was made for (T7), under the conditions that `VTable` states for them. Only code
//! that needs the types is generic and here; everything else is in `run.rs`.
//!
//! Tests: its own tests, models with drop counts, Miri.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::consumer::Task;
use super::entered_task::{self, Birth};
use super::header::{Header, PromiseSource, Ran, Runnable, Schedule, TaskRef, VTable};
use super::promise::Completer;
use super::rare::Rare;
use super::run::destroy_unfinished;
use super::stored_error::{Output, StoredError};
use super::waker;
use crate::blocking_threads::contain;
use crate::events;
use crate::events::{Ending, Kind};
use crate::large::{BoxedOutput, is_large};
use crate::loom::UnsafeCell;
use crate::loom::atomic::AtomicU32;
use crate::sys::free_list;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::outcome::{AsResult, AsValue, OutputRule};
use crate::task::state::{CellState, Suspend};
use crate::task::traced;

/// A whole task.
#[repr(C)]
struct Cell<W, T, S> {
    header: Header,
    schedule: S,
    payload: Payload<W, T>,
}

union Payload<W, T> {
    work: ManuallyDrop<W>,
    output: ManuallyDrop<Output<T>>,
}

impl<W, T> Payload<W, T> {
    fn of(work: W) -> Self {
        Self {
            work: ManuallyDrop::new(work),
        }
    }
}

/// The `S` of a cell that is never scheduled again: that of a closure.
struct Never;

/// A task that is to be made, of which listeners already know. Telling them runs user code (a
/// `tracing` subscriber), which may panic or spawn tasks itself. So code that makes a task under a
/// lock makes this before it takes the lock.
pub(crate) struct Newborn {
    birth: Birth,
    parent: Option<TaskId>,
    span: traced::NewSpan,
}

impl Newborn {
    /// A task that the running one spawns, where this is called.
    #[track_caller]
    #[inline]
    pub(crate) fn new(kind: Kind) -> Self {
        let (birth, parent) = (Birth::at(Location::caller()), entered_task::id());
        let span = traced::announce(&birth, parent, kind);
        Self {
            birth,
            parent,
            span,
        }
    }

    /// A queued future that any thread may poll and drop. `claimable`: a waiter may poll it on its
    /// own thread while it is queued.
    #[inline]
    pub(crate) fn future<F, S>(
        self,
        future: F,
        schedule: S,
        claimable: bool,
    ) -> (Runnable, Task<F::Output>)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
        S: Schedule,
    {
        if const { is_large::<F::Output>() } {
            let (entry, task) = self.stored_future(BoxedOutput { future }, schedule, claimable);
            return (entry, task.unboxed());
        }
        self.stored_future(future, schedule, claimable)
    }

    #[inline]
    fn stored_future<F, S>(
        self,
        future: F,
        schedule: S,
        claimable: bool,
    ) -> (Runnable, Task<F::Output>)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
        S: Schedule,
    {
        let vtable = &Make::<F, F::Output, S>::FUTURE;
        // SAFETY: T7: the vtable is for these types.
        unsafe { queued(self, vtable, schedule, future, claimable) }
    }

    /// A queued future that only `schedule`'s thread polls and drops (T9), so no waiter may claim
    /// it. On another thread, running its entry panics, and dropping it leaks the future.
    #[inline]
    pub(crate) fn local_future<F, S>(self, future: F, schedule: S) -> (Runnable, Task<F::Output>)
    where
        F: Future<Output: 'static> + 'static,
        S: Schedule,
    {
        if const { is_large::<F::Output>() } {
            let (entry, task) = self.stored_local_future(BoxedOutput { future }, schedule);
            return (entry, task.unboxed());
        }
        self.stored_local_future(future, schedule)
    }

    #[inline]
    fn stored_local_future<F, S>(self, future: F, schedule: S) -> (Runnable, Task<F::Output>)
    where
        F: Future<Output: 'static> + 'static,
        S: Schedule,
    {
        let vtable = &Make::<F, F::Output, S>::LOCAL;
        // SAFETY: T7: the vtable is for these types.
        unsafe { queued(self, vtable, schedule, future, false) }
    }
}

/// A queued closure. `claimable`: a waiter may run it on its own thread.
#[track_caller]
pub(crate) fn closure<F, T>(f: F, claimable: bool) -> (Runnable, Task<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if const { is_large::<T>() } {
        let (entry, task) = stored_closure(move || Box::new(f()), claimable);
        return (entry, task.unboxed());
    }
    stored_closure(f, claimable)
}

#[track_caller]
fn stored_closure<F, T>(f: F, claimable: bool) -> (Runnable, Task<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let vtable = &Make::<F, T, Never>::CLOSURE;
    // SAFETY: T7: the vtable is for these types.
    unsafe { queued(Newborn::new(Kind::Closure), vtable, Never, f, claimable) }
}

/// Like [`Newborn::future`], for a future whose output is the task's result, with a value that is
/// not large. No waiter claims it.
#[track_caller]
pub(in crate::task) fn member<F, T, S>(future: F, schedule: S) -> (Runnable, Task<T>)
where
    F: Future<Output = Result<T, TaskError>> + Send + 'static,
    T: Send + 'static,
    S: Schedule,
{
    let vtable = &Make::<F, T, S>::MEMBER;
    // SAFETY: T7: the vtable is for these types.
    unsafe { queued(Newborn::new(Kind::Future), vtable, schedule, future, false) }
}

/// The two sides of a promise. `producer` learns when the task is cancelled.
#[track_caller]
pub(crate) fn promise<T, P>(producer: P) -> (Completer<T>, Task<T>)
where
    T: Send + 'static,
    P: PromiseSource,
{
    if const { is_large::<T>() } {
        let (completer, task) = stored_promise(producer);
        return (completer.unboxed(), task.unboxed());
    }
    stored_promise(producer)
}

#[track_caller]
fn stored_promise<T, P>(producer: P) -> (Completer<T>, Task<T>)
where
    T: Send + 'static,
    P: PromiseSource,
{
    let vtable = &Make::<(), T, P>::PROMISE;
    let newborn = (Birth::at(Location::caller()), entered_task::id());
    let payload = Payload::<(), T>::of(());
    let cell = allocate(newborn, CellState::promised(), vtable, producer, payload);
    // SAFETY: T6: `promised` counts two: the producer, and the handle below.
    let task = unsafe { TaskRef::from_raw(cell) };
    task.note_spawned();
    // SAFETY: T7: it is a promise's cell with this `T`.
    let completer = unsafe { Completer::from_ref(task) };
    // SAFETY: T6: the second count; T7: it is a cell with this `T`.
    (completer, unsafe { Task::from_raw(cell) })
}

/// A task that has ended with `value`.
#[track_caller]
pub(in crate::task) fn ready<T>(value: T) -> Task<T> {
    if const { is_large::<T>() } {
        return stored_ready(Box::new(value)).unboxed();
    }
    stored_ready(value)
}

#[track_caller]
fn stored_ready<T>(value: T) -> Task<T> {
    let payload = Payload::<(), T> {
        output: ManuallyDrop::new(Ok(value)),
    };
    let vtable = &Make::<(), T, ()>::PROMISE;
    let newborn = (Birth::at(Location::caller()), entered_task::id());
    let cell = allocate(newborn, CellState::done(), vtable, (), payload);
    // SAFETY: T6, T7: `done` counts one: the handle, of a cell with this `T`.
    unsafe { Task::from_raw(cell) }
}

/// A task that is queued from birth.
///
/// # Safety
/// T7: `vtable` was made for these types.
#[inline]
unsafe fn queued<W, T, S>(
    newborn: Newborn,
    vtable: &'static VTable,
    schedule: S,
    work: W,
    claimable: bool,
) -> (Runnable, Task<T>) {
    let (birth, state) = (newborn.birth, CellState::scheduled(claimable));
    let payload = Payload::<W, T>::of(work);
    let cell = allocate((birth, newborn.parent), state, vtable, schedule, payload);
    // SAFETY: T6, T11: SCHEDULED is set, and this is the entry for it; `scheduled` counts two: the
    // entry's is the first.
    let entry = unsafe { entry(cell) };
    entry.cell().note_spawned();
    traced::attach(&entry, newborn.span);
    // SAFETY: T6: the second count is the handle's; T7: the cell has this `T`.
    (entry, unsafe { Task::from_raw(cell) })
}

#[inline]
fn allocate<W, T, S>(
    (birth, parent): (Birth, Option<TaskId>),
    state: CellState,
    vtable: &'static VTable,
    schedule: S,
    payload: Payload<W, T>,
) -> NonNull<Header> {
    debug_assert!(!is_large::<T>(), "T30: it is boxed");
    let layout = Layout::new::<Cell<W, T, S>>();
    let cell = free_list::take(layout).cast::<Cell<W, T, S>>();
    // The header is built in place: a copy would have to wait until each word of the original was
    // written.
    let header = Header {
        birth,
        state,
        tag: AtomicU32::new(0),
        vtable,
        consumer: UnsafeCell::new(None),
        rare: Rare::new(parent),
        #[cfg(loom)]
        payload: UnsafeCell::new(()),
    };
    // SAFETY: Y97: `take` gave memory for this layout, and no other owner has it.
    unsafe {
        cell.write(Cell {
            header,
            schedule,
            payload,
        });
    }
    // T6 begins here: the cast keeps the provenance of the whole cell, whose header is its first
    // field (`repr(C)`).
    cell.cast()
}

/// The vtables for one choice of types.
struct Make<W, T, S>(PhantomData<(W, T, S)>);

impl<W, T, S> Make<W, T, S> {
    const BASE: VTable = VTable {
        kind: Kind::Promise,
        #[cfg(feature = "inspect")]
        kept: None,
        output: offset_of!(Cell<W, T, S>, payload),
        run: |_| unreachable!("trefoil: a promise has nothing to run"),
        drop_work: drop_work::<W, T, S>,
        write_error: write_error::<T>,
        drop_output: drop_output::<T>,
        schedule: |_| unreachable!("trefoil: only futures are scheduled again"),
        is_owner_thread: |_| false,
        producer: |_| unreachable!("trefoil: only promises have a producer"),
        free: free::<W, T, S>,
    };
}

impl<F: FnOnce() -> T, T> Make<F, T, Never> {
    const CLOSURE: VTable = VTable {
        kind: Kind::Closure,
        run: run_closure::<F, T>,
        ..Self::BASE
    };
}

impl<F: Future, T, S: Schedule> Make<F, T, S> {
    const SCHEDULED: VTable = VTable {
        kind: Kind::Future,
        #[cfg(feature = "inspect")]
        kept: S::KEPT,
        schedule: schedule::<F, T, S>,
        is_owner_thread: is_owner_thread::<F, T, S>,
        ..Self::BASE
    };
}

impl<F: Future, S: Schedule> Make<F, F::Output, S> {
    const FUTURE: VTable = VTable {
        run: run_future::<F, F::Output, S, AsValue, false>,
        ..Self::SCHEDULED
    };
    const LOCAL: VTable = VTable {
        kind: Kind::Local,
        run: run_future::<F, F::Output, S, AsValue, true>,
        ..Self::SCHEDULED
    };
}

impl<F: Future<Output = Result<T, TaskError>>, T, S: Schedule> Make<F, T, S> {
    const MEMBER: VTable = VTable {
        run: run_future::<F, T, S, AsResult, false>,
        ..Self::SCHEDULED
    };
}

impl<T, P: PromiseSource> Make<(), T, P> {
    const PROMISE: VTable = VTable {
        producer: producer::<T, P>,
        ..Self::BASE
    };
}

/// Where the payload of a cell with these types is.
///
/// # Safety
/// T6, T7: the cell lives, and has these types.
#[inline]
unsafe fn payload<W, T, S>(ptr: NonNull<Header>) -> NonNull<Payload<W, T>> {
    // SAFETY: T6, T7: the offset is inside the allocation that `ptr` has provenance over.
    unsafe { ptr.byte_add(offset_of!(Cell<W, T, S>, payload)) }.cast()
}

unsafe fn run_closure<F: FnOnce() -> T, T>(ptr: NonNull<Header>) -> Ran {
    // SAFETY: T6: the conditions of `VTable::run`: a count comes with the pointer.
    let runner = unsafe { TaskRef::from_raw(ptr) };
    runner.header().touch_payload();
    // SAFETY: T6, T7: `runner` keeps the cell, whose vtable has led here.
    let payload = unsafe { payload::<F, T, Never>(ptr) };
    runner.header().note_begun();
    // SAFETY: T1, T8: we have RUNNING, so the work is there and ours; it is not
    // touched again, the call consumes it.
    let work = unsafe { payload.cast::<F>().read() };
    // SAFETY: T15: it is dropped below, before `runner` gives its reference away, and no other is
    // entered in between.
    let entered = unsafe { entered_task::enter(runner.mark()) };
    let rare = &runner.header().rare;
    let result = traced::run(rare, true, work).map_err(TaskError::from);
    drop(entered);
    let output = result.map_err(StoredError::from);
    runner.header().touch_payload();
    // SAFETY: T1, T8: the work was consumed by the call, and we have RUNNING still: the place is
    // empty, and ours.
    unsafe { payload.cast::<Output<T>>().write(output) };
    if events::is_on() {
        // SAFETY: T1, T7, T8: the output, a `T`, is in place, and RUNNING is ours.
        unsafe { report_output::<T>(&runner) };
    }
    // SAFETY: T1, T8: RUNNING is ours, and the output is in place.
    unsafe { runner.finish(false) };
    Ran::Done
}

unsafe fn run_future<F, T, S, E, const LOCAL: bool>(ptr: NonNull<Header>) -> Ran
where
    F: Future,
    S: Schedule,
    E: OutputRule<F::Output, T>,
{
    // SAFETY: T6: the conditions of `VTable::run`: a count comes with the pointer.
    let runner = unsafe { TaskRef::from_raw(ptr) };
    if LOCAL {
        // SAFETY: T6, T7: the cell's vtable has led here; T10: `runner` keeps it for as long as
        // `schedule` is used.
        let schedule = unsafe { half::<F, T, S>(ptr) };
        assert!(
            schedule.is_owner_thread(), // see T9
            "trefoil: a local task was run on a thread that does not own it"
        );
    }
    runner.header().touch_payload();
    // SAFETY: T6, T7: `runner` keeps the cell, whose vtable has led here.
    let payload = unsafe { payload::<F, T, S>(ptr) };
    let mut woke_itself = false;
    let ended = {
        // SAFETY: T15: it is dropped at the end of this block, before `runner` gives its reference
        // away; the poll's own marks are left inside.
        let _entered = unsafe { entered_task::enter(runner.mark()) };
        runner.header().note_begun();
        let polled_before =
            S::RUNNER_QUEUES.then(|| entered_task::replace_polled(runner.address()));
        let rare = &runner.header().rare;
        let poll = || {
            // SAFETY: T1, T8: we have RUNNING, so the future is there and no other thread touches
            // it; T9: on a thread that may: asserted above where it matters.
            let future = unsafe { payload.cast::<F>().as_mut() };
            // SAFETY: the future is never moved from its cell: it is dropped in place (T8).
            let future = unsafe { Pin::new_unchecked(future) };
            // SAFETY: T6: it is used for the length of this call, and `runner` stays.
            let waker = unsafe { waker::borrow(&runner) };
            future.poll(&mut Context::from_waker(&waker))
        };
        let poll = traced::run(rare, false, poll);
        if let Some(before) = polled_before {
            woke_itself = entered_task::has_woken(entered_task::replace_polled(before));
        }
        let result = match poll {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(output)) => Some(E::result(output).map_err(StoredError::from)),
            Err(panic) => Some(Err(TaskError::from(panic).into())),
        };
        // The future is dropped before its output becomes visible. If its destructor panics, the
        // task ends in that panic, unless it has panicked before.
        result.map(|result| {
            // SAFETY: T1, T8, T9: as for the poll, which has ended; it is not touched again: what
            // follows writes over it.
            let drop_future = || unsafe { payload.cast::<F>().drop_in_place() };
            match traced::run(rare, true, drop_future) {
                Err(panic) if result.is_ok() => {
                    contain(|| drop(result));
                    Err(TaskError::from(panic).into())
                }
                Err(second) => {
                    contain(|| drop(second));
                    result
                }
                Ok(()) => result,
            }
        })
    };
    if let Some(output) = ended {
        runner.header().touch_payload();
        // SAFETY: T1, T8: the future was dropped above, and we have RUNNING still: the place is
        // empty, and ours.
        unsafe { payload.cast::<Output<T>>().write(output) };
        if events::is_on() {
            // SAFETY: T1, T7, T8: the output, a `T`, is in place, and RUNNING is ours.
            unsafe { report_output::<T>(&runner) };
        }
        // SAFETY: T1, T8: RUNNING is ours, and the output is in place.
        unsafe { runner.finish(true) };
        return Ran::Done;
    }
    let is_noted = events::is_on() && runner.header().report_paused(S::KEPT, woke_itself);
    if woke_itself && !runner.header().state.is_cancelled() {
        // SAFETY: T16: RUNNING is ours, and the future is there: both go along.
        return Ran::Again(unsafe { Runnable::yielded(runner) });
    }
    match runner.header().state.suspend() {
        Suspend::Idle => {
            let _given_up = runner.into_raw();
            Ran::Pending
        }
        Suspend::Again => {
            if !is_noted {
                runner.header().note_woken();
            }
            let keeps_schedule = (!S::RUNNER_QUEUES).then(|| runner.clone());
            // SAFETY: T11: SCHEDULED is set, and `suspend` has left the entry for it to us; the
            // runner's reference becomes its own (T6).
            let entry = unsafe { Runnable::from_ref(runner) };
            if keeps_schedule.is_none() {
                return Ran::Again(entry);
            }
            // SAFETY: T6, T7: the cell's vtable has led here; T10: `keeps_schedule` keeps it for as
            // long as `schedule` is used.
            let schedule = unsafe { half::<F, T, S>(ptr) };
            schedule.reschedule(entry);
            Ran::Pending
        }
        Suspend::Cancelled => {
            // SAFETY: T1, T8: still running, and the future is there.
            unsafe { runner.abandon(TaskError::Cancelled) };
            Ran::Done
        }
        Suspend::Gone => {
            // SAFETY: T4: `suspend` took the last reference, ours, which is not used again; the
            // task has not ended.
            unsafe { destroy_unfinished(runner.into_raw()) };
            Ran::Done
        }
    }
}

/// The queue entry that a transition of the state has just added a reference for.
///
/// # Safety
/// T6, T11: it set SCHEDULED, or found it set and left the entry to the caller; it is called once.
unsafe fn entry(ptr: NonNull<Header>) -> Runnable {
    // SAFETY: T6: the reference that was added.
    let own = unsafe { TaskRef::from_raw(ptr) };
    // SAFETY: T11: the caller's promise.
    unsafe { Runnable::from_ref(own) }
}

/// Reports how the code of a task has ended.
///
/// # Safety
/// T1, T7, T8: its output is of type `T` and in place, and the caller has RUNNING.
#[cold]
#[inline(never)]
unsafe fn report_output<T>(runner: &TaskRef) {
    // SAFETY: T1, T7, T8: the caller's promise.
    let how = match unsafe { runner.output::<T>().as_ref() } {
        Ok(_) => Ending::Done,
        Err(error) => error.ending(),
    };
    runner.header().report_ended(how);
}

unsafe fn drop_work<W, T, S>(ptr: NonNull<Header>) {
    // SAFETY: T6, T7: the cell's vtable has led here.
    let payload = unsafe { payload::<W, T, S>(ptr) };
    // SAFETY: the conditions of `VTable::drop_work`: the work is there, ours, and
    // not touched again (T8).
    unsafe { payload.cast::<W>().drop_in_place() }
}

unsafe fn write_error<T>(task: &TaskRef, error: TaskError) {
    // SAFETY: the conditions of `VTable::write_error`: the place is empty and ours (T8).
    unsafe { task.output::<T>().write(Err(error.into())) };
}

unsafe fn drop_output<T>(task: &TaskRef, reports: bool) {
    // SAFETY: the conditions of `VTable::drop_output`: an output is there, ours (T2), and
    // not touched again (T8).
    let output = unsafe { task.output::<T>().read() };
    if let Err(error) = output
        && reports
    {
        task.report(error.into());
    }
}

/// The executor's half of a cell with these types.
///
/// # Safety
/// T6 and T7; the reference is used only while the caller keeps a count (T10).
unsafe fn half<'a, W, T, S>(ptr: NonNull<Header>) -> &'a S {
    // SAFETY: T6, T7: the offset is inside the allocation that `ptr` has provenance over.
    let schedule = unsafe { ptr.byte_add(offset_of!(Cell<W, T, S>, schedule)) };
    // SAFETY: T10: it lives as long as the cell and is only ever shared.
    unsafe { schedule.cast::<S>().as_ref() }
}

unsafe fn schedule<W, T, S: Schedule>(ptr: NonNull<Header>) {
    // SAFETY: T6, T7: the cell's vtable has led here; T10: the caller has another reference for the
    // length of this call.
    let schedule = unsafe { half::<W, T, S>(ptr) };
    // SAFETY: the conditions of `VTable::schedule`: a transition that set SCHEDULED has added a
    // reference (T6, T11).
    schedule.schedule(unsafe { entry(ptr) });
}

unsafe fn is_owner_thread<W, T, S: Schedule>(ptr: NonNull<Header>) -> bool {
    // SAFETY: T6, T7: the cell's vtable has led here; T10: the caller has a reference for as long
    // as it uses this.
    unsafe { half::<W, T, S>(ptr) }.is_owner_thread()
}

unsafe fn producer<T, P: PromiseSource>(ptr: NonNull<Header>) -> *const dyn PromiseSource {
    // SAFETY: T6, T7: the cell's vtable has led here; T10: the caller has a reference for as long
    // as it uses this.
    unsafe { half::<(), T, P>(ptr) }
}

unsafe fn free<W, T, S>(ptr: NonNull<Header>) {
    let cell = ptr.cast::<Cell<W, T, S>>();
    // SAFETY: the conditions of `VTable::free`: there is no other reference to the cell (T4), which
    // was made with these types (T7). Its payload is not dropped: a union has no destructor,
    // and it is empty (T8).
    unsafe { cell.drop_in_place() };
    let layout = Layout::new::<Cell<W, T, S>>();
    // SAFETY: T4: there is no other reference to the memory, and what was in it is gone; T7:
    // `allocate` took it from a free list, with this layout.
    unsafe { free_list::give(cell.cast(), layout) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Loop {
        _shared: Arc<()>,
    }

    impl Schedule for Loop {
        fn schedule(&self, _: Runnable) {}
    }

    /// The size of an idle task.
    fn idle<F: Future>(_: &F) -> usize {
        size_of::<Cell<F, F::Output, Loop>>()
    }

    #[test]
    fn an_idle_task_takes_72_bytes_and_its_future() {
        let header = if cfg!(target_pointer_width = "64") {
            56
        } else {
            36
        };
        assert_eq!(size_of::<Header>(), header);
        let ready = async {};
        assert!(idle(&ready) <= 72 + size_of_val(&ready));
        let (reader, writer) = (Arc::new(1), Arc::new(2));
        let waits = async move {
            std::future::pending::<()>().await;
            drop((reader, writer));
        };
        assert!(
            idle(&waits) <= 64 + size_of_val(&waits),
            "{} for {}",
            idle(&waits),
            size_of_val(&waits)
        );
        let large = async {
            let buffer = [0u8; 1000];
            std::future::pending::<()>().await;
            buffer[7]
        };
        assert!(idle(&large) <= 64 + size_of_val(&large).next_multiple_of(8));
    }
}
