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
//! **Reading order.** What users see: [`pool`](self), `builder`, `settings`, `error`, `imap`, `own_process`,
//! `portable`, `process_call`, `stats`; `client` is what all of it does. `wire` is
//! the language of both sides; `chunk` the arguments in it, written and read by `codec`. What does not fit into bytes
//! goes beside them (`scope`): descriptors (`attachments`), and large numbers (`bulk`), which are lent (`shared_buffer`). Small frames
//! for a worker that is awake lie in a `tray`.
//!
//! The parent's side: `sched` decides, with `job` and `crew` as its data; `driver` does, on a thread of its own (`driving`), with `mailbox`,
//! `link`, `child`, `forward` and `output`; callers may do some of it (`shortcut`). Results go into a `sink`; what takes time to
//! decode is a `reading`, done by `readers`. The worker's side: `entry` with its `invitation`, `worker`, `batch`, `call`, `context`,
//! `memory`, and `raw_call`, where a number becomes a function again.
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

mod attachments;
mod batch;
mod builder;
mod bulk;
mod call;
pub mod channel;
mod child;
mod chunk;
mod client;
mod clock;
mod codec;
mod context;
mod crew;
mod driver;
mod driving;
mod entry;
mod error;
mod forward;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/gate_model.rs"]
pub mod gate_model;
mod imap;
mod invitation;
mod job;
mod link;
mod look;
mod mailbox;
mod mapped;
mod memory;
mod output;
mod own_process;
mod pool;
mod portable;
mod process_call;
#[cfg(feature = "auto")]
mod raw_auto;
mod raw_call;
mod raw_plain;
mod readers;
mod reading;
mod results;
mod sched;
mod scope;
mod settings;
mod shared;
mod shared_buffer;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/shared_buffer_model.rs"]
pub mod shared_buffer_model;
mod shortcut;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/shortcut_model.rs"]
pub mod shortcut_model;
mod sink;
mod stats;
mod stuck;
mod tray;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/tray_model.rs"]
pub mod tray_model;
mod wire;
mod worker;

pub use builder::ProcessPoolBuilder;
pub use bulk::Bulk;
pub use channel::channel;
pub use entry::init;
pub use error::PoolError;
pub use imap::{Imap, ImapStream};
#[cfg(feature = "indicatif")]
pub(crate) use job::Counter;
pub use own_process::{Process, ProcessBuilder};
pub use pool::ProcessPool;
pub use portable::Portable;
pub use process_call::ProcessCall;
pub use raw_plain::{Plain, PlainAtomic};
pub use settings::WorkerStdout;
pub use shared::{Shared, SharedAtomics};
pub use stats::ProcessStats;
