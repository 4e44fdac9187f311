//! What threads and tasks wait with and share.
//!
//! Every primitive here is for a mixed program: one side may be a plain thread, the
//! other a task on any runtime. The async method has the plain name, the blocking
//! one ends in `_blocking`.
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
//! | "it has happened" | [`Event`] |
//! | "it may have changed" | [`Condvar`] |
//! | n threads or tasks that wait for one another | [`Barrier`] |
//! | one result | not here: a [`Task`](crate::Task) and its [`Completer`](crate::Completer) |
//!
//! A lock that is never held across an `.await` or a wait may as well be
//! `std::sync::Mutex`, which is faster.
//!
//! `Mutex`, `RwLock`, `Semaphore` and `Barrier` are those of `async-lock`, `channel` is `async-channel`: in which order waiters
//! are served is decided there. Their types are part of what this crate promises, and so are the versions, `async-lock` 3 and
//! `async-channel` 2: a change to another major version is a breaking change of this crate.
//!
//! # Read next
//!
//! [This page](crate::_documentation::sync) says which of these to use when, and what stands for what in Python. Processes share
//! no locks; what they do share is in [`process`](crate::process).

// For work on this module: what was missing in those crates is thin over the same list of listeners (`event-listener`).
// Below it lies what the rest of the crate waits with: `park` puts a thread to sleep until a waker wakes it, `block_on`
// drives a future on the thread that waits for it, `marker` is the mark of what runs on a thread.

pub(crate) mod block_on;
#[cfg(not(loom))]
pub mod broadcast;
pub mod channel;
mod condvar;
mod event;
pub(crate) mod marker;
/// What the models in `checks/` drive: a condition variable without its lock.
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/sync_model.rs"]
pub mod model;
pub(crate) mod park;
mod raw_reentrant;
#[cfg(not(loom))]
pub mod watch;

pub(crate) use block_on::block_on;

#[cfg(not(loom))]
#[doc(no_inline)]
pub use async_lock::{
    Barrier, BarrierWaitResult, Mutex, MutexGuard, MutexGuardArc, RwLock, RwLockReadGuard,
    RwLockUpgradableReadGuard, RwLockWriteGuard, Semaphore, SemaphoreGuard, SemaphoreGuardArc,
};
pub use condvar::Condvar;
pub use event::Event;
pub use raw_reentrant::{ReentrantMutex, ReentrantMutexGuard};
