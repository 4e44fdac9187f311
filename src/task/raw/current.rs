//! The task that runs on this thread.
//!
//! The strand's mark (`sync/strand.rs`) is a pointer to the running task's header. Who runs a task's code
//! holds an [`Entered`], which puts the task before back when it is dropped, also
//! while unwinding, because a waiter may run one task in the middle of another.
//! Beside it stands which future is *polled* here: that mark is never lent to another thread, so who
//! finds it is on the thread that polls.
//!
//! - **T15** The pointer is null, or to a cell that the runner which entered it keeps
//!   alive (T6) until it leaves, or which a task that waits for this thread keeps alive
//!   ([`inherit`]); it is read by this thread only, and never kept.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::{Header, Ref, Side};
use crate::loom::atomic::{Ordering, fence};
use crate::loom::per_thread;
use crate::sync::strand;
use crate::task::TaskId;
use crate::task::cancel_token::CancelToken;

/// Runs `f` as the code of `task`.
pub(in crate::task) fn run<R>(task: &Ref, f: impl FnOnce() -> R) -> R {
    // SAFETY: T15: it is dropped at the end of this call, as is what `f` enters, inside of it.
    let _entered = unsafe { enter(task) };
    f()
}

/// Marks a task as the one that runs here, until it is dropped.
pub(super) struct Entered<'a> {
    before: *const (),
    _runner: PhantomData<&'a Ref>,
}

/// Enters `task`, whose runner the caller is.
///
/// # Safety
/// T15: what is returned is dropped, not forgotten, and after all that were entered on this thread since.
#[inline]
pub(super) unsafe fn enter(task: &Ref) -> Entered<'_> {
    let before = strand::replace(task.0.as_ptr().cast_const().cast());
    Entered {
        before,
        _runner: PhantomData,
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        strand::replace(self.before);
    }
}

per_thread! {
    /// The future that is polled on this thread, if its executor takes it back when it has woken itself: the address of its
    /// header, which is only compared, never followed; with the lowest bit set once it has.
    static POLLING: Cell<usize> = Cell::new(0);
}

const WOKEN: usize = 1;
const _: () = assert!(align_of::<Header>() > WOKEN);

/// A poll that goes on, until it is dropped.
pub(super) struct Polled<'a> {
    before: usize,
    _runner: PhantomData<&'a Ref>,
}

/// `task` is polled now: if it wakes itself by reference, that is only noted here (T16).
#[inline]
pub(super) fn poll_begins(task: &Ref) -> Polled<'_> {
    Polled {
        before: replace_polling(task.address()),
        _runner: PhantomData,
    }
}

#[inline]
fn replace_polling(polling: usize) -> usize {
    POLLING.try_with(|now| now.replace(polling)).unwrap_or(0)
}

impl Polled<'_> {
    /// The poll is over. True: it has woken itself.
    #[inline]
    pub(super) fn woke_itself(self) -> bool {
        let polled = ManuallyDrop::new(self);
        replace_polling(polled.before) & WOKEN != 0
    }
}

impl Drop for Polled<'_> {
    #[inline]
    fn drop(&mut self) {
        replace_polling(self.before);
    }
}

/// The task at this address is woken. True: by itself, and its runner will see to it.
#[inline]
pub(super) fn wakes_itself(task: *const ()) -> bool {
    POLLING
        .try_with(|polling| {
            let itself = polling.get() & !WOKEN == task.addr();
            if itself {
                polling.set(task.addr() | WOKEN);
            }
            itself
        })
        .unwrap_or(false)
}

/// What runs on a thread, to be lent to another thread that does part of its work.
#[derive(Clone, Copy)]
pub(crate) struct Lineage(*const ());

// SAFETY: T15: it is only a mark, which says nothing by itself; `inherit` says under which conditions it is looked at.
unsafe impl Send for Lineage {}
// SAFETY: T15: as above; `&Lineage` gives a copy of the mark and no more.
unsafe impl Sync for Lineage {}

impl Lineage {
    /// What runs here.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(strand::current())
    }
}

/// As [`Entered`], for a lent mark.
#[must_use]
pub(crate) struct Inherited {
    before: *const (),
}

/// Marks the task that `lineage` came from as the one that runs here, too, until the
/// guard is dropped: so that a part of its work sees its token.
///
/// # Safety
/// The code that `lineage` was taken in waits, inside that task, until the guard has been
/// dropped (which keeps T15). It is dropped, not forgotten, and after all that were entered on this thread since.
#[inline]
pub(crate) unsafe fn inherit(lineage: Lineage) -> Inherited {
    Inherited {
        before: strand::replace(lineage.0),
    }
}

impl Drop for Inherited {
    #[inline]
    fn drop(&mut self) {
        strand::replace(self.before);
    }
}

#[inline]
fn with<R>(f: impl FnOnce(&Header) -> R) -> Option<R> {
    let current = strand::current().cast::<Header>();
    // SAFETY: T15: null, or the task of a runner that is further down on this thread's stack, or waits for it: alive for as long as
    // this call, and `f` can keep nothing of it.
    unsafe { current.as_ref() }.map(f)
}

/// `task` is the one that runs here.
pub(super) fn is(task: &Header) -> bool {
    strand::current().cast() == std::ptr::from_ref(task)
}

/// The id of the task that runs here.
#[inline]
pub(in crate::task) fn id() -> Option<TaskId> {
    with(|header| header.id)
}

/// Shows the name of the task that runs here, if it has one.
#[cfg(feature = "tracing")]
pub(in crate::task) fn with_name(f: impl FnOnce(&str)) {
    with(|header| header.name().map(f));
}

/// The token of the task that runs here, made on first use.
pub(in crate::task) fn token() -> Option<CancelToken> {
    with(|header| {
        let token = header
            .side
            .get_or_make()
            .token
            .get_or_init(CancelToken::new);
        // Pairs with the fence in `cancel_own_token`: either it sees the token,
        // or we see its mark.
        fence(Ordering::SeqCst);
        if header.state.is_cancelled() {
            token.cancel();
        }
        token.clone()
    })
}

/// The task was marked as cancelled: tells its token, if its code has asked for one.
pub(super) fn cancel_own_token(header: &Header) {
    fence(Ordering::SeqCst); // pairs with the fence in `token`
    if let Some(token) = header.side.get().and_then(|side: &Side| side.token.get()) {
        token.cancel();
    }
}
