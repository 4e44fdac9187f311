//! Futures on the pool's workers: where a woken one is queued, and how it ends.
//!
//! **Job.** `spawn_async`: the task cell has the future, its polls, wakers and result; this file
//! queues woken futures, and lists the unfinished ones, because a pool that ends must end them.
//!
//! **Protocol.** 1. `Futures::enlist` makes the cell and enters it in the list, in one step
//! under the lock of one part of the list. The entry leaves the list when the future is dropped
//! (ended, cancelled, refused), which is always before the end of its task is visible.
//! 2. A wake-up puts it into the waking worker's own deque, so that it is warm; from outside, into
//!    the injector. A wake-up during its own poll, and one in [`TURN`] of the others, goes to the
//!    injector, too: a deque returns the newest first, and its other entries would never run if a
//!    future that yields, or two that wake each other, were always the newest.
//! 3. A worker that joins the task may claim it while it is queued, and polls it once. If the
//!    future then waits, the worker parks as for any other task.
//! 4. A pool that cancels pending work wakes all futures, and the workers drop them. A poll that
//!    had taken its future from the queue before that, or a worker that claims it to join it, wakes
//!    it once more: it must not sleep, because a worker may wait for it, and the pool for that
//!    worker. A pool that waits instead runs woken futures, also those woken from outside, until
//!    there is no more work. The thread that shuts the pool down then wakes the remaining ones,
//!    and, since no queue accepts them, drops them (`Futures::close`).
//!
//! **Whose thread.** A future is polled by workers, and dropped by them or by the thread that shuts
//! the pool down. Not by the waking thread, which may hold a lock that the future's destructor
//! needs. So woken futures of a closed pool are put aside for `Futures::close`; if a wake-up comes
//! even later, a helper thread drops the future. In a forked child, a future of the parent's pool
//! is leaked: the locks of that pool may be held for ever.
//!
//! Tests: `tests/thread/futures.rs`; claims of futures:
//! `tests/trefoil-checks/tests/models.rs::{run_vs_claiming_join_of_a_ready_future,
//! run_vs_claiming_join_of_a_future_that_yields}`.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::events::Kind;
use crate::large::{BoxedOutput, is_large};
use crate::task::{self, Runnable, Schedule, Task, TaskError};
use crate::thread::engine::queue::{Mode, Work};
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::registry::futures;
use crate::thread::engine::worker::Worker;

/// Of so many wake-ups of a worker, one goes to the end of the common queue.
const TURN: u32 = 16;

/// The pool whose queues take a woken future.
struct Home(Weak<Registry>);

impl Home {
    fn queue(&self, runnable: Runnable, behind: bool) {
        let left = current::with_home(|home| match home {
            Some(home) if !behind && is(&self.0, home.registry()) && keeps_woken(home) => {
                home.push_task(runnable);
                None
            }
            _ => Some(runnable),
        });
        let Some(runnable) = left else { return };
        let Some(registry) = self.0.upgrade() else {
            return futures::end_elsewhere(runnable, TaskError::Closed);
        };
        if registry.is_foreign() {
            // Its locks may be held for ever in a forked child.
            return std::mem::forget(runnable);
        }
        match registry.injector.push_woken(Work::Task(runnable)) {
            Ok(()) => registry.published(),
            Err(Work::Task(refused)) => registry.futures.put_aside(&registry.injector, refused),
            Err(_) => unreachable!("it gives back what it was given"),
        }
    }
}

/// Whether a future that this worker wakes goes into its own queue.
fn keeps_woken(home: &Worker) -> bool {
    let injector = &home.registry().injector;
    !home.next_random().is_multiple_of(TURN) && injector.mode() != Mode::Closed
}

impl Schedule for Home {
    fn schedule(&self, runnable: Runnable) {
        self.queue(runnable, false);
    }

    fn reschedule(&self, runnable: Runnable) {
        self.queue(runnable, true);
    }

    /// That in the list.
    const KEPT: Option<u32> = Some(1);
}

fn is(weak: &Weak<Registry>, registry: &Arc<Registry>) -> bool {
    std::ptr::eq(weak.as_ptr(), Arc::as_ptr(registry))
}

pin_project! {
    /// The user's future, and its place in the list, which goes after it.
    struct Enlisted<F> {
        #[pin]
        future: F,
        entry: FutureEntry,
    }
}

struct FutureEntry {
    registry: Weak<Registry>,
    place: usize,
}

impl Drop for FutureEntry {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade()
            && !registry.is_foreign()
        {
            registry.futures.strike(self.place);
        }
    }
}

impl<F: Future> Future for Enlisted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // The poll is inside the future's pool, even if the worker that has claimed it is inside
        // another.
        current::with_home(|home| match home {
            Some(home) if is(&this.entry.registry, home.registry()) => {
                let polled = current::inside(home, || this.future.poll(cx));
                if polled.is_pending() && home.registry().injector.ends_futures() {
                    cx.waker().wake_by_ref();
                }
                polled
            }
            _ => this.future.poll(cx),
        })
    }
}

/// See [`ThreadPool::spawn_async`](crate::thread::ThreadPool::spawn_async). A thread that waits for
/// it may poll it, if it is in the pool with this tag.
#[track_caller]
pub(in crate::thread) fn spawn_async_on<F>(
    registry: &Arc<Registry>,
    future: F,
    tag: u32,
) -> Task<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    if const { is_large::<F::Output>() } {
        return spawn_stored(registry, BoxedOutput { future }, tag).unboxed();
    }
    spawn_stored(registry, future, tag)
}

/// Like [`spawn_async_on`]. The output must not be large.
#[track_caller]
fn spawn_stored<F>(registry: &Arc<Registry>, future: F, tag: u32) -> Task<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let newborn = task::Newborn::new(Kind::Future); // runs user code, so before the lock
    // Threads that spawn at the same time use different parts of the list.
    let hint = current::with_home(|home| home.map_or(0, |home| 1 + home.slot().number));
    let part = registry.futures.part(hint);
    let weak = Arc::downgrade(registry);
    let entry = FutureEntry {
        registry: Weak::clone(&weak),
        place: part.place(),
    };
    let (runnable, task) = newborn.future(Enlisted { future, entry }, Home(weak), true);
    part.enlist(runnable.task_ref());
    registry.spawn(runnable, tag);
    task
}
