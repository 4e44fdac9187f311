//! Drives one future on the thread that waits for it.
//!
//! The blocking forms of the combinators wrap their async forms in this. Nothing else runs
//! meanwhile: it is a wait, not an executor.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use super::park;

/// Runs `future` to its end, parking between polls. Returns `None` if this thread must not block
/// and the future was not ready at once.
pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    run(future, false)
}

/// Runs `future` to its end, also on a thread that should not block.
#[cfg(not(loom))]
pub(super) fn block_on_anyway<F: Future>(future: F) -> F::Output {
    run(future, true).expect("no wait was refused")
}

fn run<F: Future>(future: F, anyway: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut output = None;
    park::wait_if(anyway, None, |waker| {
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
