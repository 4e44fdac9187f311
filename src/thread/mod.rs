//! Leaf one: a pool of threads that steal work from one another.
//!
//! ```text
//!   spawn ──▶ tasks ┐                         ┌─ a worker: find, run, sleep
//!   scope ──▶ tickets ├─▶ own deque or injector ─┤
//!   join  ──▶ jobs  ┘         ▲ steal         └─ a waiter: only what it awaits
//! ```
//!
//! **Reading order.** `pool`, `builder` and `global` are the surface. Below them, from the ground up: `sleep`, how threads sleep
//! and are woken; `latch` and `countdown`, the gates between what ends and its waiter; `queue`, where work lies, and `slot`, what others
//! see of a worker; `registry`, what one pool's threads share, with `places`, where its threads are; `worker`, how one finds and runs
//! work; `wait`, what happens in a wait; `thread_main`, a thread's loop, `watch` (with `call`), what looks after threads that may be stuck, and
//! `threads`, how either starts; `enter`, the ways into a pool; `shutdown`. On top of these: `join`, `broadcast`, `scope` over `scope_queue`, and `region` (map and its siblings) over `items`, `spawn_async` (futures), `blocking` (calls that
//! may block), and `imap` over `pipeline`. No file knows one that stands above it. Invariants are numbered P1 to P33.
//!
//! **Promised.** A waiting worker runs only what it waits for. An idle pool makes
//! no wake-ups. A panic of user code resumes where it is awaited, after all that
//! borrows has ended, and harms no worker. Results and failures are those of the
//! sequential program, in its order.
//!
//! Tests: `tests/thread/pool.rs`, `tests/thread/futures.rs`, `tests/thread/imap.rs`; loom models in `checks/tests/pool.rs`.

#[cfg(feature = "indicatif")]
mod announce;
mod blocking;
mod broadcast;
mod builder;
mod call;
mod config;
mod countdown;
mod enter;
mod futures;
mod global;
mod imap;
mod items;
mod join;
mod latch;
mod mailbox;
mod pipeline;
mod places;
mod pool;
mod queue;
mod raw;
mod reduce;
mod region;
mod registry;
mod scope;
mod scope_queue;
mod shutdown;
mod sleep;
mod slot;
mod spawn_async;
mod thread_main;
mod threads;
mod wait;
mod wake;
mod watch;
mod worker;

/// What the models in `checks/` drive: the sleep protocol and the latch.
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/thread_model.rs"]
pub mod model;

/// The same for calls that may block.
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/blocking_model.rs"]
pub mod model_blocking;

#[cfg(feature = "indicatif")]
pub(crate) use announce::Announced;
pub use builder::ThreadPoolBuilder;
pub use global::{current_index, join, scope, spawn_blocking};
pub use imap::{Imap, ImapStream};
pub use items::Items;
pub use pool::ThreadPool;
pub use raw::scope::Scope;
pub use scope::ScopedTask;

/// For the benchmarks that count instructions: no time passes any more.
#[cfg(feature = "__bench")]
#[doc(hidden)]
pub use crate::sys::ticks::freeze as freeze_ticks;
