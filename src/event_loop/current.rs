//! The loop that runs on this thread now.
//!
//! One cell for each thread holds the running loop's [`Home`], from the first
//! poll of `block_on` to its end, and while a loop closes. A caller gets a
//! clone, or passes a few lines to run: nothing is borrowed while user code runs.
//!
//! The cell has no destructor, so a loop may also run in the destructor of another thread-local, whichever of the
//! two was made first. The guard of [`enter`] puts back what was there before: at the end of the thread that is nothing.
//!
//! Checked by `tests/event_loop/` (nested loops, futures carried to other
//! threads).

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

use super::home::Home;
use super::shared::Shared;
use crate::alarm::{self, Clock};
use crate::sync::marker;
use crate::task::awaited;
use crate::task::context::{RefuseGuard, refuse_blocking};

thread_local! {
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Home>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The loop that runs on this thread, if one does.
#[inline]
pub(crate) fn home() -> Option<Rc<Home>> {
    CURRENT.with(|current| (**current.borrow()).clone())
}

/// The loop that runs on this thread, if it is this one.
#[inline]
pub(super) fn home_of(shared: &Shared) -> Option<Rc<Home>> {
    CURRENT.with(|current| {
        let current = current.borrow();
        let home = current.as_ref()?;
        std::ptr::eq(&raw const *home.shared, shared).then(|| home.clone())
    })
}

/// As [`with`], if it is this loop.
#[inline]
pub(super) fn with_this<R>(shared: &Shared, f: impl FnOnce(&Home) -> R) -> Option<R> {
    with(|home| std::ptr::eq(&raw const *home.shared, shared).then(|| f(home))).flatten()
}

/// Calls `f` with the loop that runs on this thread, if one does. For what is done often: nothing
/// is cloned, so `f` must run no user code, and enter and leave no loop.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Home) -> R) -> Option<R> {
    CURRENT.with(|current| current.borrow().as_deref().map(f))
}

/// Makes `home` this thread's loop, its timekeeper, and the reason why it must
/// not block, for as long as the guard lives.
pub(super) fn enter(home: &Rc<Home>) -> Entered {
    Entered {
        before: replace(Some(home.clone())),
        clock: alarm::replace_clock(home.shared.clock().cloned()),
        keeps_all: awaited::keep_all(home.outside.is_some()),
        _timekeeper: alarm::install(home.shared.clone()),
        _no_blocking: refuse_blocking(),
        mark: marker::replace_loop(home.shared.mark_of_thread()),
    }
}

fn replace(home: Option<Rc<Home>>) -> Option<Rc<Home>> {
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(home)));
    ManuallyDrop::into_inner(before)
}

/// Puts back what was there before.
#[must_use]
pub(super) struct Entered {
    before: Option<Rc<Home>>,
    /// The time before, and whether awaited tasks were kept.
    clock: Option<Arc<Clock>>,
    keeps_all: bool,
    _timekeeper: alarm::Installed,
    _no_blocking: RefuseGuard,
    mark: *const (),
}

impl Drop for Entered {
    fn drop(&mut self) {
        marker::replace_loop(self.mark);
        drop(replace(self.before.take()));
        drop(alarm::replace_clock(self.clock.take()));
        awaited::keep_all(self.keeps_all);
    }
}
