//! Worker processes: a pool that survives crashes of its tasks.
//!
//! [`ProcessPool`] runs functions in separate processes. A call that segfaults, aborts, exits or is
//! killed fails alone: its task ends with [`WorkerDied`](crate::TaskError::WorkerDied), and a new
//! worker takes the place of the one that died. A call that never ends can be stopped.
//!
//! Use it for code that may crash, leak or hang, or that is not thread-safe. A call costs some
//! microseconds, and its argument and result are encoded and copied; without such risks, a
//! [thread pool](crate::thread) is cheaper.
//!
//! ```
//! use trefoil::{ProcessPool, TaskError};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     trefoil::init(); // the first line of `main`; in a worker process it never returns
//!
//!     let procs = ProcessPool::with_workers(2)?;
//!     assert_eq!(procs.map([1_u64, 2, 3], |n| n * n)?, [1, 4, 9]);
//!
//!     let bad = procs.spawn((), |()| -> () { std::process::abort() });
//!     assert!(matches!(bad.join(), Err(TaskError::WorkerDied(_))));
//!     assert_eq!(procs.spawn(6, |n: u64| n * 7).join()?, 42); // the pool still works
//!     Ok(())
//! }
//! ```
//!
//! A call consists of a function and an argument that serde can encode; closures with captures
//! cannot be sent.
//!
//! | to | use |
//! |---|---|
//! | call a function once, or for many items | [`spawn`](ProcessPool::spawn), [`map`](ProcessPool::map), [`imap`](ProcessPool::imap) |
//! | have the result or the error of each item | [`map_each`](ProcessPool::map_each), [`with_index`](Imap::with_index) |
//! | set a timeout, or try again after a death | [`call`](ProcessPool::call) |
//! | learn where an item has crashed | `WorkerExit::backtrace` (feature `backtrace`) |
//! | learn which item's time was up | [`Late`](crate::Late), [`TaskError::item`](crate::TaskError::item) |
//! | load something once for all workers, and replace them at once | [`start_method`](ProcessPoolBuilder::start_method) |
//! | send something to each worker only once | [`map_with`](ProcessPool::map_with), [`initializer`](ProcessPoolBuilder::initializer) |
//! | give each worker a device, a port, a directory of its own | [`env_for`](ProcessPoolBuilder::env_for), [`worker_index`] |
//! | limit memory, catch output, replace workers now and then | [`ProcessPoolBuilder`] |
//! | run one function in a process of its own | [`Process`] |
//! | send large arrays of numbers | [`Bulk`]: copied at the speed of memory; [`Shared`]: mapped, not copied |
//! | count together | [`SharedAtomics`] |
//! | let no more than *n* workers at a time do something | [`permits`](ProcessPool::permits) |
//! | let processes talk while they run | [`channel`](channel()) |
//! | send an open file, or a connection that was accepted | [`Attachment`] |
//! | keep a value in a worker from call to call | [`actor`](ProcessPool::actor) |
//! | run workers on other machines | [Other machines](crate::_documentation::remote_workers) |
//!
//! # What works where
//!
//! What is not in this table works with all workers. *Plain* workers are those of
//! [`plain_workers`](ProcessPoolBuilder::plain_workers), and of systems without shared memory; a
//! *launcher* starts workers [elsewhere](ProcessPoolBuilder::launcher), on other machines for
//! example, and these are plain, too.
//!
//! | | plain | with a launcher |
//! |---|---|---|
//! | `forward_events` (feature `tracing`), [`worker_index`] | yes | yes |
//! | [`env_for`](ProcessPoolBuilder::env_for), [`pin_to`](ProcessPoolBuilder::pin_to) (on Linux) | yes | no: the launcher starts the process; use [`worker_index`] in an initializer |
//! | [`actor`](ProcessPool::actor) | yes | by [`build_actor`](ProcessPoolBuilder::build_actor), with a launcher of its own |
//! | [`permits`](ProcessPool::permits), [`SharedAtomics`], [`Attachment`], ends of a [`channel`](channel()) | no: they need shared memory or descriptors | no |
//! | [`on_output`](ProcessPoolBuilder::on_output) | yes | no: the text goes to standard error |
//! | [`start_method`](ProcessPoolBuilder::start_method): a fork server (Linux, GNU C library) | no | no |
//! | `WorkerExit::backtrace` (feature `backtrace`) | no | no |
//!
//! # Instead of locks between processes
//!
//! There are no locks, events and barriers between processes: a process may be killed while it
//! holds one, and nobody would know how far its change had come. Instead of a *lock*, let one
//! process own the data, and send to it through a channel; or use an atomic; or for files
//! [`std::fs::File::lock`] (Rust 1.89), which the kernel releases. Instead of a *semaphore*, use
//! [`Permits`], which a death gives back, or make a pool of that many workers. Instead of an
//! *event*, use a channel whose only sender is dropped: all receivers see that. Instead of a
//! *barrier*, wait for the end of a `map`.
//!
//! # Promised
//!
//! - An item runs at most once, unless its call has a [`retry`](ProcessCall::retry). When a worker dies,
//!   finished items keep their results, and items that had not begun run elsewhere (not where a
//!   [launcher's](launch) command forwards the stream).
//! - The parent never blocks on a worker: a slow or hung worker delays no other.
//! - No worker outlives its parent, however the parent dies. (One behind a [launcher's](launch)
//!   command ends later if a signal has stopped it, or a forked child of the parent lives on. One
//!   that is [plain](crate::ProcessPoolBuilder::plain_workers) and hangs before `init` may.)
//! - Dropping a pool takes bounded time, besides its hooks: at most one second for items that run,
//!   two for workers that do not die although they are killed, and one for what they have written
//!   to standard error. A worker that does not die (a disk that does not answer, a frozen control
//!   group, a debugger) is given up after those two seconds, also while the pool lives: its item
//!   ends with [`WorkerDied`](crate::TaskError::WorkerDied), which has the process id and says so,
//!   and another worker comes. (If it frees much memory, or waits for a processor, it has 30
//!   seconds.) The process is reaped when it ends.
//! - The pool's thread waits for no reader of standard error. While nobody reads, workers wait when
//!   they write there, as they would without a pool, and no timeout or kill does.
//!
//! # Read next
//!
//! [`init`] explains the first line of `main`, and [`ProcessPool`] has all methods. See also the
//! pages for [libraries](crate::_documentation::libraries) and
//! [platforms](crate::_documentation::platform).

// For work on this module.
//
//   caller's threads            driver thread        │        worker process
//                                                    │
//   spawn, map ──► Chunk                             │
//        │           └─► Mailbox ─► Sched ─► Link ═══╪═ socket ═► Inlet ─► raw_call
//        │                           ▲         ▲     │                       │ f(item)
//        ▼                           │         └═════╪═ socket ◄═ Outlet ◄───┘
//      Task ◄──── Sink ◄─────────────┘               │             │
//                                    gates, rest ◄───┼─ ledger ◄───┘
//
// Reading order: each room imports only those below it (`tests/tidy/circles.rs`):
//
//   api/       what users see
//   channel/   values between any processes
//   parent/    the parent's side: threads, sockets, processes
//   launch/    what starts workers in other ways
//   worker/    the worker's side
//   sched/     which worker runs what; no I/O
//   job/       one call, and where its results go
//   value/     what a call carries
//   observe/   what workers report to `inspect` and to the crate tracing
//   wire/      the language of both sides; no I/O
//   pages/     memory that a worker and its parent share
//   limits/    every number that a user notices
//
// Below them is the operating system, `trefoil_os::host` (`crates/trefoil-os/`).
//
// Deliberately absent: closures with captures (only a function pointer and an argument are sent); a
// signal handler in the parent (deaths are read from descriptors); `fork` without `exec` of the
// program itself, which cannot do that soundly if it has threads. (A fork server has none.)

mod api;
#[cfg(loom)]
#[doc(hidden)]
pub mod caller_word_model;
pub mod channel;
#[cfg(loom)]
#[doc(hidden)]
pub mod gate_model;
mod job;
pub mod launch;
mod limits;
mod observe;
mod pages;
mod parent;
#[cfg(loom)]
#[doc(hidden)]
pub mod permits_model;
mod sched;
#[cfg(loom)]
#[doc(hidden)]
pub mod shared_buffer_model;
#[cfg(loom)]
#[doc(hidden)]
pub mod shared_ring_model;
#[cfg(loom)]
#[doc(hidden)]
pub mod shortcut_model;
mod value;
mod wire;
mod worker;

#[cfg(feature = "backtrace")]
pub use crate::task::backtrace::{Backtrace, Frame};
pub use api::imap::{Imap, ImapStream, Indexed};
pub use api::worker_range::WorkerRange;
pub use channel::pair::channel;
pub use job::encoded::Encoded;
pub use job::failed_item::FailedItem;
pub use parent::settings::StartMethod;
#[cfg(unix)]
pub use value::attachment::Attachment;
#[cfg(not(loom))]
pub use value::permits::{Permit, Permits};
pub use value::portable::Portable;
pub use value::raw_plain::{Plain, PlainAtomic};
pub use worker::index::worker_index;
pub use worker::retire::retire;
/// The items that are public at the crate's root. (Their paths through this module compile, too,
/// but are undocumented.)
pub(crate) mod root {
    pub use super::api::actor::Actor;
    pub use super::api::builder::ProcessPoolBuilder;
    pub use super::api::call::ProcessCall;
    pub use super::api::entry::init;
    pub use super::api::pool::ProcessPool;
    pub use super::api::process::{Process, ProcessBuilder};
    pub use super::launch::pool_error::PoolError;
    pub use super::parent::settings::WorkerStdout;
    pub use super::sched::stats::ProcessStats;
    pub use super::value::bulk::Bulk;
    pub use super::value::shared::{Shared, SharedAtomics};
}
#[doc(hidden)]
pub use root::*;
