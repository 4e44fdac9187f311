//! How many workers a pool has: a number, or bounds.
//!
//! Tests: `tests/process/width.rs`.

use std::ops::RangeInclusive;

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
pub trait WorkerRange {
    /// The least and the most.
    #[doc(hidden)]
    fn bounds(self) -> (usize, usize);
}

impl WorkerRange for usize {
    fn bounds(self) -> (usize, usize) {
        (self, self)
    }
}

impl WorkerRange for RangeInclusive<usize> {
    fn bounds(self) -> (usize, usize) {
        self.into_inner()
    }
}
