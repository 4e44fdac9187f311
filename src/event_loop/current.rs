//! The loop that runs on this thread now.
//!
//! One cell for each thread holds the running loop's [`Local`], from the first
//! poll of `block_on` to its end, and while a loop closes. A caller gets a
//! clone, or passes a few lines to run: nothing is borrowed while user code runs.
//!
//! The cell has no destructor, so a loop may also run in the destructor of another thread-local,
//! whichever of the two was made first. The guard of [`enter`] restores the previous value. At the
//! end of the thread that is "no loop".
//!
//! A second cell has the loop of a handle that the thread has entered. That one runs elsewhere, so
//! it is a default for `LoopHandle::current`, and nothing else.
//!
//! Checked by `tests/event_loop/` (nested loops) and `tests/io/moved.rs` (futures carried to other
//! threads).

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

use super::local::Local;
use super::shared::SharedLoop;
use crate::sync::marker;
use crate::task::awaited;
use crate::task::context::{RefuseGuard, blocking_refused, refuse_blocking};
use crate::timer;
use crate::timer::Clock;

thread_local! {
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Local>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

thread_local! {
    static ENTERED: RefCell<ManuallyDrop<Entered>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The loop of the handle that was entered last, unless a loop has begun to run here since.
pub(super) type Entered = Option<Arc<SharedLoop>>;

pub(super) fn entered() -> Entered {
    ENTERED.with(|entered| (**entered.borrow()).clone())
}

/// Sets which handle's loop was entered; returns the previous one.
pub(super) fn replace_entered(shared: Entered) -> Entered {
    let before = ENTERED.with(|entered| entered.replace(ManuallyDrop::new(shared)));
    ManuallyDrop::into_inner(before)
}

/// Panics if this thread must not block.
#[track_caller]
pub(super) fn refuse_nesting(what: &str) {
    assert!(
        !blocking_refused(),
        "{what} was called on a thread that must not block, because an event loop (or a process pool's driver) \
         runs on it: .await the future here, or call {what} on a thread of its own"
    );
}

/// The loop that runs on this thread, if one does.
#[inline]
pub(crate) fn local() -> Option<Rc<Local>> {
    CURRENT.with(|current| (**current.borrow()).clone())
}

/// The loop that runs on this thread, if it is the loop of `shared`.
#[inline]
pub(super) fn local_of(shared: &SharedLoop) -> Option<Rc<Local>> {
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

/// Makes `local` this thread's loop and timekeeper, on which the thread must not block, until the
/// guard is dropped.
pub(super) fn enter(local: &Rc<Local>) -> EnteredLoop {
    EnteredLoop {
        before: replace(Some(local.clone())),
        entered: replace_entered(None),
        clock: timer::replace_clock(local.shared.clock().cloned()),
        keeps_all: awaited::keep_all(local.outside().is_some()),
        keeper: timer::replace_keeper(Some(local.shared.clone())),
        _no_blocking: refuse_blocking(),
        mark: marker::replace_loop(local.shared.identity()),
    }
}

fn replace(local: Option<Rc<Local>>) -> Option<Rc<Local>> {
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(local)));
    ManuallyDrop::into_inner(before)
}

/// Restores the previous loop when it is dropped.
#[must_use]
pub(super) struct EnteredLoop {
    before: Option<Rc<Local>>,
    entered: Entered,
    /// The previous clock, and whether awaited tasks were recorded.
    clock: Option<Arc<Clock>>,
    keeps_all: bool,
    keeper: timer::Keeper,
    _no_blocking: RefuseGuard,
    mark: *const (),
}

impl Drop for EnteredLoop {
    fn drop(&mut self) {
        marker::replace_loop(self.mark);
        drop(replace(self.before.take()));
        drop(replace_entered(self.entered.take()));
        drop(timer::replace_clock(self.clock.take()));
        awaited::keep_all(self.keeps_all);
        drop(timer::replace_keeper(self.keeper.take()));
    }
}
