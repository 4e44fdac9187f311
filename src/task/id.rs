//! Names for tasks: a number that no other task of this process has.
//!
//! Ids are handed out from blocks that each thread takes from one counter, so
//! that spawning touches no shared cache line. They are therefore unique, but
//! not ordered between threads.

use std::fmt;
use std::num::NonZeroU64;

use super::context;

/// Identifies a task for as long as the process lives.
///
/// ```
/// let a = trefoil::Task::ready(1);
/// let b = trefoil::Task::ready(2);
/// assert_ne!(a.id(), b.id());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The next id of this thread's block. Cost: about a nanosecond.
    #[inline]
    pub(crate) fn next() -> Self {
        Self(context::next_id())
    }

    /// The id with this number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The bare number, for messages between processes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
