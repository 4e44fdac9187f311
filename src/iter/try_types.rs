//! Types for a failure: `Option`, `Result` and `ControlFlow`, for the methods whose names begin
//! with `try`.
//!
//! The standard library's own trait for these is not stable.
//!
//! Tests: `tests/iter/ends.rs`.

use std::ops::ControlFlow;

use crate::thread::Seal;

/// `Option`, `Result` and `ControlFlow`: the result of a closure of
/// [`try_for_each`](super::ParallelIterator::try_for_each) and similar methods, which continues
/// with a value or stops.
///
/// It is sealed, and replaces the standard library's trait of this name, which is not stable.
pub trait Try: Sized {
    /// The value to continue with.
    type Output;
    /// Continues with `value`.
    #[doc(hidden)]
    fn from_output(output: Self::Output, _: Seal) -> Self;
    /// The value to continue with, or `self` if it stops.
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
