//! The parent's side: carries out the scheduler's decisions, and reports events to it.
//!
//! Callers send messages (`client`, `mailbox`); the `driver`, on its own thread (`driving`),
//! starts, feeds, reads from and reaps the workers, each through its `link`: it sleeps on a
//! `poll_set`, and does what follows from `news`. What carries the bytes is behind `peer`.
//! `start_child` starts a worker, if no launcher does. `readers` decode results that take time.
//! Callers may do some of the driver's work (`shortcut`). `forking` gets workers from a fork
//! server, which is asked in the order of `forks`.

pub(super) mod client;
pub(super) mod driver;
pub(super) mod driving;
mod forking;
mod forks;
pub(super) mod link;
mod link_due;
pub(super) mod mailbox;
mod new_worker;
mod news;
mod peer;
mod poll_set;
pub(super) mod readers;
pub(super) mod settings;
pub(super) mod shortcut;
pub(crate) mod start_child;
pub(super) mod startup_watch;
pub(super) mod worker_process;
pub(super) mod worker_stderr;
pub(super) mod worker_stdout;
#[cfg(feature = "inspect")]
mod worker_trees;
