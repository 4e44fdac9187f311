//! How many workers a pool has: a number, or bounds.
//!
//! Tests: `tests/process/width.rs`.

use std::ops::RangeInclusive;

mod sealed {
    /// No other types are ranges of workers.
    pub trait Sealed {}
}

/// How many workers a pool has: a number, or from how many to how many (`2..=8`). For
/// [`workers`](crate::ProcessPoolBuilder::workers) and
/// [`set_workers`](crate::ProcessPool::set_workers).
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let fixed = ProcessPool::builder().workers(2).build()?;
/// let breathing = ProcessPool::builder().workers(1..=4).build()?;
/// assert_eq!((fixed.num_workers(), breathing.num_workers()), (2, 4));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait WorkerRange: sealed::Sealed {
    /// The least and the most.
    #[doc(hidden)]
    fn bounds(self) -> (usize, usize);
}

impl sealed::Sealed for usize {}

impl WorkerRange for usize {
    fn bounds(self) -> (usize, usize) {
        (self, self)
    }
}

impl sealed::Sealed for RangeInclusive<usize> {}

impl WorkerRange for RangeInclusive<usize> {
    fn bounds(self) -> (usize, usize) {
        self.into_inner()
    }
}
