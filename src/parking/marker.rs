//! What runs on this thread (marks of the task, the loop and the wait), and whether it may block.
//!
//! `task` sets the mark of the task whose code this thread runs, an event loop sets its own, and a
//! blocking wait (`park`) that of its waker. Lower modules must not know what a mark means, only
//! whether two are equal. Null means none. A task's mark is also the data of its waker, and a
//! loop's is that of its root future's waker, unless that is one whose clones are counted.

use std::cell::Cell;
use std::ptr;

use crate::loom::per_thread;

/// What has a mark: its address. Null: nothing.
pub(crate) type Mark = *const ();

struct ThreadMarks {
    task: Cell<Mark>,
    runs_loop: Cell<Mark>,
    /// The data of the counted waker of the loop's root future.
    #[cfg(feature = "inspect")]
    root: Cell<Mark>,
    wait: Cell<Mark>,
    #[cfg(feature = "inspect")]
    sole: Cell<Mark>,
    /// How many guards forbid this thread to block.
    refusals: Cell<u32>,
    /// How many event loops belong to this thread.
    loops: Cell<u32>,
}

per_thread! {
    static HERE: ThreadMarks = ThreadMarks {
        task: Cell::new(ptr::null()),
        runs_loop: Cell::new(ptr::null()),
        #[cfg(feature = "inspect")]
        root: Cell::new(ptr::null()),
        wait: Cell::new(ptr::null()),
        #[cfg(feature = "inspect")]
        sole: Cell::new(ptr::null()),
        refusals: Cell::new(0),
        loops: Cell::new(0),
    };
}

/// One of the marks.
type Which = fn(&ThreadMarks) -> &Cell<Mark>;

#[inline]
fn get(which: Which) -> Mark {
    HERE.try_with(|here| which(here).get())
        .unwrap_or(ptr::null())
}

/// Sets this mark; returns the previous one.
#[inline]
fn replace_in(which: Which, mark: Mark) -> Mark {
    HERE.try_with(|here| which(here).replace(mark))
        .unwrap_or(ptr::null())
}

/// The mark of the loop that runs here.
#[inline]
pub(crate) fn current_loop() -> Mark {
    get(|here| &here.runs_loop)
}

/// Sets the mark of the loop; returns the previous one.
#[inline]
pub(crate) fn replace_loop(mark: Mark) -> Mark {
    replace_in(|here| &here.runs_loop, mark)
}

/// The mark of the task that runs here.
#[inline]
pub(crate) fn current() -> Mark {
    get(|here| &here.task)
}

/// Sets the mark of the task; returns the previous one.
#[inline]
pub(crate) fn replace(mark: Mark) -> Mark {
    replace_in(|here| &here.task, mark)
}

/// Sets the data of the counted waker of the root future; returns the previous one.
#[cfg(feature = "inspect")]
pub(crate) fn replace_root(mark: Mark) -> Mark {
    replace_in(|here| &here.root, mark)
}

/// The data of the waker of the code that runs here: of its task, or of the loop's root future.
pub(crate) fn waker() -> Mark {
    let task = current();
    if !task.is_null() {
        return task;
    }
    #[cfg(feature = "inspect")]
    if let root = get(|here| &here.root)
        && !root.is_null()
    {
        return root;
    }
    current_loop()
}

/// The mark of the innermost wait that this thread is inside.
pub(crate) fn wait() -> Mark {
    get(|here| &here.wait)
}

/// Sets the mark of the wait; returns the previous one.
pub(crate) fn replace_wait(mark: Mark) -> Mark {
    replace_in(|here| &here.wait, mark)
}

/// The mark of the innermost wait of this thread that is for one future alone, without a deadline.
#[cfg(feature = "inspect")]
pub(crate) fn sole_wait() -> Mark {
    get(|here| &here.sole)
}

/// Sets that mark; returns the previous one.
#[cfg(feature = "inspect")]
pub(crate) fn replace_sole_wait(mark: Mark) -> Mark {
    replace_in(|here| &here.sole, mark)
}

/// While it exists, blocking waits on this thread are refused.
#[must_use]
#[derive(Debug)]
pub(crate) struct RefuseGuard(std::marker::PhantomData<Mark>);

/// Forbids this thread to block until the guard is dropped.
pub(crate) fn refuse_blocking() -> RefuseGuard {
    HERE.with(|here| here.refusals.update(|count| count + 1));
    RefuseGuard(std::marker::PhantomData)
}

/// Whether this thread must not block.
#[inline]
pub(crate) fn blocking_refused() -> bool {
    HERE.try_with(|here| here.refusals.get() > 0)
        .unwrap_or(false)
}

impl Drop for RefuseGuard {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| here.refusals.update(|count| count - 1));
    }
}

/// Held by each event loop of this thread.
#[derive(Debug)]
pub(crate) struct OwnedLoop(std::marker::PhantomData<Mark>);

impl OwnedLoop {
    pub(crate) fn new() -> Self {
        HERE.with(|here| here.loops.update(|count| count + 1));
        Self(std::marker::PhantomData)
    }
}

/// Whether event loops belong to this thread, and none is running.
pub(crate) fn owns_idle_loop() -> bool {
    HERE.try_with(|here| here.loops.get() > 0 && here.refusals.get() == 0)
        .unwrap_or(false)
}

impl Drop for OwnedLoop {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| here.loops.update(|count| count - 1));
    }
}
