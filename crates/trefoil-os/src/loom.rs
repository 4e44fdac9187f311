//! The only source of atomics, cells, locks and threads for this crate.
//!
//! Every protocol of this crate takes its shared-memory primitives from here, never from `std`
//! directly (`.clippy.toml` forbids it). In a normal build the names below are the standard
//! library's and `crossbeam`'s (the locks without poisoning, since no user code runs under them);
//! under `--cfg loom` they are [loom](https://docs.rs/loom)'s, and the models in
//! `tests/trefoil-checks/tests/models.rs` then explore the interleavings of the same code.
//!
//! The two versions differ only in what loom cannot express: time. A timed wait under loom yields
//! once and then reports that its time is up, so that a model sees both outcomes of every race with
//! a deadline.
//!
//! Under `--cfg simulated` the first version's atomics, locks and hints are those of
//! `benches/simulated`, which runs the same code on virtual processors. That package is no
//! dependency of this one: `benches/simulated.sh` adds it to a copy of the manifest.
//!
//! Statics that live as long as the process (`OnceLock`, id blocks) are not part of any protocol's
//! model and come from `std` in both builds.

#[cfg(loom)]
pub use mocked::*;
#[cfg(not(loom))]
pub use real::*;

#[cfg(not(loom))]
mod real {
    use std::time::Instant;

    #[cfg(simulated)]
    use simulated::{hint as hints, sync as base};
    #[cfg(not(simulated))]
    use std::{hint as hints, sync as base};

    use base::{PoisonError, TryLockError};

    pub use base::{Arc, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub use crossbeam_utils::sync::{Parker, Unparker};

    /// Atomics.
    pub mod atomic {
        pub use super::base::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    /// Threads.
    pub mod thread {
        pub use std::thread::{Builder, JoinHandle, ThreadId, current, yield_now};

        /// Which thread this is.
        #[inline]
        pub fn this() -> ThreadId {
            current().id()
        }
    }

    /// Hints for the processor.
    pub mod hint {
        pub use super::hints::spin_loop;
    }

    /// The standard mutex, without poisoning.
    #[derive(Debug, Default)]
    pub struct Mutex<T: ?Sized>(base::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex that is free.
        #[inline]
        pub const fn new(value: T) -> Self {
            Self(base::Mutex::new(value))
        }

        /// Waits for the lock, and takes it.
        #[inline]
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Takes the lock if it is free now.
        #[inline]
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }

        /// The value.
        pub fn into_inner(self) -> T {
            self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// The standard condition variable, in loom's shape: the guard goes in and
    /// comes back.
    #[derive(Debug, Default)]
    pub struct Condvar(base::Condvar);

    impl Condvar {
        /// A condition variable that nobody waits for.
        pub const fn new() -> Self {
            Self(base::Condvar::new())
        }

        /// Waits for a notification, or for no reason.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// The `bool` is true if the time is up.
        pub fn wait_until<'a, T>(
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

        /// Wakes one waiter.
        #[inline]
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all waiters.
        #[inline]
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// `std`'s cell with loom's closure-based access.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell with this value.
        #[inline(always)]
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// The value.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// The value; `&mut self` proves that nobody else uses it.
        pub fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        /// Shared access: the pointer is valid for reads while `f` runs, if the
        /// caller's protocol rules out a writer.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            #[cfg(simulated)]
            simulated::touch(self, size_of_val(self), simulated::Access::Read);
            f(self.0.get().cast_const())
        }

        /// Exclusive access: the pointer is valid for writes while `f` runs, if
        /// the caller's protocol rules out all other accesses.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            #[cfg(simulated)]
            simulated::touch(self, size_of_val(self), simulated::Access::Write);
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod mocked {
    use std::time::{Duration, Instant};

    pub use ::loom::cell::UnsafeCell;
    pub use ::loom::sync::MutexGuard;
    #[doc(hidden)]
    pub use ::loom::thread_local; // for `per_thread`
    pub use std::sync::Arc;

    /// Atomics.
    pub mod atomic {
        pub use ::loom::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    /// Threads.
    pub mod thread {
        pub use ::loom::thread::ThreadId;
        pub use ::loom::thread::yield_now;
        pub use std::thread::{Builder, JoinHandle, current};

        /// Which thread this is.
        pub fn this() -> ThreadId {
            ::loom::thread::current().id()
        }
    }

    /// Hints for the processor.
    pub mod hint {
        pub use ::loom::hint::spin_loop;
    }

    /// loom's mutex, without poisoning.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(::loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex that is free.
        pub fn new(value: T) -> Self {
            Self(::loom::sync::Mutex::new(value))
        }

        /// Waits for the lock, and takes it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        /// Takes the lock if it is free now.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        /// The value.
        pub fn into_inner(self) -> T {
            self.0.into_inner().unwrap()
        }
    }

    /// loom's condition variable; a timed wait times out after one yield.
    #[derive(Debug, Default)]
    pub struct Condvar(::loom::sync::Condvar);

    impl Condvar {
        /// A condition variable that nobody waits for.
        pub fn new() -> Self {
            Self(::loom::sync::Condvar::new())
        }

        /// Waits for a notification, or for no reason.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap()
        }

        /// The `bool` is true if the time is up.
        pub fn wait_until<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            (guard, true)
        }

        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all waiters.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// `crossbeam`'s parker, from a mutex and a condition variable.
    #[derive(Debug, Clone, Default)]
    pub struct Unparker(Arc<(Mutex<bool>, Condvar)>);

    /// What a thread waits with.
    #[derive(Debug, Default)]
    pub struct Parker(Unparker);

    impl Parker {
        /// A parker without a token.
        pub fn new() -> Self {
            Self::default()
        }

        /// What wakes it.
        pub fn unparker(&self) -> &Unparker {
            &self.0
        }

        /// Waits for a token, and takes it.
        pub fn park(&self) {
            let (token, condvar) = &*self.0.0;
            let mut guard = token.lock();
            while !*guard {
                guard = condvar.wait(guard);
            }
            *guard = false;
        }

        /// Waits for a token, or until the time is up.
        pub fn park_timeout(&self, _timeout: Duration) {
            ::loom::thread::yield_now();
            *self.0.0.0.lock() = false;
        }

        /// Waits for a token, or until the deadline.
        pub fn park_deadline(&self, _deadline: Instant) {
            self.park_timeout(Duration::ZERO);
        }
    }

    impl Unparker {
        /// Gives a token.
        pub fn unpark(&self) {
            let (token, condvar) = &*self.0;
            *token.lock() = true;
            condvar.notify_one();
        }
    }
}

/// A thread-local: loom's under loom, whose threads all run on one real thread; otherwise the
/// standard library's, const-initialised and cheap.
#[macro_export]
#[doc(hidden)]
macro_rules! per_thread {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $init:expr;) => {
        #[cfg(not(loom))]
        std::thread_local! {
            $(#[$meta])* static $name: $type = const { $init };
        }
        #[cfg(loom)]
        $crate::loom::thread_local! {
            $(#[$meta])* static $name: $type = $init;
        }
    };
}
#[doc(inline)]
pub use per_thread;
