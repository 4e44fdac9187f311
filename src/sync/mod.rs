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
//! # Where not to block
//!
//! A method that ends in `_blocking` stops its thread until it is done.
//!
//! - **On an event loop's thread** it stops the loop, and never ends if a task of that loop would
//!   have to end it. Await instead. (Waits for a [`Task`](crate::Task), which have an error to
//!   return, are refused there: [`WouldBlock`](crate::TaskError::WouldBlock).)
//! - **On a worker of a [`ThreadPool`](crate::ThreadPool)** another thread takes the worker's place
//!   while it waits in [`Event`], [`Condvar`], [`ReentrantMutex`], [`watch`] or [`broadcast`]. The
//!   types of `async-lock` and `async-channel` do not report that they wait: if all workers of a
//!   pool wait in `lock_blocking`, and the lock is held by a suspended future of that pool, nothing
//!   is left that could resume it. Await in such a pool (`spawn_async`), or report the wait yourself:
//!
//! ```
//! use std::sync::Arc;
//! use trefoil::ThreadPool;
//! use trefoil::sync::Mutex;
//!
//! let pool = ThreadPool::with_threads(1);
//! let total = Arc::new(Mutex::new(0));
//! let theirs = total.clone();
//! let holder = pool.spawn_async(async move {
//!     let mut total = theirs.lock().await;
//!     trefoil::thread::yield_now();
//!     *total += 1;
//! });
//! let (inner, theirs) = (pool.clone(), total.clone());
//! let waiter = pool.spawn(move || *inner.blocking(|| theirs.lock_blocking()));
//! holder.join().unwrap();
//! assert!(waiter.join().unwrap() <= 1);
//! ```
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
