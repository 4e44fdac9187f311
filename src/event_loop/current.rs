//! The loop that runs on this thread now.
//!
//! One cell for each thread holds the running loop's [`Local`], from the first
//! poll of `block_on` to its end, and while a loop closes. A caller gets a
//! clone, or passes a few lines to run: nothing is borrowed while user code runs.
//!
//! The cell has no destructor, so a loop may also run in the destructor of another thread-local,
//! whichever of the two was made first. The guard of [`enter`] restores the previous value, which
//! is nothing at the end of the thread.
//!
//! Checked by `tests/event_loop/` (nested loops) and `tests/io/moved.rs` (futures carried to other
//! threads).

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

use super::local::Local;
use super::shared::Shared;
use crate::alarm::{self, Clock};
use crate::sync::marker;
use crate::task::awaited;
use crate::task::context::{RefuseGuard, refuse_blocking};

thread_local! {
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Local>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The loop that runs on this thread, if one does.
#[inline]
pub(crate) fn local() -> Option<Rc<Local>> {
    CURRENT.with(|current| (**current.borrow()).clone())
}

/// The loop that runs on this thread, if it is this one.
#[inline]
pub(super) fn local_of(shared: &Shared) -> Option<Rc<Local>> {
    CURRENT.with(|current| {
        let current = current.borrow();
        let local = current.as_ref()?;
        std::ptr::eq(&raw const *local.shared, shared).then(|| local.clone())
    })
}

/// Calls `f` with the loop that runs on this thread, if one does. For frequent calls: nothing is
/// cloned, so `f` must run no user code, and must not enter or leave a loop.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    CURRENT.with(|current| current.borrow().as_deref().map(f))
}

/// While the guard lives, `local` is this thread's loop and timekeeper, and the thread must not
/// block.
pub(super) fn enter(local: &Rc<Local>) -> Entered {
    Entered {
        before: replace(Some(local.clone())),
        clock: alarm::replace_clock(local.shared.clock().cloned()),
        keeps_all: awaited::keep_all(local.outside().is_some()),
        keeper: alarm::replace_keeper(Some(local.shared.clone())),
        _no_blocking: refuse_blocking(),
        mark: marker::replace_loop(local.shared.identity()),
    }
}

fn replace(local: Option<Rc<Local>>) -> Option<Rc<Local>> {
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(local)));
    ManuallyDrop::into_inner(before)
}

/// Restores the previous state.
#[must_use]
pub(super) struct Entered {
    before: Option<Rc<Local>>,
    /// The previous clock, and whether awaited tasks were recorded.
    clock: Option<Arc<Clock>>,
    keeps_all: bool,
    keeper: alarm::Keeper,
    _no_blocking: RefuseGuard,
    mark: *const (),
}

impl Drop for Entered {
    fn drop(&mut self) {
        marker::replace_loop(self.mark);
        drop(replace(self.before.take()));
        drop(alarm::replace_clock(self.clock.take()));
        awaited::keep_all(self.keeps_all);
        drop(alarm::replace_keeper(self.keeper.take()));
    }
}
