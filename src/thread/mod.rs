//! Leaf one: a pool of threads that steal work from one another.
//!
//! ```text
//!   spawn ──▶ tasks ┐                         ┌─ a worker: find, run, sleep
//!   scope ──▶ tickets ├─▶ own deque or injector ─┤
//!   join  ──▶ jobs  ┘         ▲ steal         └─ a waiter: only what it awaits
//! ```
//!
//! **Reading order.** `pool` and `builder` are the surface, `global` the pool of
//! those who name none. `worker` is the loop, `wait` what happens in a wait; `idle` the
//! protocol by which threads sleep and are woken, with its proof; `latch` the gate between
//! a job and its waiter, `tally` that of a scope's end; `pace` which joins are offered at all, `offer` when others see them, `grain` for which of them somebody is woken; `queue` where work lies; `registry` what one pool's threads
//! share, and how they start and end; `places` which of them there are. On top of these: `broadcast`, `scope`, and `region` (map and
//! its siblings) over `items`, `spawn_async` (futures), `blocking` (calls that may block), and `imap` over `pipeline`. `raw` holds everything unsafe. Invariants are numbered P1 to P35.
//!
//! **Promised.** A waiting worker runs only what it waits for. An idle pool makes
//! no wake-ups. A panic of user code resumes where somebody waits for it, after all that
//! borrows has ended, and harms no worker. Results and failures are those of the
//! sequential program, in its order.
//!
//! Tests: `tests/thread/pool.rs`, `tests/thread/futures.rs`, `tests/thread/imap.rs`; loom models in `checks/tests/pool.rs`.

#[cfg(feature = "indicatif")]
mod announce;
mod blocking;
mod broadcast;
mod builder;
mod global;
mod grain;
mod guest;
mod idle;
mod imap;
mod inside;
mod items;
mod latch;
mod offer;
mod pace;
mod pipeline;
mod places;
mod pool;
mod queue;
mod raw;
mod reduce;
mod region;
mod registry;
mod scope;
mod spawn_async;
mod tally;
mod wait;
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

/// The same for the split deque.
#[cfg(loom)]
#[doc(hidden)]
#[path = "../../checks/inside/deque_model.rs"]
pub mod model_deque;

#[cfg(feature = "indicatif")]
pub(crate) use announce::Announced;
pub use builder::ThreadPoolBuilder;
pub use global::{current_index, join, scope, spawn_blocking};
pub use imap::{Imap, ImapStream};
pub use items::Items;
pub use pool::ThreadPool;
pub use scope::{Scope, ScopedTask};

/// For the benchmarks that count instructions: no time passes any more.
#[cfg(feature = "__bench")]
#[doc(hidden)]
pub use crate::sys::ticks::freeze as freeze_ticks;
