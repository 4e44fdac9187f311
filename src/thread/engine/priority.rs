//! How urgent a piece of work is, compared with the rest of its pool's.
//!
//! **Job.** The public names, and the priority of what runs on this thread: a handle with a
//! priority sets it for a call, a worker for what it runs. Whatever is queued on the thread
//! meanwhile inherits it. How more urgent work goes first is in `give_way.rs`.
//!
//! Tests: `tests/thread/priorities.rs`.

use std::cell::Cell;

use crate::loom::per_thread;

/// How urgent the work of a handle is: see
/// [`ThreadPool::handle_with`](crate::ThreadPool::handle_with).
///
/// ```
/// use trefoil::Priority;
///
/// assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
/// assert_eq!(Priority::default(), Priority::Normal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Runs where nothing else is to be done.
    Low,
    /// That of a pool's first handle.
    #[default]
    Normal,
    /// Goes before everything else.
    High,
}

impl Priority {
    /// From the most urgent on.
    pub(in crate::thread) const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The one with this number.
    pub(in crate::thread) fn numbered(number: u32) -> Self {
        match number {
            0 => Self::Low,
            1 => Self::Normal,
            _ => Self::High,
        }
    }
}

per_thread! {
    static CURRENT: Cell<Priority> = Cell::new(Priority::Normal);
}

/// The priority of what runs on this thread.
pub(in crate::thread) fn current() -> Priority {
    CURRENT.try_with(Cell::get).unwrap_or_default()
}

/// What runs on this thread has another priority from now on; returns the one before.
pub(in crate::thread) fn set(priority: Priority) -> Priority {
    CURRENT
        .try_with(|current| current.replace(priority))
        .unwrap_or_default()
}

/// Restores the previous priority when it is dropped.
#[must_use]
pub(in crate::thread) struct Restore(Priority);

impl Drop for Restore {
    fn drop(&mut self) {
        set(self.0);
    }
}

/// What runs on this thread has this priority until the guard is dropped.
pub(in crate::thread) fn enter(priority: Priority) -> Restore {
    Restore(set(priority))
}
