//! Calls that may block: `spawn_blocking`.
//!
//! **Job.** A pool is as wide as the machine, because more threads compute no faster. But a call that sleeps, or waits for a
//! network, uses no processor, and what is queued behind it could run. Only the system knows which of the two a closure does, and a
//! user should not have to say it. So the pool looks: how much processor time has the thread used? (Where it is known,
//! [`ThreadPool::blocking`](super::ThreadPool::blocking) says it at once, and costs less: `Worker::block` in `wait.rs`.)
//!
//! **Protocol.** 1. [`run`] notes in the worker's `Call` that a call is in progress, tells `sleep`, and looks into the queues: if
//! there is something and as many run as should, a watch begins (`watch.rs`). 2. It looks every `STALL`. If nothing
//! is queued, it ends: it would gain nothing. Else it reads the clocks of all threads that are in the same call
//! as at its last look. One that has run for less than an eighth of the time, and does not want to run just now, *waits*.
//! The others *compute*; on a machine with too much to do, they may wait for a processor. 3. The pool is made *wider* by as many calls
//! as wait: so many more threads run. 4. A thousand calls that wait would still begin
//! one by one, each after its predecessor has been seen to wait. So each one that is seen to wait for the first time makes the pool
//! wider by a few more (*on trust*), unless as many compute: the next calls will probably wait, too. The trust ends when it is known what
//! those calls do, at the next look but one.
//! 5. A call that ends takes its part of the width along: the pool is never wider by more than there are calls in progress, but for
//! the trust of a watch. Surplus threads go to sleep (`sleep`).
//!
//! If a call itself waits for tasks (`join`), its thread is blocked, and does not count as a call meanwhile. Only the
//! outermost call of a thread counts, and only if that thread is not inside a wait already.
//!
//! **Rejected.** A thread for each call, up to some hundreds, as tokio has it (ten thousand calls that compute
//! become five hundred threads that take turns); the stall rule alone (a call that computes for a second moves nothing
//! either); the time that the whole process uses (others compute, too). Source: Go's `sysmon`.
//!
//! Tests: `tests/thread/blocking.rs`; loom models in `checks/tests/blocking.rs`.

use super::raw::current;
use super::worker::Worker;

/// Runs `f`, which may block, on whatever thread this is.
pub(super) fn run<R>(f: impl FnOnce() -> R) -> R {
    let _call = InProgress::begin();
    f()
}

/// The calling thread is in a call that counts.
struct InProgress(bool);

impl InProgress {
    fn begin() -> Self {
        Self(current::with_home(|home| {
            home.is_some_and(Worker::begin_call)
        }))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.0 {
            current::with_home(|home| home.map(Worker::end_call));
        }
    }
}

impl Worker {
    /// False: this call does not count.
    fn begin_call(&self) -> bool {
        if self.blocked.get() > 0 || self.in_call.get() {
            return false;
        }
        self.in_call.set(true);
        let registry = self.registry();
        registry.sleep.call_begins();
        self.slot().call.begin_or_end();
        if registry.sleep.is_unwatched() && registry.has_tasks() {
            registry.published();
        }
        true
    }

    fn end_call(&self) {
        self.in_call.set(false);
        self.pause_call();
        self.registry().sleep.call_ends();
    }

    /// Its call ends, or waits for a task.
    pub(super) fn pause_call(&self) {
        self.slot().call.begin_or_end();
        // The watcher may have said that it is away.
        self.slot().mailbox.open();
    }
}
