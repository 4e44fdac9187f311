//! rayon-core's interface, implemented over the thread pools of [`trefoil`].
//!
//! With these lines in the `Cargo.toml` of a program, rayon and all that is built on it run on
//! trefoil's pools, and its sources stay as they are:
//!
//! ```toml
//! [patch.crates-io]
//! rayon-core = { path = "../trefoil/crates/rayon-core" } # or `git = "..."`, the address of trefoil's repository
//! trefoil = { path = "../trefoil" }                      # the same, if the program uses trefoil by itself, too
//! ```
//!
//! What each function does is told by rayon's documentation. What differs is told by trefoil's page
//! for users of rayon, `docs/FROM_RAYON.md`.

mod broadcast;
mod builder;
mod configuration;
mod error;
mod here;
mod join;
mod member;
mod pool;
mod raw_scope;
mod scope;
mod seat;
mod spawn;
mod yields;

pub use broadcast::{BroadcastContext, broadcast, spawn_broadcast};
pub use builder::ThreadPoolBuilder;
#[allow(deprecated)]
pub use configuration::{Configuration, initialize};
pub use error::ThreadPoolBuildError;
pub use here::{
    current_num_threads, current_thread_has_pending_tasks, current_thread_index, max_num_threads,
};
pub use join::{FnContext, join, join_context};
pub use member::ThreadBuilder;
pub use pool::ThreadPool;
pub use scope::{Scope, ScopeFifo, in_place_scope, in_place_scope_fifo, scope, scope_fifo};
pub use spawn::{spawn, spawn_fifo};
pub use yields::{Yield, yield_local, yield_now};
