//! Types for a failure: `Option`, `Result` and `ControlFlow`, for the methods whose names begin
//! with `try`.
//!
//! Std's own trait for that is not stable.
//!
//! Tests: `tests/iter/ends.rs`.

use std::ops::ControlFlow;

/// `Option`, `Result` or `ControlFlow`: either goes on with a value, or stops.
pub trait Try: Sized {
    /// The value to go on with.
    type Output;
    /// Goes on with `value`.
    fn from_output(output: Self::Output) -> Self;
    /// The value to go on with, or `self` if it stops.
    fn branch(self) -> Result<Self::Output, Self>;
}

impl<T> Try for Option<T> {
    type Output = T;
    fn from_output(output: T) -> Self {
        Some(output)
    }
    fn branch(self) -> Result<T, Self> {
        self.ok_or(None)
    }
}

impl<T, E> Try for Result<T, E> {
    type Output = T;
    fn from_output(output: T) -> Self {
        Ok(output)
    }
    fn branch(self) -> Result<T, Self> {
        self.map_err(Err)
    }
}

impl<B, C> Try for ControlFlow<B, C> {
    type Output = C;
    fn from_output(output: C) -> Self {
        Self::Continue(output)
    }
    fn branch(self) -> Result<C, Self> {
        match self {
            Self::Continue(output) => Ok(output),
            Self::Break(value) => Err(Self::Break(value)),
        }
    }
}
