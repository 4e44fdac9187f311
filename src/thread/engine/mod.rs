//! The scheduler: what the threads of one pool share, and what each of them does.
//!
//! `README.md` next to this file follows a piece of work. It imports nothing of the rooms above it,
//! which give it work. From the ground up: `lent`, what a thread lends to the pool and waits for;
//! `sleep`, how threads sleep and are woken (with `wake`, `mailbox` and `wake_policy`); `queue`,
//! the queues; `slot`, the public part of a worker; `registry`, what one pool's threads share, with
//! its `config`, how it is entered, resized and shut down; `worker`, what one thread does: find
//! work, run it, wait in the middle of it, sleep; `blocking_call`, `standing` and `stall_monitor`,
//! threads that are stuck. `raw_current` has the pools that this thread works for; `compensate`
//! changes these pools' workers before and after a wait.

pub(super) mod blocking_call;
pub(super) mod compensate;
pub(super) mod config;
pub(super) mod lent;
pub(super) mod mailbox;
pub(super) mod queue;
pub(super) mod raw_current;
pub(super) mod raw_outside_queue;
pub(super) mod registry;
pub(super) mod sleep;
pub(super) mod slot;
pub(super) mod stall_monitor;
pub(super) mod standing;
pub(super) mod wake;
pub(super) mod wake_policy;
pub(super) mod worker;
