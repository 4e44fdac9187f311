//! How deep this thread's stack may become.
//!
//! **Job.** Code that recurses as deeply as received data demands asks here first, so that data
//! that nests too deeply is an error and not the end of the process. The system is asked once in
//! each thread; only for the program's first thread does that read a file. A thread that could run
//! the task it waits for asks whether half of its stack is left for it.
//!
//! On a stack that the system does not know (a coroutine's) the limit is unknown.
//!
//! - **Y98** The calls of `stack_end` are about the calling thread, which is alive. Attributes are
//!   read only if they were made, and destroyed once. All calls write to local variables.
//!   `getauxval` only reads.
//!
//! Tests: below; `tests/process/deep.rs`.

use std::cell::Cell;

use super::stack_end;
use crate::loom::per_thread;

/// How much of the stack is left for code that does not ask.
const RESERVE: usize = 256 << 10;

per_thread! {
    /// Where the stack begins and ends, if that is known; `None`: the system was not asked yet.
    static STACK: Cell<Option<(usize, usize)>> = Cell::new(None);
}

/// Roughly where the stack ends now: the address of a local variable.
#[inline(always)]
pub fn here() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}

/// The lowest address that recursion on this thread may reach. `None`: the system does not know
/// this stack.
#[cold]
pub fn floor() -> Option<usize> {
    let (low, high) = known()?;
    (low..high)
        .contains(&here())
        .then(|| low + RESERVE.min((high - low) / 4))
}

/// Whether this thread uses less than half of its stack (`false` on a stack that the program made).
#[inline]
pub fn is_half_left() -> bool {
    known().is_none_or(|(low, high)| (low + (high - low) / 2..high).contains(&here()))
}

#[inline]
fn known() -> Option<(usize, usize)> {
    let known = STACK.try_with(Cell::get).ok().flatten();
    known.or_else(|| {
        let bounds = mine();
        let _ = STACK.try_with(|stack| stack.set(bounds));
        bounds
    })
}

/// Where this thread's stack begins and ends.
fn mine() -> Option<(usize, usize)> {
    if cfg!(any(loom, miri)) {
        return None;
    }
    stack_end::bounds()
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::loom::thread::Builder;

    #[test]
    fn each_thread_knows_its_own() {
        for size in [256 << 10, 2 << 20] {
            let thread = Builder::new().stack_size(size).spawn(move || {
                let (here, floor) = (here(), floor().unwrap());
                // Up to four times as much, because the C library reuses the stacks of threads that
                // have ended.
                assert!(floor < here && here - floor < 4 * size, "{here} {floor}");
                assert!(here - floor > size / 2, "{here} {floor}");
                assert_eq!(super::floor(), Some(floor));
            });
            thread.unwrap().join().unwrap();
        }
    }
}
