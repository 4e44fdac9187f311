//! The only source of atomics, cells, locks and threads for this crate.
//!
//! Every protocol of this crate takes its shared-memory primitives from here, never from `std`
//! directly (`clippy.toml` forbids it). In a normal build the names below are the standard
//! library's and `crossbeam`'s (the locks without poisoning, since no user code runs under them);
//! under `--cfg loom` they are [loom](https://docs.rs/loom)'s, and the models in
//! `checks/tests/models.rs` then explore the interleavings of the same code.
//!
//! The two versions differ only in what loom cannot express: time. A timed wait under loom yields
//! once and then reports that its time is up, so that a model sees both outcomes of every race with
//! a deadline.
//!
//! Statics that live as long as the process (`OnceLock`, id blocks) are not part of any protocol's
//! model and come from `std` in both builds.
#![allow(dead_code, unused_imports)] // each version has all names; not every build uses all of them

#[cfg(loom)]
pub(crate) use mocked::*;
#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(not(loom))]
mod real {
    use std::sync::{PoisonError, TryLockError};
    use std::time::Instant;

    pub(crate) use crossbeam_utils::sync::{Parker, Unparker};
    pub(crate) use std::sync::{Arc, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    pub(crate) mod thread {
        pub(crate) use std::thread::{Builder, JoinHandle, ThreadId, current, yield_now};

        /// Which thread this is.
        pub(crate) fn this() -> ThreadId {
            current().id()
        }
    }

    pub(crate) mod hint {
        pub(crate) use std::hint::spin_loop;
    }

    /// The standard mutex, without poisoning.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        #[inline]
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Takes the lock if it is free now.
        #[inline]
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// The standard condition variable, in loom's shape: the guard goes in and
    /// comes back.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(std::sync::Condvar);

    impl Condvar {
        pub(crate) const fn new() -> Self {
            Self(std::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// The `bool` is true if the time is up.
        pub(crate) fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            let left = deadline.saturating_duration_since(Instant::now());
            let (guard, waited) = self
                .0
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner);
            (guard, waited.timed_out())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// `std`'s cell with loom's closure-based access.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        #[inline(always)]
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Shared access: the pointer is valid for reads while `f` runs, if the
        /// caller's protocol rules out a writer.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get().cast_const())
        }

        /// Exclusive access: the pointer is valid for writes while `f` runs, if
        /// the caller's protocol rules out all other accesses.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod mocked {
    use std::time::{Duration, Instant};

    pub(crate) use ::loom::cell::UnsafeCell;
    pub(crate) use ::loom::sync::MutexGuard;
    pub(crate) use std::sync::Arc;

    pub(crate) mod atomic {
        pub(crate) use ::loom::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    pub(crate) mod thread {
        pub(crate) use ::loom::thread::ThreadId;
        pub(crate) use ::loom::thread::yield_now;
        pub(crate) use std::thread::{Builder, JoinHandle, current};

        /// Which thread this is.
        pub(crate) fn this() -> ThreadId {
            ::loom::thread::current().id()
        }
    }

    pub(crate) mod hint {
        pub(crate) use ::loom::hint::spin_loop;
    }

    /// loom's mutex, without poisoning.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(::loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(::loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner().unwrap()
        }
    }

    /// loom's condition variable; a timed wait times out after one yield.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(::loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(::loom::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap()
        }

        pub(crate) fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            (guard, true)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// `crossbeam`'s parker, from a mutex and a condition variable.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

    #[derive(Debug, Default)]
    pub(crate) struct Parker(Unparker);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn unparker(&self) -> &Unparker {
            &self.0
        }

        pub(crate) fn park(&self) {
            let (token, condvar) = &*self.0.0;
            let mut guard = token.lock();
            while !*guard {
                guard = condvar.wait(guard);
            }
            *guard = false;
        }

        pub(crate) fn park_timeout(&self, _timeout: Duration) {
            ::loom::thread::yield_now();
            *self.0.0.0.lock() = false;
        }

        pub(crate) fn park_deadline(&self, _deadline: Instant) {
            self.park_timeout(Duration::ZERO);
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            let (token, condvar) = &*self.0;
            *token.lock() = true;
            condvar.notify_one();
        }
    }
}

/// A thread-local: loom's under loom, whose threads all run on one real thread; otherwise the
/// standard library's, const-initialised and cheap.
macro_rules! per_thread {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $init:expr;) => {
        #[cfg(not(loom))]
        std::thread_local! {
            $(#[$meta])* static $name: $type = const { $init };
        }
        #[cfg(loom)]
        ::loom::thread_local! {
            $(#[$meta])* static $name: $type = $init;
        }
    };
}
pub(crate) use per_thread;
