//! When a value gets an allocation of its own at the call that takes it.
//!
//! Each function that a value is passed through by value may copy it to its own frame, and without
//! optimisation each does. So a public function that takes a closure or a future moves a large one
//! into a box first, and passes that on, as a trait object: the function then calls itself once.
//!
//! The output of a task is boxed where its code has returned it, if it is large: the cell stores
//! the box, and the function that gives the value to the user takes it out (`task/raw/boxed.rs`).
//!
//! Small values, nearly all there are, keep the direct way, without an allocation.
//!
//! Tests: `tests/large_values.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Larger values are boxed. From about this size on, a copy takes as long as an allocation.
const LARGE: usize = 4 << 10;

/// Whether values of this type are boxed.
pub(crate) const fn is_large<T>() -> bool {
    size_of::<T>() > LARGE
}

/// A large closure.
pub(crate) type BoxedCall<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// A large future.
pub(crate) type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A large future that stays on its thread.
pub(crate) type LocalBoxedFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A value, out of the box in which a task has stored it.
pub(crate) fn unboxed<T, E>(stored: Result<Box<T>, E>) -> Result<T, E> {
    match stored {
        Ok(value) => Ok(*value),
        Err(error) => Err(error),
    }
}

pin_project! {
    /// A future whose output is large.
    pub(crate) struct BoxedOutput<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<F: Future> Future for BoxedOutput<F> {
    type Output = Box<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Box::new(output)),
            Poll::Pending => Poll::Pending,
        }
    }
}
