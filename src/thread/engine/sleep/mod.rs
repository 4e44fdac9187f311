//! The sleep protocol: which threads run, sleep, or are blocked.
//!
//! **Job.** Keeps as many threads running as the pool is wide, wakes one when there is work, and
//! loses no wake-up. It does not know the work or the queues: callers call `need_after_push` after
//! a push, and look into the queues themselves where the protocol requires it.
//!
//! ```text
//!              recruit                     find nothing: sleep
//!   (started) ────────▶ running+searching ────────────────────▶ asleep
//!                          │ ▲                                    │
//!            found / again │ │            recruit                 │
//!                          ▼ │◀───────────────────────────────────┘
//!                        running ──block──▶ blocked ──unblock──▶ running
//! ```
//!
//! `counts` has the word that counts threads by state; `protocol`, going to sleep and waking;
//! `stand_in`, a second thread for one that begins late; `spares`, waiting workers; `waiters`, all
//! waiting threads of the process; `width`, how many should run; `quiesce`, the end of a pool.
//! `docs/internals/SCHEDULER.md` proves that no wake-up is lost.
//!
//! Tests: `tests/trefoil-checks/tests/pool.rs::{a_push_wakes_the_worker_that_lies_down,
//! the_last_searcher_hands_on, the_models_catch_a_missing_second_look}` (loom);
//! `tests/thread/pool.rs::{an_idle_pool_sleeps,
//! queued_halves_are_not_stranded_behind_a_long_leaf}`.

mod counts;
mod protocol;
mod quiesce;
mod spares;
mod stand_in;
mod waiters;
mod width;

pub(in crate::thread) use protocol::{
    Afterwards, Need, Recruited, SleepState, Sleeper, WakeReason,
};
pub(in crate::thread) use waiters::ProcessWaiters;
