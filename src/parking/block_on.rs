//! Drives one future on the thread that waits for it.
//!
//! The blocking forms of the combinators, and of what `sync` takes from other crates, wrap their
//! async forms in this. Nothing else runs meanwhile: it is a wait, not an executor. What such a
//! form says on a thread that must not block is here, too ([`refuse`]).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use super::lock_events::Sole;
use super::{marker, park};

/// Runs `future` to its end, parking between polls. Returns `None` if this thread must not block
/// and the future was not ready at once.
pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    drive(future, false)
}

/// Calls `poll` until it is ready, parking between calls. Returns `None` if this thread must not
/// block, or once `is_stuck`: all that is waited for can only run on an event loop of this thread.
pub(crate) fn block_on_tasks<S, R>(
    state: &mut S,
    poll: impl Fn(&mut S, &mut Context<'_>) -> Poll<R>,
    is_stuck: impl Fn(&S) -> bool,
) -> Option<R> {
    block_on(poll_fn(|cx| match poll(state, cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if marker::owns_idle_loop() && is_stuck(state) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }))
    .flatten()
}

/// `is_sole`: the future waits for one thing alone.
fn drive<F: Future>(future: F, is_sole: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut output = None;
    park::wait(None, |waker| {
        let mark = if is_sole {
            waker.data()
        } else {
            std::ptr::null()
        };
        let _sole = Sole::begin(mark);
        match future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(value) => {
                output = Some(value);
                true
            }
            Poll::Pending => false,
        }
    });
    output
}

/// Like [`block_on`] for a future that waits for one thing alone, and for calls that have no error
/// for it: panics if this thread must not block. `method` is the one that may be awaited here.
#[cold]
#[track_caller]
pub(crate) fn wait_for<F: Future>(future: F, method: &str) -> F::Output {
    match drive(future, true) {
        Some(output) => output,
        None => refuse_for(method),
    }
}

/// Panics where a thread must not block; `method` is the one to await.
#[cold]
#[track_caller]
pub(crate) fn refuse_for(method: &str) -> ! {
    refuse(&format!("{method}(..).await"))
}

/// Panics where a thread must not block, with what to write instead.
#[cold]
#[track_caller]
pub(crate) fn refuse(instead: &str) -> ! {
    panic!(
        "trefoil: this call would block a thread on which an event loop (or a process pool's \
         driver) runs, perhaps for ever: write `{instead}`, or move the call into \
         spawn_blocking(..)"
    )
}
