//! What threads and tasks wait with and share.
//!
//! Every primitive here is for a mixed program: one side may be a plain thread, the
//! other a task on any runtime. The async method has the plain name, the blocking
//! one ends in `_blocking`. Where a well-kept crate does that already it is re-exported, with a
//! word on its use; what was missing is thin over the same list of listeners.
//! `docs/SYNC.md` says which to use when, and what stands for what in Python.
//!
//! | for | use |
//! |---|---|
//! | handing values over | [`channel`] |
//! | changing shared state | [`Mutex`]; many readers: [`RwLock`]; code that calls itself: [`ReentrantMutex`] |
//! | at most n at a time | [`Semaphore`] |
//! | "it has happened" | [`Event`] |
//! | "it may have changed" | [`Condvar`] |
//! | n that meet | [`Barrier`] |
//! | one result | not here: a [`Task`](crate::Task) and its [`Completer`](crate::Completer) |
//!
//! A lock that is never held across an `.await` or a wait may as well be
//! `std::sync::Mutex`, which is faster.
//!
//! Below these lies what the rest of the crate waits with: `park` puts a thread to sleep
//! until a waker wakes it, `block_on` drives a future on the thread that waits for it,
//! `marker` is the mark of what runs on a thread.

pub(crate) mod block_on;
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
