//! Worker processes: a pool that survives whatever its tasks do.
//!
//! **Job.** [`ProcessPool`] runs functions in processes of its own. A task that segfaults, aborts,
//! exits or is killed costs exactly itself.
//!
//! ```text
//!   caller's threads            driver thread        │        worker process
//!                                                    │
//!   spawn, map ──► Chunk                             │
//!        │           └─► Mailbox ─► Sched ─► Link ═══╪═ socket ═► Inlet ─► raw_call
//!        │                           ▲         ▲     │                       │ f(item)
//!        ▼                           │         └═════╪═ socket ◄═ Outlet ◄───┘
//!      Task ◄──── Sink ◄─────────────┘               │             │
//!                                    gates, rest ◄───┼─ ledger ◄───┘
//! ```
//!
//! **Reading order.** Each room imports only those below it (`tests/tidy/layers.rs`):
//!
//! ```text
//!   pool, builder, imap, own_process, process_call, entry    what users see
//!   channel/   values between any processes
//!   parent/    the parent's side: threads, sockets, processes
//!   worker/    the worker's side
//!   fast/      what makes calls that follow closely quick
//!   sched/     who runs what; no I/O
//!   job/       one call, and where its results go
//!   payload/   what a call carries
//!   wire/      the language of both sides; no I/O
//! ```
//!
//! `sys::image`, `sys::ledger`, `sys::gate` and `sys::arena` lie below.
//!
//! **Between processes.** Values go through a [`channel`](channel()), numbers lie in
//! [`Shared`] and [`SharedAtomics`], results come from calls. Locks, semaphores,
//! events and barriers between processes are not offered: a holder may be killed, and
//! what he has left half done cannot be told from what is whole. Instead of a *lock*: one process that owns
//! the thing, and a channel to it; an atomic; for files [`std::fs::File::lock`], which the kernel
//! takes back. Of a *semaphore*: a pool of that many workers. Of an *event*: a channel
//! whose only sender is dropped, which all receivers learn. Of a *barrier*: the end of a `map`.
//!
//! **Promised.** An item runs at most once. What had finished when a worker died keeps its result; what
//! had not begun runs elsewhere. The parent never blocks on a worker, so nothing that one does or
//! fails to do (stop, loop, not read) delays the others. No worker outlives its parent.
//! Dropping a pool takes bounded time.
//!
//! **Deliberately absent.** Closures with captures: a function pointer and an argument cross, nothing
//! else. A signal handler in the parent: deaths are read from descriptors. `fork` without `exec`:
//! a program with threads cannot do it soundly.
//!
//! Linux only so far.

mod builder;
pub mod channel;
mod entry;
mod fast;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/gate_model.rs"]
pub mod gate_model;
mod imap;
mod job;
mod own_process;
mod parent;
mod payload;
mod pool;
mod process_call;
#[cfg(feature = "auto")]
mod raw_auto;
mod sched;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/shared_buffer_model.rs"]
pub mod shared_buffer_model;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/shortcut_model.rs"]
pub mod shortcut_model;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/tray_model.rs"]
pub mod tray_model;
mod wire;
mod worker;

pub use builder::ProcessPoolBuilder;
pub use channel::channel;
pub use entry::init;
pub use imap::{Imap, ImapStream};
#[cfg(feature = "indicatif")]
pub(crate) use job::Counter;
pub use own_process::{Process, ProcessBuilder};
pub use parent::error::PoolError;
pub use parent::settings::WorkerStdout;
pub use payload::bulk::Bulk;
pub use payload::portable::Portable;
pub use payload::raw_plain::{Plain, PlainAtomic};
pub use payload::shared::{Shared, SharedAtomics};
pub use pool::ProcessPool;
pub use process_call::ProcessCall;
pub use sched::stats::ProcessStats;
