//! What depends on a cell's types: its layout, and the functions in its vtable.
//!
//! Each function here is reached through the vtable of the cell that it was
//! made for (T7), under the conditions that `VTable` states for it. The generic
//! code is kept to what needs the types; everything else is in the parent module.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::side::SidePointer;
use super::{Header, Kind, Ref, VTable, current, slab, stock, waker};
use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicPtr, AtomicU32};
use crate::record::{self, Ending};
use crate::task::TaskError;
use crate::task::completer::OnCancel;
use crate::task::panic::{self, contain};
use crate::task::runnable::{Ran, Runnable, Schedule, Yielded};
use crate::task::state::{State, Suspend};
use crate::task::traced::Birth;

/// A whole task.
#[repr(C)]
struct Cell<W, T, S> {
    header: Header,
    schedule: S,
    payload: Payload<W, T>,
}

union Payload<W, T> {
    work: ManuallyDrop<W>,
    output: ManuallyDrop<Result<T, TaskError>>,
}

/// The `S` of a cell that is never scheduled again: closures, and values that
/// were ready from the start.
struct Never;

pub(in crate::task) fn allocate_closure<F, T>(
    f: F,
    claimable: bool,
    birth: Birth,
) -> NonNull<Header>
where
    F: FnOnce() -> T,
{
    let payload = Payload::<F, T> {
        work: ManuallyDrop::new(f),
    };
    record::spawned(birth.id.get(), birth.site, record::Kind::Closure);
    allocate::<_, _, _, false>(
        State::scheduled(claimable),
        &Make::<F, T, Never>::CLOSURE,
        Never,
        payload,
        birth,
    )
}

/// `LOCAL`: only `schedule`'s thread may touch it (T9), so nobody may claim it. The caller gets as many
/// counts as `state` has (T6).
pub(in crate::task) fn allocate_future<F: Future, S: Schedule, const LOCAL: bool>(
    future: F,
    schedule: S,
    state: State,
    birth: Birth,
) -> NonNull<Header> {
    let payload = Payload::<F, F::Output> {
        work: ManuallyDrop::new(future),
    };
    record::spawned(birth.id.get(), birth.site, future_kind::<LOCAL>());
    let vtable = if LOCAL {
        &Make::<F, F::Output, S>::LOCAL
    } else {
        &Make::<F, F::Output, S>::FUTURE
    };
    allocate::<_, _, _, LOCAL>(state, vtable, schedule, payload, birth)
}

pub(in crate::task) fn allocate_promise<T, H: OnCancel>(hook: H, birth: Birth) -> NonNull<Header> {
    let payload = Payload::<(), T> {
        work: ManuallyDrop::new(()),
    };
    record::spawned(birth.id.get(), birth.site, record::Kind::Promise);
    allocate::<_, _, _, false>(
        State::promised(),
        &Make::<(), T, H>::PROMISE,
        hook,
        payload,
        birth,
    )
}

pub(in crate::task) fn allocate_ready<T>(value: T, birth: Birth) -> NonNull<Header> {
    let payload = Payload::<(), T> {
        output: ManuallyDrop::new(Ok(value)),
    };
    allocate::<_, _, _, false>(
        State::done(),
        &Make::<(), T, Never>::READY,
        Never,
        payload,
        birth,
    )
}

/// `LOCAL`: from this thread's slabs, else from its stock.
#[inline]
fn allocate<W, T, S, const LOCAL: bool>(
    state: State,
    vtable: &'static VTable,
    schedule: S,
    payload: Payload<W, T>,
    birth: Birth,
) -> NonNull<Header> {
    let header = Header {
        state,
        tag: AtomicU32::new(0),
        vtable,
        next: AtomicPtr::new(std::ptr::null_mut()),
        consumer: UnsafeCell::new(None),
        id: birth.id,
        site: birth.site,
        parent: current::id(),
        side: SidePointer::new(),
        #[cfg(loom)]
        payload: UnsafeCell::new(()),
    };
    let layout = Layout::new::<Cell<W, T, S>>();
    let memory = if LOCAL {
        slab::take(layout)
    } else {
        stock::take(layout)
    };
    let cell = memory.cast::<Cell<W, T, S>>();
    // SAFETY: T17: it is ours alone, and of this layout.
    unsafe {
        cell.write(Cell {
            header,
            schedule,
            payload,
        });
    }
    // T6 begins here: the cast keeps the provenance of the whole cell, whose header is its first field (`repr(C)`).
    cell.cast()
}

const fn future_kind<const LOCAL: bool>() -> record::Kind {
    if LOCAL {
        record::Kind::Local
    } else {
        record::Kind::Future
    }
}

/// The vtables for one choice of types.
struct Make<W, T, S>(PhantomData<(W, T, S)>);

impl<W, T, S> Make<W, T, S> {
    const BASE: VTable = VTable {
        kind: Kind::Promise,
        output: offset_of!(Cell<W, T, S>, payload),
        run: no_run,
        drop_work: drop_work::<W, T, S>,
        write_error: write_error::<W, T, S>,
        drop_output: drop_output::<W, T, S>,
        schedule: no_schedule,
        is_owner_thread: anywhere,
        needs_this_thread: nobody,
        hook: no_hook,
        free: free::<W, T, S, false>,
    };
}

impl<T> Make<(), T, Never> {
    const READY: VTable = Self::BASE;
}

impl<F: FnOnce() -> T, T> Make<F, T, Never> {
    const CLOSURE: VTable = VTable {
        kind: Kind::Closure,
        run: run_closure::<F, T>,
        ..Self::BASE
    };
}

impl<F: Future, S: Schedule> Make<F, F::Output, S> {
    const FUTURE: VTable = VTable {
        kind: Kind::Future,
        run: run_future::<F, S, false>,
        schedule: schedule::<F, F::Output, S>,
        needs_this_thread: needs_this_thread::<F, F::Output, S>,
        ..Self::BASE
    };
    const LOCAL: VTable = VTable {
        kind: Kind::Local,
        run: run_future::<F, S, true>,
        is_owner_thread: is_owner_thread::<F, F::Output, S>,
        free: free::<F, F::Output, S, true>,
        ..Self::FUTURE
    };
}

impl<T, H: OnCancel> Make<(), T, H> {
    const PROMISE: VTable = VTable {
        hook: hook::<T, H>,
        ..Self::BASE
    };
}

/// Where the payload of a cell with these types lies.
fn payload<W, T, S>(ptr: NonNull<Header>) -> NonNull<Payload<W, T>> {
    // SAFETY: T6, T7: the offset is inside the allocation that `ptr` has provenance over.
    unsafe { ptr.byte_add(offset_of!(Cell<W, T, S>, payload)) }.cast()
}

unsafe fn run_closure<F: FnOnce() -> T, T>(ptr: NonNull<Header>) -> Ran {
    let runner = Ref::from_raw(ptr);
    runner.header().touch_payload();
    let payload = payload::<F, T, Never>(ptr);
    // SAFETY: T1, T8: we have RUNNING, so the work is there and ours; it is not
    // touched again, the call consumes it.
    let work = unsafe { payload.cast::<F>().read() };
    let entered = current::enter(&runner);
    runner.header().note_begun(record::Kind::Closure);
    let result = panic::catch_in_task(work).map_err(TaskError::from);
    runner.header().note_ended(ending(&result));
    drop(entered);
    runner.header().touch_payload();
    // SAFETY: T1, T8: the work is gone, the place is ours.
    unsafe { payload.cast::<Result<T, TaskError>>().write(result) };
    runner.finish(false);
    Ran::Done
}

unsafe fn run_future<F: Future, S: Schedule, const LOCAL: bool>(ptr: NonNull<Header>) -> Ran {
    let runner = Ref::from_raw(ptr);
    if LOCAL {
        // SAFETY: T6, T7, T10: `runner` keeps the cell.
        let schedule = unsafe { half::<F, F::Output, S>(ptr) };
        assert!(
            schedule.is_owner_thread(), // T9
            "trefoil: a local task was run on a thread that does not own it"
        );
    }
    runner.header().touch_payload();
    let payload = payload::<F, F::Output, S>(ptr);
    let mut woke_itself = false;
    let ended = {
        // Left before `runner` gives its reference away (T15).
        let _entered = current::enter(&runner);
        runner.header().note_begun(future_kind::<LOCAL>());
        let polled = S::RUNNER_QUEUES.then(|| current::poll_begins(&runner));
        let poll = panic::catch_in_task(|| {
            // SAFETY: T1, T8, T9: we have RUNNING on a thread that may touch the future.
            let future = unsafe { payload.cast::<F>().as_mut() };
            // SAFETY: the future is never moved from its cell: it is dropped in place (T8).
            let future = unsafe { Pin::new_unchecked(future) };
            // The runner's reference outlives this borrowed waker.
            let waker = waker::borrow(&runner);
            future.poll(&mut Context::from_waker(&waker))
        });
        if let Some(polled) = polled {
            woke_itself = polled.woke_itself();
        }
        let ended = match poll {
            Ok(Poll::Pending) => None,
            // The future goes before its output is visible; if its destructor
            // panics, that is how the task ends.
            Ok(Poll::Ready(value)) => match panic::catch_in_task(|| {
                // SAFETY: T1, T8, T9: as above, and it is not touched again.
                unsafe { payload.cast::<F>().drop_in_place() }
            }) {
                Ok(()) => Some(Ok(value)),
                Err(panic) => {
                    contain(|| drop(value));
                    Some(Err(TaskError::from(panic)))
                }
            },
            Err(panic) => {
                contain(|| runner.drop_work());
                Some(Err(panic.into()))
            }
        };
        let how = ended.as_ref().map_or(Ending::Pending, ending);
        runner.header().note_ended(how);
        ended
    };
    if let Some(result) = ended {
        runner.header().touch_payload();
        // SAFETY: T1, T8: the work is gone, the place is ours.
        unsafe { payload.cast::<Result<F::Output, TaskError>>().write(result) };
        runner.finish(true);
        return Ran::Done;
    }
    if woke_itself && !runner.header().state.is_cancelled() {
        runner.header().note_woken();
        return Ran::Yielded(Yielded::from_ref(runner));
    }
    match runner.header().state.suspend(S::RUNNER_QUEUES) {
        Suspend::Idle => {
            let _given_up = runner.into_raw();
            Ran::Pending
        }
        // The runner's reference is the entry's from now on (T6).
        Suspend::Again if S::RUNNER_QUEUES => {
            runner.header().note_woken();
            Ran::Again(Runnable::from_ref(runner))
        }
        Suspend::Again => {
            runner.header().note_woken();
            // SAFETY: T6, T7, T10: `runner` keeps the cell.
            let schedule = unsafe { half::<F, F::Output, S>(ptr) };
            // `suspend` added the entry's reference (T6).
            schedule.reschedule(Runnable::from_ref(Ref::from_raw(ptr)));
            Ran::Pending
        }
        Suspend::Cancelled => {
            runner.abandon(TaskError::Cancelled);
            Ran::Done
        }
        Suspend::Gone => {
            super::destroy_unfinished(runner.into_raw());
            Ran::Done
        }
    }
}

/// How a task's own code has ended.
#[inline]
fn ending<T>(result: &Result<T, TaskError>) -> Ending {
    match result {
        Ok(_) => Ending::Done,
        Err(_) => Ending::Panicked,
    }
}

unsafe fn drop_work<W, T, S>(ptr: NonNull<Header>) {
    // SAFETY: the conditions of `VTable::drop_work`: the work is there, ours, and
    // not touched again (T8).
    unsafe { payload::<W, T, S>(ptr).cast::<W>().drop_in_place() }
}

unsafe fn write_error<W, T, S>(ptr: NonNull<Header>, error: TaskError) {
    // SAFETY: the conditions of `VTable::write_error`: the place is empty and ours (T8).
    unsafe {
        payload::<W, T, S>(ptr)
            .cast::<Result<T, TaskError>>()
            .write(Err(error));
    }
}

unsafe fn drop_output<W, T, S>(ptr: NonNull<Header>) -> Option<TaskError> {
    let output = payload::<W, T, S>(ptr).cast::<Result<T, TaskError>>();
    // SAFETY: the conditions of `VTable::drop_output`: an output is there, ours (T2), and
    // not touched again (T8).
    unsafe { output.read() }.err()
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
    // SAFETY: the caller's conditions are the same (T6, T7, T10).
    let schedule = unsafe { half::<W, T, S>(ptr) };
    schedule.schedule(Runnable::from_ref(Ref::from_raw(ptr)));
}

unsafe fn is_owner_thread<W, T, S: Schedule>(ptr: NonNull<Header>) -> bool {
    // SAFETY: the caller's conditions are the same (T6, T7, T10).
    unsafe { half::<W, T, S>(ptr) }.is_owner_thread()
}

unsafe fn needs_this_thread<W, T, S: Schedule>(ptr: NonNull<Header>) -> bool {
    // SAFETY: the caller's conditions are the same (T6, T7, T10).
    unsafe { half::<W, T, S>(ptr) }.needs_this_thread()
}

unsafe fn hook<T, H: OnCancel>(ptr: NonNull<Header>) -> *const dyn OnCancel {
    // SAFETY: the caller's conditions are the same (T6, T7, T10).
    unsafe { half::<(), T, H>(ptr) }
}

unsafe fn free<W, T, S, const LOCAL: bool>(ptr: NonNull<Header>) {
    let cell = ptr.cast::<Cell<W, T, S>>();
    // SAFETY: the conditions of `VTable::free`: nobody else has the cell (T4), which was made with these
    // types (T7). Its payload is not dropped: a union has no destructor, and it is empty (T8).
    unsafe { cell.drop_in_place() };
    let layout = Layout::new::<Cell<W, T, S>>();
    if LOCAL {
        // SAFETY: T4, T7: as above; `allocate` took it there.
        unsafe { slab::give(cell.cast(), layout) };
    } else {
        // SAFETY: T4, T7: as above.
        unsafe { stock::give(cell.cast(), layout) };
    }
}

unsafe fn no_run(_: NonNull<Header>) -> Ran {
    unreachable!("trefoil: a promise has nothing to run")
}

unsafe fn no_schedule(_: NonNull<Header>) {
    unreachable!("trefoil: only futures are scheduled again")
}

unsafe fn anywhere(_: NonNull<Header>) -> bool {
    true
}

unsafe fn nobody(_: NonNull<Header>) -> bool {
    false
}

unsafe fn no_hook(_: NonNull<Header>) -> *const dyn OnCancel {
    unreachable!("trefoil: only promises have a producer to tell")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Loop(#[allow(dead_code)] Arc<()>);

    impl Schedule for Loop {
        fn schedule(&self, _: Runnable) {}
    }

    /// The gate: 96 bytes and the future.
    fn idle<F: Future>(_: &F) -> usize {
        size_of::<Cell<F, F::Output, Loop>>()
    }

    #[test]
    fn an_idle_task_takes_96_bytes_and_its_future() {
        assert_eq!(size_of::<Header>(), 72);
        let ready = async {};
        assert!(idle(&ready) <= 96 + size_of_val(&ready));
        let (reader, writer) = (Arc::new(1), Arc::new(2));
        let waits = async move {
            std::future::pending::<()>().await;
            drop((reader, writer));
        };
        assert!(
            idle(&waits) <= 80 + size_of_val(&waits),
            "{} for {}",
            idle(&waits),
            size_of_val(&waits)
        );
        let large = async {
            let buffer = [0u8; 1000];
            std::future::pending::<()>().await;
            buffer[7]
        };
        assert!(idle(&large) <= 80 + size_of_val(&large).next_multiple_of(8));
    }
}
