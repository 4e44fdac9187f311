//! The parent's side: does what the scheduler decides, and tells it what happens.
//!
//! Callers leave mail (`client`, `mailbox`); the `driver`, on a thread of its own (`driving`), starts, feeds, hears and buries the
//! workers, each by its `link`. `launch` says what starts one, `here` or elsewhere. What takes time to decode is done by `readers`.
//! Callers may do some of the driver's work (`shortcut`).

pub(super) mod child;
pub(super) mod client;
pub(super) mod driver;
pub(super) mod driving;
mod here;
pub(super) mod kernel_kills;
pub(super) mod launch;
pub(super) mod link;
pub(super) mod mailbox;
pub(super) mod pool_error;
pub(super) mod readers;
pub(super) mod settings;
pub(super) mod shortcut;
pub(super) mod stuck;
pub(super) mod worker_stderr;
pub(super) mod worker_stdout;
