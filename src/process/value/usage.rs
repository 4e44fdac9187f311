//! What one item has used of its machine, measured in its worker.
//!
//! Tests: `tests/process/usage.rs`.

use std::time::{Duration, Instant};

use crate::process::host::activity::{forget_peak, peak_memory};
use crate::process::wire::fields;
use crate::sys::clock;

/// What an item has used, from the call of its function to its return. Returned by calls that are
/// [`measured`](crate::ProcessCall::measured).
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// let (sum, usage) = procs.call(|n: u64| (0..n).sum::<u64>()).measured().spawn(1000).join()?;
/// assert_eq!(sum, 499_500);
/// println!("{:?} of a processor in {:?}", usage.cpu_time(), usage.wall());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    wall: Duration,
    cpu_time: Duration,
    peak_memory: Option<u64>,
}

impl Usage {
    /// How long the function ran, by the clock.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// The processor time of the worker process meanwhile, in user and in kernel mode, of all its
    /// threads: so it may be longer than [`wall`](Self::wall). The time of child processes counts
    /// once they have been waited for. (On Windows it is zero: not known.)
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.cpu_time
    }

    /// The most resident memory that the worker process had meanwhile, in bytes: also what it had
    /// before, the program itself and what earlier items have left. Memory of child processes does
    /// not count. `None` where the system does not say it: elsewhere than on Linux, and without
    /// `/proc`.
    ///
    /// Where the kernel does not let a process reset that number (`/proc/self/clear_refs`, as in
    /// some containers), it is the most since the worker was started.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        self.peak_memory
    }
}

/// Calls `function`, and measures it.
pub(crate) fn measured<R>(function: impl FnOnce() -> R) -> (R, Usage) {
    let cpu_time = || clock::of_process() + clock::of_children();
    forget_peak();
    let (begin, before) = (Instant::now(), cpu_time());
    let value = function();
    let usage = Usage {
        wall: begin.elapsed(),
        cpu_time: cpu_time().saturating_sub(before),
        peak_memory: peak_memory("self"),
    };
    (value, usage)
}

fields! {
    Usage { wall, cpu_time, peak_memory }
}
