//! The task that runs on this thread.
//!
//! A thread-local pointer to the running task's header. Who runs a task's code
//! holds an [`Entered`], which puts the task before back when it is dropped, also
//! while unwinding, because a waiter may run one task in the middle of another.
//!
//! - **T15** The pointer is null, or to a cell that the runner which entered it keeps
//!   alive (T6) until it leaves; it is read by this thread only, and never kept.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use super::{Header, Ref, Side};
use crate::loom::atomic::{Ordering, fence};
use crate::loom::per_thread;
use crate::task::TaskId;
use crate::task::cancel_token::CancelToken;

per_thread! {
    static CURRENT: Cell<*const Header> = Cell::new(ptr::null());
}

/// Marks a task as the one that runs here, until it is dropped.
pub(in crate::task) struct Entered<'a> {
    before: *const Header,
    _runner: PhantomData<&'a Ref>,
}

/// Enters `task`, whose runner the caller is.
#[inline]
pub(super) fn enter(task: &Ref) -> Entered<'_> {
    let entered: *const Header = task.0.as_ptr();
    let before = CURRENT
        .try_with(|current| current.replace(entered))
        .unwrap_or(ptr::null());
    Entered {
        before,
        _runner: PhantomData,
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.set(self.before));
    }
}

#[inline]
fn with<R>(f: impl FnOnce(&Header) -> R) -> Option<R> {
    let current = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: T15: null, or alive for as long as this call.
    unsafe { current.as_ref() }.map(f)
}

/// The id of the task that runs here.
#[inline]
pub(in crate::task) fn id() -> Option<TaskId> {
    with(|header| header.id)
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
