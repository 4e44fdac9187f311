//! The task cell: one allocation from spawn to result.
//!
//! **Job.** A cell is a [`Header`](header::Header) with everything that does not depend on types,
//! then the executor's half (`S`), then one place that holds first the work (a closure or a future)
//! and later the output.
//!
//! ```text
//!   Task<T> ──┐
//!   Waker ────┤   ┌───────────┬───────┬─────┬────────┬──────────┬──────────┐ ┌───┬─────────────────┐
//!   Runnable ─┼──▶│ id · site │ state │ tag │ vtable │ consumer │ parent,  │ │ S │ work  OR output │
//!   Completer ┤   │   birth   │       │     │        │ a Waker  │ or rare  │ │   │                 │
//!   TaskRef ──┘   └───────────┴───────┴─────┴────────┴──────────┴──────────┘ └───┴─────────────────┘
//!                                   Header: 56 bytes
//! ```
//!
//! Budget: an idle task takes at most 72 bytes more than its future. The header has 56, an
//! executor's `S` 8, the smallest output 8 (`stored_error`). What most tasks never have (a name, a
//! hook, a cancel token) is in a separate record (`rare`). `cell::tests` checks the sizes.
//!
//! **One consumer slot.** Whatever waits for the end of a task leaves a `std::task::Waker`. An
//! `.await` has one anyway; for a parked thread, a callback and a node in a ready queue this crate
//! makes wakers. So there is one protocol for all consumers, and 16 bytes hold any of them.
//!
//! **Reading order.** `header` (what a cell is, and which thread may touch what), `run` (from a
//! queue entry to the end), `cell` (what depends on types), `consumer` and `promise` (the two
//! sides), `queued` (what executors do with entries).
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{complete_vs_drop_of_the_handle,
//! run_vs_claiming_join}` (loom), `tests/task/handle.rs::an_untaken_result_is_dropped_once`,
//! `cell::tests`.
#![allow(unsafe_code)]

mod boxed;
pub(in crate::task) mod cell;
mod consumer;
pub(in crate::task) mod entered_task;
pub(in crate::task) mod header;
#[cfg(feature = "inspect")]
pub(in crate::task) mod list;
mod promise;
mod queued;
mod rare;
mod ready_queue;
mod run;
mod stored_error;
mod stored_value;
mod waker;

pub use consumer::Task;
pub(crate) use entered_task::{Inherited, inherit};
pub(crate) use header::{Origin, PromiseSource, Ran, Runnable, Schedule, TaskRef};
pub use promise::Completer;
pub(in crate::task) use rare::Rare;
pub(super) use ready_queue::{ReadyQueue, ReadyShared};
pub(super) use stored_value::StoredValue;
