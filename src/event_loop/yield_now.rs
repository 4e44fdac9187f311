//! `yield_now`: lets other tasks run.
//!
//! The future wakes its task and is pending once. On a loop of this crate the task goes to the back
//! of the queue and runs in the next turn, without a system call; on another executor this is a
//! wake-up like any other.

use std::future::{Future, poll_fn};
use std::mem;
use std::task::Poll;

/// Lets the ready tasks of its loop run before this task continues. (What another thread, a timer
/// or the system has made ready may run a turn later.)
///
/// For long computations inside a task; tasks that read, write and wait do not need it. Works on
/// any executor.
///
/// ```
/// let sum = trefoil::run(async {
///     let mut sum = 0_u64;
///     for n in 0..10_000 {
///         sum += n;
///         if n % 1_000 == 0 {
///             trefoil::yield_now().await;
///         }
///     }
///     sum
/// });
/// assert_eq!(sum, 49_995_000);
/// ```
pub fn yield_now() -> impl Future<Output = ()> {
    let mut has_yielded = false;
    poll_fn(move |cx| {
        if mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
