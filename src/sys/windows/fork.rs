//! What each process has for itself. There is no `fork` here: every process is its own first one.

use std::sync::OnceLock;

/// How many forks lie between the first process that looked and this one.
#[inline]
pub(crate) fn generation() -> u32 {
    0
}

/// From now on [`generation`] would tell a child from its parent.
pub(crate) fn watch() {}

/// Would have `handler` called in each child.
pub(crate) fn in_child(_handler: extern "C" fn()) {}

/// What a process has once.
pub(crate) struct PerProcess<T>(OnceLock<T>);

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// This process's, if it is made.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// This process's; made now, by one thread, if it is not.
    #[inline]
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}
