//! Values that each process has for itself. This system has no `fork`, so a value never comes from
//! a parent.

use std::sync::OnceLock;

/// The number of forks between the first process that asked and this one: none here.
#[inline]
pub fn generation() -> u32 {
    0
}

/// Makes [`generation`] count forks: there is nothing to count.
pub fn register_handler() {}

/// Makes each forked child call `handler`: there are none.
pub fn in_child(_handler: extern "C" fn()) {}

/// A value that each process makes once for itself.
#[derive(Debug)]
pub struct PerProcess<T>(OnceLock<T>);

impl<T> PerProcess<T> {
    /// A value that is not made yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value of this process, if it was made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value of this process. If it was not made yet, one thread makes it now.
    #[inline]
    pub fn get_or_init(&self, make: impl FnMut() -> T) -> &T {
        self.0.get_or_init(make)
    }

    /// This process's own value: there is no parent.
    #[inline]
    pub fn inherited(&self) -> Option<&T> {
        self.0.get()
    }

    /// This process's own value, made if there is none: there is no parent.
    #[inline]
    pub fn inherit_or_init(&self, make: impl FnMut() -> T) -> &T {
        self.0.get_or_init(make)
    }
}
