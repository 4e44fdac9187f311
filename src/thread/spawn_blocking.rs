//! Calls that may block outside this crate: `spawn_blocking`. (Waits inside it, such as a join:
//! `wait.rs` and `sleep/spares.rs`.)
//!
//! **Job.** A pool is as wide as the machine, because more threads compute no faster. But a call
//! that sleeps, or waits for a network, uses no processor, and tasks that are queued behind it
//! could run. Only the system knows which of the two a closure does, and a user should not have to
//! say it. So the pool checks how much processor time the thread has used. (If the caller knows,
//! [`ThreadPool::blocking`](crate::thread::ThreadPool::blocking) says it at once, and costs less:
//! `Worker::block` in `wait.rs`.)
//!
//! **Protocol.**
//! 1. [`run`] marks in the worker's `BlockingCall` that a call is in progress, notifies `sleep`,
//!    and looks into the queues: if work is queued and as many threads run as should, a stall
//!    monitor begins (`stall_monitor.rs`).
//! 2. The stall monitor looks every `STALL`. If nothing is queued, it ends. Otherwise it reads the
//!    clocks of all threads that are in the same call as at its last look. A thread that has run
//!    for less than an eighth of the time, and is not runnable now, *waits*. The others *compute*.
//! 3. The pool is made *wider* by the number of waiting calls: that many more threads run.
//! 4. With that alone, a thousand calls that wait would begin one by one. So each call that is seen
//!    to wait for the first time makes the pool wider by a few more (*on trust*), unless as many
//!    calls compute: the next calls will probably wait, too. The trust ends at the next look but
//!    one, when it is known what those calls do.
//! 5. A call that ends removes its part of the width: apart from the trust of a stall monitor, the
//!    pool is never wider by more than the number of calls in progress. Surplus threads go to
//!    sleep.
//!
//! If a call waits for tasks (`join`), its thread is blocked, and does not count as a call
//! meanwhile. Only the outermost call of a thread counts, and only if the thread is not inside a
//! wait.
//!
//! **Rejected.** A thread for each call, up to some hundreds, as tokio has it (ten thousand calls
//! that compute become five hundred threads that take turns); the stall rule alone (a call that
//! computes for a second takes nothing from the queues either); the processor time of the whole
//! process (other threads compute, too). Source: Go's `sysmon`.
//!
//! Tests: `tests/thread/blocking.rs`; loom models in `tests/trefoil-checks/tests/blocking.rs`.

use crate::thread::engine::raw_current as current;
use crate::thread::engine::worker::Worker;

/// Runs `f`, which may block, on this thread.
pub(in crate::thread) fn run<R>(f: impl FnOnce() -> R) -> R {
    let _call = InProgress::begin();
    f()
}

/// Marks that the calling thread is in a call that counts.
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
