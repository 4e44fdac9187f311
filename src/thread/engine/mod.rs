//! The scheduler: what the threads of one pool share, and what each of them does.
//!
//! `README.md` next to this file follows a piece of work. From the ground up: `sleep`, how threads
//! sleep and are woken (with `wake`, `mailbox` and `latch`); `queue`, the queues; `slot`, the
//! public part of a worker; `slot_list`, all of a pool; `registry`, the state that one pool's
//! threads share, with `thread_list`, its threads, `indices` and its `config`; `worker`, finding
//! and running work; `wait`, waiting in the middle of work; `priority` and `give_way`, what goes
//! first; `thread_main`, a thread's loop; `idle`, a thread without work; `start_and_resize`,
//! starting and resizing; `enter`, a thread from outside that takes part; `shutdown`.
//! `raw_current` has the pools that this thread works for.

pub(super) mod abort_on_unwind;
pub(super) mod config;
pub(super) mod countdown;
pub(super) mod enter;
pub(super) mod give_way;
mod idle;
pub(super) mod indices;
pub(super) mod latch;
pub(super) mod mailbox;
pub(super) mod priority;
pub(super) mod queue;
pub(super) mod raw_current;
pub(super) mod registry;
pub(super) mod shutdown;
pub(super) mod sleep;
pub(super) mod slot;
pub(super) mod slot_list;
pub(super) mod start_and_resize;
pub(super) mod thread_list;
pub(super) mod thread_main;
pub(super) mod wait;
pub(super) mod wake;
pub(super) mod worker;
