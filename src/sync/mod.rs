//! Locks, channels and other primitives for threads and tasks.
//!
//! One side may be a plain thread, the other a task on any runtime. An async method has the plain
//! name; its blocking form ends in `_blocking`.
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
//! | to | use |
//! |---|---|
//! | pass values on, with back-pressure | [`channel::bounded`] |
//! | pass values on, without back-pressure | [`channel::unbounded`] |
//! | send each value to every receiver | [`broadcast`] |
//! | let many follow a state, of which only the newest value counts | [`watch`] |
//! | change shared state | [`Mutex`]; with many readers [`RwLock`]; in code that calls itself [`ReentrantMutex`] |
//! | let in at most n at a time | [`Semaphore`] |
//! | make a value at its first use, where making it waits | [`OnceCell`] |
//! | announce that something has happened | [`Event`] |
//! | announce that something may have changed | [`Condvar`] |
//! | make n threads or tasks wait for one another | [`Barrier`] |
//! | pass on one result | a [`Task`] and its [`Completer`]; to many, a [`SharedTask`] |
//! | stop a tree of work | [`CancelToken`] |
//! | make a value available in all of a task's code | [`task_local!`] |
//!
//! - For a lock that is never held across an `.await` or a wait, use `std::sync::Mutex`, which is
//!   faster.
//! - On a loop's thread, await: see [Blocking](#blocking).
//! - Where a result comes back, prefer a task to a channel: it carries panics and cancellation.
//! - For a time limit, put [`timeout`] around the async method; in blocking code,
//!   `timeout(d, lock.lock()).join()`.
//!
//! # Order
//!
//! `Mutex` and `RwLock` serve those who wait in the order in which they came. Newcomers that want
//! such a lock alone may overtake them for a moment: the first is woken when the lock becomes free,
//! and if it finds the lock taken again, it gets the lock next. So nobody starves, and threads that
//! take a lock in turns do not switch each time. A waiter for a `ReentrantMutex`, a `Semaphore` or
//! a `channel` is woken in that order, too, but a task that asks at the moment when a place becomes
//! free (or an item comes) may get it before the woken waiter, which then waits behind the others.
//! When a waiting future is dropped, its lock, permit or notification goes to the next waiter: see
//! [Cancellation]. A future that waits and is not polled any more (one that a `select!` has left
//! alive) keeps its place or may have the lock, and keeps all others waiting: drop it.
//!
//! # Wakers of your own
//!
//! A waker that you write may run other code, in `wake` or in its destructor, and that code may use
//! the very object that keeps the waker. All types of this module allow that: none clones, wakes or
//! drops a waker under a lock.
//!
//! # Blocking
//!
//! What need not wait succeeds on any thread: a free lock is taken (to read an `RwLock`, if no
//! writer waits), a queued item is received, a finished task is joined, on an event loop's thread
//! too. (In tokio such calls panic there.) If a call has to wait:
//!
//! - **On a worker of a thread pool** another thread takes the worker's place meanwhile (not while
//!   a [`watch`] is borrowed, or a `broadcast` value is cloned).
//! - **On an event loop's thread it panics**, and says what to write: what it waits for may be in
//!   the hands of a task of that loop, which runs no other task while its thread waits. `.await`
//!   the async method there, or move the call into [`spawn_blocking`]. Where
//!   the result has a [`TaskError`], it is `WouldBlock` instead of a panic. (Not refused are a
//!   thread pool's `map`, `imap`, `join`, `scope`, `install`, `broadcast` and parallel iterators,
//!   and the shutdown or drop of a pool: they block the loop's thread meanwhile, and its slow-poll
//!   hook reports them. So does a [`watch`] that is borrowed.)
//!
//! So a blocking call that works on a loop's thread today panics there on the day when another
//! thread has the lock. Use the blocking forms there only where nothing can make them wait. (A wait
//! may be short, but is a wait.)
//!
//! # Read next
//!
//! [This page] lists the equivalents of Python's primitives.
//! Processes share no locks; [`process`] has what they can share.
//!
//! [`CancelToken`]: crate::CancelToken
//! [Cancellation]: crate::_documentation::cancellation
//! [`Completer`]: crate::Completer
//! [`process`]: crate::process
//! [`SharedTask`]: crate::SharedTask
//! [`spawn_blocking`]: crate::spawn_blocking
//! [`Task`]: crate::Task
//! [`task_local!`]: crate::task_local!
//! [`TaskError`]: crate::TaskError
//! [This page]: crate::_documentation::from_python
//! [`timeout`]: crate::timeout

// For work on this module: each primitive is a thin layer over a list of waiters
// (`parking/waiters.rs`); `mutex` says how the blocking methods wait.

#[cfg(all(feature = "sync", not(loom)))]
mod barrier;
#[cfg(all(feature = "sync", not(loom)))]
pub mod broadcast;
#[cfg(feature = "sync")]
#[doc(alias = "mpsc")]
pub mod channel;
#[cfg(feature = "sync")]
mod condvar;
#[cfg(feature = "sync")]
mod event;
#[cfg(all(feature = "sync", not(loom)))]
mod guard;
#[cfg(feature = "sync")]
mod item_queue;
mod line;
/// For the models in `tests/trefoil-checks/`.
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
#[cfg(all(feature = "sync", not(loom)))]
mod mutex;
#[cfg(all(feature = "sync", not(loom)))]
mod once_cell;
#[cfg(all(feature = "sync", not(loom)))]
mod raw_locked;
#[cfg(feature = "sync")]
mod raw_reentrant;
#[cfg(all(feature = "sync", not(loom)))]
mod rw_lock;
mod semaphore;
mod wait_list;
#[cfg(feature = "sync")]
mod waiting_queue;
#[cfg(all(feature = "sync", not(loom)))]
pub mod watch;

#[cfg(all(feature = "sync", not(loom)))]
pub use barrier::{Barrier, BarrierWaitResult};
#[cfg(feature = "sync")]
pub use condvar::Condvar;
#[cfg(feature = "sync")]
pub use event::Event;
#[cfg(all(feature = "sync", not(loom)))]
pub use mutex::{Mutex, MutexGuard, MutexGuardArc};
#[cfg(all(feature = "sync", not(loom)))]
pub use once_cell::OnceCell;
#[cfg(feature = "sync")]
pub use raw_reentrant::{ReentrantMutex, ReentrantMutexGuard};
#[cfg(all(feature = "sync", not(loom)))]
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphoreGuard, SemaphoreGuardArc};
