//! Which loop runs on this thread now: there is one at most.
//!
//! One cell for each thread holds the running loop's [`Local`], from the first poll of `block_on`
//! to its end, and while a loop closes. A caller gets a clone, or passes a few lines to run:
//! nothing is borrowed while user code runs.
//!
//! The cell has no destructor, so a loop may also run in the destructor of another thread-local,
//! whichever of the two was made first. The guard of [`enter`] restores the previous value. At the
//! end of the thread that is "no loop".
//!
//! A second cell has the loop of a handle that the thread has entered. That loop runs elsewhere, so
//! it is a default for `LoopHandle::current`, and nothing else.
//!
//! Tests: `tests/event_loop/running.rs::{a_loop_within_a_loop_ends_without_harm,
//! a_loop_runs_in_the_destructor_of_a_thread_local}`, `tests/io/moved.rs`.

use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
use std::rc::Rc;
use std::sync::Arc;

use super::local::Local;
use super::shared::SharedLoop;
use crate::parking::marker;
use crate::task::context::{RefuseGuard, blocking_refused, refuse_blocking};
use crate::timer;

thread_local! {
    static HERE: RefCell<ManuallyDrop<CurrentLoops>> = const {
        RefCell::new(ManuallyDrop::new(CurrentLoops { running: None, entered: None }))
    };
}

/// The loops of a thread.
#[derive(Default)]
struct CurrentLoops {
    running: Option<Rc<Local>>,
    entered: Entered,
}

/// The loop of the handle that was entered last, unless a loop has begun to run here since.
pub(super) type Entered = Option<Arc<SharedLoop>>;

pub(super) fn entered() -> Entered {
    HERE.with(|here| here.borrow().entered.clone())
}

/// Sets which handle's loop was entered; returns the previous one.
pub(super) fn replace_entered(shared: Entered) -> Entered {
    HERE.with(|here| mem::replace(&mut here.borrow_mut().entered, shared))
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
    HERE.with(|here| here.borrow().running.clone())
}

/// The loop that runs on this thread, if it is the loop of `shared`.
#[inline]
pub(super) fn local_of(shared: &SharedLoop) -> Option<Rc<Local>> {
    HERE.with(|here| {
        let here = here.borrow();
        let local = here.running.as_ref()?;
        std::ptr::eq(&raw const *local.shared, shared).then(|| local.clone())
    })
}

/// Calls `f` with the loop that runs on this thread, if one does. For frequent calls: nothing is
/// cloned, so `f` must run no user code, and must not enter or leave a loop.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    HERE.with(|here| here.borrow().running.as_deref().map(f))
}

/// Makes `local` this thread's loop and timekeeper, on which the thread must not block, until the
/// guard is dropped.
pub(super) fn enter(local: &Rc<Local>) -> EnteredLoop {
    let here = CurrentLoops {
        running: Some(local.clone()),
        entered: None,
    };
    EnteredLoop {
        before: replace(here),
        keeper: timer::replace_keeper(Some(local.shared.clone())),
        _no_blocking: refuse_blocking(),
        mark: marker::replace_loop(local.shared.identity()),
    }
}

fn replace(here: CurrentLoops) -> CurrentLoops {
    let before = HERE.with(|now| now.replace(ManuallyDrop::new(here)));
    ManuallyDrop::into_inner(before)
}

/// Restores the previous loop when it is dropped.
#[must_use]
pub(super) struct EnteredLoop {
    before: CurrentLoops,
    keeper: timer::Keeper,
    _no_blocking: RefuseGuard,
    mark: *const (),
}

impl Drop for EnteredLoop {
    fn drop(&mut self) {
        marker::replace_loop(self.mark);
        drop(replace(mem::take(&mut self.before)));
        drop(timer::replace_keeper(self.keeper.take()));
    }
}
