//! Drives one future on the thread that waits for it.
//!
//! The blocking halves of the combinators are this around their async halves.
//! Nothing else runs meanwhile: it is a wait, not an executor.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::park::{self, Waited};

/// Runs `future` to its end, parking between polls. `None`: this thread must not
/// block and the future was not ready at once.
#[allow(dead_code)]
pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    block_on_until(None, future).ok()
}

/// As [`block_on`], but gives up at the deadline.
pub(crate) fn block_on_until<F: Future>(
    deadline: Option<Instant>,
    future: F,
) -> Result<F::Output, Waited> {
    let mut future = pin!(future);
    let mut output = None;
    let waited = park::wait(deadline, |waker| {
        match future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(value) => {
                output = Some(value);
                true
            }
            Poll::Pending => false,
        }
    });
    output.ok_or(waited)
}
