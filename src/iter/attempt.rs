//! Types for a failure: `Option`, `Result` and `ControlFlow`, for the methods whose names begin
//! with `try`.
//!
//! Std's own trait for that is not stable.
//!
//! Tests: `tests/iter/ends.rs`.

use std::ops::ControlFlow;

use crate::thread::Seal;

/// `Option`, `Result` and `ControlFlow`: what a closure of
/// [`try_for_each`](super::ParallelIterator::try_for_each) and its kin returns, to go on with a
/// value or to stop.
///
/// It is sealed, and stands for the trait of std's of this name, which is not stable.
pub trait Try: Sized {
    /// The value to go on with.
    type Output;
    /// Goes on with `value`.
    #[doc(hidden)]
    fn from_output(output: Self::Output, _: Seal) -> Self;
    /// The value to go on with, or `self` if it stops.
    #[doc(hidden)]
    fn branch(self, _: Seal) -> Result<Self::Output, Self>;
}

impl<T> Try for Option<T> {
    type Output = T;
    fn from_output(output: T, _: Seal) -> Self {
        Some(output)
    }
    fn branch(self, _: Seal) -> Result<T, Self> {
        self.ok_or(None)
    }
}

impl<T, E> Try for Result<T, E> {
    type Output = T;
    fn from_output(output: T, _: Seal) -> Self {
        Ok(output)
    }
    fn branch(self, _: Seal) -> Result<T, Self> {
        self.map_err(Err)
    }
}

impl<B, C> Try for ControlFlow<B, C> {
    type Output = C;
    fn from_output(output: C, _: Seal) -> Self {
        Self::Continue(output)
    }
    fn branch(self, _: Seal) -> Result<C, Self> {
        match self {
            Self::Continue(output) => Ok(output),
            Self::Break(value) => Err(Self::Break(value)),
        }
    }
}
