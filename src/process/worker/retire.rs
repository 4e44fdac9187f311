//! How an item ends the use of its worker process ([`retire`]).
//!
//! No further item begins then: the gate of the frame that runs is closed, as the parent would to
//! take its items back, and each later frame finds its gate closed (`cancel`). At the end of its
//! frame, after the item's answer, the worker reports it (`Record::Retire`). What the parent does
//! then, and after how many items it replaces a worker: `sched::retire`.
//!
//! Tests: `tests/process/retire.rs`, `src/process/sched/simulated.rs`.

use super::cancel::Canceller;
use crate::sys::fork::PerProcess;

/// The gates of this worker, which no forked child may close.
static OWN: PerProcess<Canceller> = PerProcess::new();

/// This process is a worker with these gates.
pub(super) fn prepare(gates: Canceller) {
    OWN.get_or_init(|| gates.clone());
}

/// Inside an item: this process must not be used again, for example because a library has reported
/// that its state is broken, or a device that its context is lost.
///
/// The item continues, and its result, its error or its panic arrives as usual. No other item runs
/// in its process, and when the pool learns of it, after the item, the next process is started at
/// once ([`replace_first`](crate::ProcessPoolBuilder::replace_first)). Items that it has been sent already, those
/// of the same frame too, are taken back and run elsewhere: none is lost, runs twice or is blamed.
///
/// It is not a death: it is counted in [`retired`](crate::ProcessStats::retired) (unless the worker
/// has run its number of items) and not in `died`,
/// and counts neither as an attempt of [`retry`](crate::ProcessCall::retry) nor for
/// [`max_restarts`](crate::ProcessPoolBuilder::max_restarts). The old process is dismissed like one
/// that has had its [number of items](crate::ProcessPoolBuilder::max_tasks_per_worker): its exit
/// handlers run, and it is killed if they take longer than a second. To leave them out, which a
/// broken library may deserve, [abort](std::process::abort) instead, at the cost of the item.
///
/// Any thread of the process may call it, and more than once. While no item runs, the worker
/// notices it when the next one comes, which then runs elsewhere.
///
/// - **An [`Actor`](crate::Actor):** its worker is replaced by one that loads the value anew, so
///   what earlier calls have changed in it is gone. Calls that wait run in the new one.
/// - **An [initializer](crate::ProcessPoolBuilder::initializer):** the pool fails, as after a panic
///   there: no worker would ever be of use.
/// - **A [`Process`](crate::Process):** has one item in any case.
/// - **Outside of a worker,** or in a process that an item has forked: nothing happens.
///
/// It costs a lock and one atomic operation, and afterwards a new process.
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// let pids = procs.map(0..3, |n| {
///     if n == 1 {
///         trefoil::process::retire(); // as if a library had just failed
///     }
///     std::process::id()
/// })?;
/// assert!(pids[0] == pids[1] && pids[1] != pids[2]);
/// assert_eq!((procs.stats().retired, procs.stats().died), (1, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn retire() {
    if let Some(gates) = OWN.get() {
        gates.close_for_good();
    }
}
