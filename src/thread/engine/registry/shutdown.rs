//! How a pool ends: what happens after `shutdown`, or after the last handle was dropped
//! (`LastHandle` in `pool.rs`). A `map` or a `join` from outside then runs in its caller:
//! `registry/enter.rs`.
//!
//! 1. The injector refuses work from outside; tasks that the pool's tasks spawn still run (or are
//!    refused and end in `Closed`, with `CancelPending`).
//! 2. The queues of outside threads are left alone from now on, because their threads could add
//!    some work all the time: they run it themselves. What they have queued in a scope so far was
//!    accepted, and their threads may wait for it by other means: it is moved to the injector.
//! 3. Wait until no thread runs, none is blocked, and nothing is queued; workers that are
//!    themselves inside `shutdown` do not count.
//! 4. No thread is recruited any more, sleepers end.
//! 5. Join them: a thread is joined by exactly one caller; a worker never joins itself or another
//!    worker that is inside `shutdown`, in a task or in a hook. A thread that already runs
//!    destructors of its thread-locals joins none, because others may be joining it. Regions of
//!    outside threads continue without the pool's help.
//!
//! Rejected: closing at once and dropping the queues (a task that joins its own child would see
//! `Closed` because the pool was dropped); waiting in each worker for the others (two workers that
//! shut down would wait for each other).
//!
//! Tests: `tests/thread/pool.rs::{wait_runs_everything_and_then_refuses,
//! cancel_pending_never_runs_what_is_queued, shutdown_from_inside_joins_all_but_itself}`.

use std::sync::Arc;
use std::thread::ThreadId;

use crate::loom::thread;
use crate::parking::park;
use crate::task::{Shutdown, TaskError};
use crate::thread::engine::config::STALL;
use crate::thread::engine::queue::{Mode, Work};
use crate::thread::engine::registry::Registry;

/// See [`ThreadPool::shutdown`](crate::thread::ThreadPool::shutdown).
pub(in crate::thread) fn shutdown(registry: &Arc<Registry>, how: Shutdown) {
    if how == Shutdown::CancelPending {
        registry.injector.set_mode(Mode::Cancelling);
        cancel_pending(registry);
        registry.futures.wake_all();
    }
    end(registry, how);
}

/// The end of a pool whose pending work is run, or has been cancelled; `how` as in [`shutdown`].
pub(in crate::thread) fn end(registry: &Arc<Registry>, how: Shutdown) {
    registry.injector.set_mode(Mode::Draining);
    registry.sleep.closing();
    leave_outside_threads(registry);
    let inside = registry.is_home();
    let me = thread::current().id();
    if inside {
        registry.threads.handles.lock().in_shutdown.push(me);
        registry.sleep.enter_shutdown();
    }
    // The pool itself sees to what is still queued.
    park::away(|| {
        end_threads(registry, inside, me);
        // Futures that were polled outside this pool's threads, and those that were woken last.
        registry.futures.close(&registry.injector, how);
    });
}

/// Step 2.
fn leave_outside_threads(registry: &Arc<Registry>) {
    registry.sleep.delay_end();
    for slot in registry.slots.unlist_outside() {
        // No more than there are now: its thread may go on.
        for _ in 0..slot.public.scoped.len() {
            let Some(lent) = slot.public.steal_scoped() else {
                break;
            };
            registry.inject_scoped(lent);
        }
    }
    registry.sleep.allow_end();
    registry.recheck();
}

/// Returns when the pool is quiet, and closed, and its threads have ended.
fn end_threads(registry: &Arc<Registry>, inside: bool, me: ThreadId) {
    loop {
        let idle = || registry.is_idle();
        // The mode changes before any thread is woken to end: tasks that the threads' last hooks
        // spawn are refused.
        let close = || registry.injector.set_mode(Mode::Closed);
        if registry.sleep.wait_quiet(&idle, &close) {
            break;
        }
        // Work is queued, and the system gives no thread for it. Ask again.
        registry.recheck();
        std::thread::sleep(STALL);
    }
    if inside || !registry.threads.handles.lock().has(me) {
        registry.threads.join_threads(inside);
    }
}

/// Cancels the tasks that are queued now; workers cancel later ones. Work that a region waits for
/// stays.
fn cancel_pending(registry: &Arc<Registry>) {
    for slot in registry.slots().iter() {
        while cancel_next(registry, &|| slot.public.steal_task().map(Work::Task)) {}
        let is_task = |share: &Work| matches!(share, Work::Task(_));
        while cancel_next(registry, &|| slot.mailbox.take_first(&is_task)) {}
    }
    for _ in 0..registry.injector.len() {
        cancel_next(registry, &|| registry.injector.pop());
    }
}

/// Cancels the next queued task. One at a time: the destructor of a closure may wait for another
/// task, which must still be in the queue for a worker. False: there is no next one.
fn cancel_next(registry: &Arc<Registry>, next: &dyn Fn() -> Option<Work>) -> bool {
    registry.sleep.delay_end();
    let (mut found, mut pending) = (true, None);
    match next() {
        Some(Work::Task(task)) => pending = Some(task),
        Some(other) => registry.injector.put_back(other),
        None => found = false,
    }
    registry.sleep.allow_end();
    registry.recheck();
    if let Some(task) = pending {
        task.discard(TaskError::Cancelled);
    }
    found
}
