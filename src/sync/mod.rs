//! Locks, channels and other primitives for threads and tasks.
//!
//! Every primitive works between both: one side may be a plain thread, the other a task on any
//! runtime. The async method has the plain name, the blocking one ends in `_blocking`.
//!
//! ```
//! use std::sync::Arc;
//! use trefoil::sync::Mutex;
//!
//! let total = Arc::new(Mutex::new(0));
//! let theirs = total.clone();
//! let thread = std::thread::spawn(move || *theirs.lock_blocking() += 1);
//! trefoil::run(async {
//!     let mut total = total.lock().await; // may be held across an `.await`
//!     trefoil::yield_now().await;
//!     *total += 1;
//! });
//! thread.join().unwrap();
//! assert_eq!(*total.lock_blocking(), 2);
//! ```
//!
//! | for | use |
//! |---|---|
//! | handing values over | [`channel`]; each value to all: [`broadcast`] |
//! | the newest value, for many | [`watch`] |
//! | changing shared state | [`Mutex`]; many readers: [`RwLock`]; code that calls itself: [`ReentrantMutex`] |
//! | at most n at a time | [`Semaphore`] |
//! | a value that is made at its first use | [`OnceCell`] |
//! | "it has happened" | [`Event`] |
//! | "it may have changed" | [`Condvar`] |
//! | n threads or tasks that wait for one another | [`Barrier`] |
//! | one result | not here: a [`Task`](crate::Task) and its [`Completer`](crate::Completer) |
//!
//! For a lock that is never held across an `.await` or a wait, use `std::sync::Mutex`, which is
//! faster.
//!
//! `Mutex`, `RwLock`, `Semaphore`, `OnceCell` and `Barrier` are those of `async-lock`, `channel` is
//! `async-channel`: these crates decide in which order waiters are served. Their types are part of
//! this crate's public API, and so are the versions, `async-lock` 3 and `async-channel` 2: a change
//! to another major version is a breaking change of this crate.
//!
//! These five types clone, wake and drop wakers under a lock, so a waker of your own that uses the
//! object it waits for deadlocks there: see "Wakers of your own" on the page below.
//!
//! # Read next
//!
//! [This page](crate::_documentation::sync) says which of these to use when, and lists Python's
//! equivalents. Processes share no locks; [`process`](crate::process) has what they can share.

// For work on this module: the primitives that those crates lack are thin layers over a list of
// waiters (`waiters`). The other files are used by the rest of the crate: `park` puts a thread to
// sleep until a waker wakes it, `block_on` drives a future on the waiting thread, `marker` has the
// current task and loop of a thread.

pub(crate) mod block_on;
#[cfg(not(loom))]
pub mod broadcast;
pub mod channel;
mod condvar;
mod event;
pub(crate) mod marker;
/// For the models in `checks/`: a condition variable without its lock.
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/sync_model.rs"]
pub mod model;
pub(crate) mod park;
mod raw_reentrant;
pub(crate) mod waiters;
#[cfg(not(loom))]
pub mod watch;

pub(crate) use block_on::block_on;

#[cfg(not(loom))]
#[doc(no_inline)]
pub use async_lock::{
    Barrier, BarrierWaitResult, Mutex, MutexGuard, MutexGuardArc, OnceCell, RwLock,
    RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard, Semaphore, SemaphoreGuard,
    SemaphoreGuardArc,
};
pub use condvar::Condvar;
pub use event::Event;
pub use raw_reentrant::{ReentrantMutex, ReentrantMutexGuard};
