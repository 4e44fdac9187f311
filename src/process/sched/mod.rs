//! The scheduler: which worker runs which items, without any I/O.
//!
//! **Job.** A state machine. The driver reports events to it (a job, bytes, a death, the time) and
//! carries out its [`Action`]s: what it calls are methods of [`Sched`], each in the file that
//! decides it. It uses no socket, process or clock, so a simulation can drive it.
//!
//! **Order of the files.** Each calls those before it in this list, and none behind it:
//!
//! | file | what it knows or decides |
//! |---|---|
//! | `policy`, `orders`, `stats` | settings; what goes in and out; counters |
//! | `sent_frame`, `frame_control`, `back_off` | a frame; what a worker can be told, on each path; pauses after deaths |
//! | `sent_frames`, `workers` | owners: the frames of a worker; a worker, its stages and times |
//! | `state/` | owners: the slots (`slots`), the jobs, their queue and their times (`jobs`), costs, actions |
//! | `succession` | who replaces whom |
//! | `rules/` | rules of single features, and the moments at which they are asked |
//! | `cancel`, `failed_items`, `finish` | the running item is unwanted; errors that are completed elsewhere; an item and its job end |
//! | `take_back`, `retry` | items come back; items run again |
//! | `send`, `start`, `submit` | a frame leaves; a worker begins; a call comes |
//! | `shutdown`, `verdict`, `retire`, `deaths` | a pool ends; why a worker died; it is replaced; who is blamed |
//! | `place`, `take_over`, `timeouts` | who gets what; from whom it is taken; what has taken too long |
//! | `replies` | what each record of a worker means |
//! | `due` | what is due, and when: all times are there |
//! | `caller` | what a caller does in the driver's place |
//!
//! **Protocol.**
//! 1. Jobs with waiting items are in one queue. The job at the front sends a frame to the ready
//!    worker with the fewest frames, and then goes behind the other jobs of its priority: a long
//!    `map` does not delay later calls. (`place`)
//! 2. An idle worker takes over items that another has not begun, if that one has run its frame for
//!    a millisecond; eight times as long for each time that they moved before any had begun.
//! 3. When a worker dies, the item that it was running fails or is run again; the rest goes back to
//!    the front of the job (`deaths`).
//! 4. When a running item is cancelled or times out, its worker is notified at once. After the
//!    grace period everything else is taken back, and the worker is killed if it still runs the
//!    item (`timeouts`).
//! 5. A new worker runs the initializers, if there are any, before anything else (job 0).
//! 6. What single features want beside that, they decide at the moments that `rules` lists.
//! 7. All workers are started at the first tick, with or without work.
//!
//! **Invariants.**
//! - **W3** Whether an item has begun is decided by its gate alone. An item is sent again only
//!   after it was recalled through the gate, or after its worker is gone and the gate says that it
//!   had not begun. (A plain worker has its own gates: its answer to a recall counts, and after a
//!   death its reports.) So no item runs twice, unless its worker has died and it may be retried.
//! - **W4** A worker is killed because of a cancelled item only while all its other gates are
//!   closed, so no other item is lost. (A plain one that does not confirm that within a second is
//!   stopped, and has reported what it had begun.)
//! - **W5** Every job ends exactly once: it leaves the table when it is finished.
//!
//! Tests: `src/process/sched/simulated.rs` (seeded simulation),
//! `tests/process/pool.rs::four_accidents_cost_four_items`.

pub(super) mod back_off;
mod caller;
mod cancel;
mod deaths;
mod due;
mod failed_items;
mod finish;
pub(super) mod frame_control;
mod orders;
mod place;
pub(super) mod policy;
mod replies;
mod retire;
mod retry;
mod rules;
mod send;
mod sent_frame;
mod sent_frames;
mod shutdown;
#[cfg(test)]
mod simulated;
mod start;
mod state;
pub(super) mod stats;
mod submit;
mod succession;
mod take_back;
mod take_over;
mod timeouts;
pub(super) mod verdict;
pub(super) mod workers;

pub(crate) use self::orders::{Action, Feed};
pub(crate) use self::policy::{How, Policy, Stop};
pub(crate) use self::state::Sched;
