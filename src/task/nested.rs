//! Nested callbacks without a stack frame for each.
//!
//! **Job.** A callback that completes a promise runs the promise's callback, and so on: a long
//! chain of mapped tasks would recurse as deeply, and overflow the stack. The same holds for a
//! cancellation that is passed on from task to task.
//!
//! **Protocol.** 1. [`run`] counts the nested calls of this thread. 2. A few are nested
//! directly. 3. Deeper ones are put in a queue of this thread, which the innermost nested call
//! empties before it returns. So all of them have been made when the first returns, and an outer
//! call that takes for ever (it runs a loop, say) delays none.
//!
//! Rejected: always using the queue. The effects of a callback would then happen after it has
//! returned, later than its author expects.
//!
//! Tests: `tests/task/reentrancy.rs` (chains of a hundred thousand).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::helper::contain;
use crate::loom::per_thread;

/// This many calls are nested: they need little stack on any thread.
const DEEPEST: u32 = 16;

per_thread! {
    static DEPTH: Cell<u32> = Cell::new(0);
}

per_thread! {
    static LATER: RefCell<VecDeque<Box<dyn FnOnce()>>> = RefCell::new(VecDeque::new());
}

/// Calls `f`, now or before the innermost of the nested calls on this thread returns. A panic in it
/// is contained.
pub(super) fn run(f: impl FnOnce() + 'static) {
    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    if depth >= DEEPEST {
        // The innermost nested call is under way, so this thread's queue is there.
        // (Else the thread is ending.)
        let mut f: Option<Box<dyn FnOnce()>> = Some(Box::new(f));
        let _ = LATER.try_with(|later| later.borrow_mut().extend(f.take()));
        if let Some(f) = f {
            contain(f);
        }
        return;
    }
    let _ = DEPTH.try_with(|here| here.set(depth + 1));
    contain(f);
    if depth + 1 == DEEPEST {
        while let Some(next) = next() {
            contain(next);
        }
    }
    let _ = DEPTH.try_with(|here| here.set(depth));
}

fn next() -> Option<Box<dyn FnOnce()>> {
    LATER
        .try_with(|later| later.borrow_mut().pop_front())
        .unwrap_or(None)
}
