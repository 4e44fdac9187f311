//! Which threads work, sleep, or are blocked: the sleep protocol.
//!
//! **Job.** Keeps as many threads at work as the pool is wide, wakes one when
//! there is something for it to do, and loses no wake-up. What the work is, and where it is queued, is not known
//! here: callers ask `need_after_push` after a push, and look into the queues themselves where the protocol tells them to.
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
//! `counts` has the word that counts threads by state, `sleep` the way into sleep and out of it, `blocked` what happens when a
//! worker waits, `width` how many should run, `quiesce` the end of a pool. Why no wake-up is lost is proved in
//! `docs/SCHEDULER.md`.
//!
//! Tests: the loom models in `checks/tests/pool.rs`; `tests/thread/pool.rs` (idle pool
//! without wake-ups, stalls, shutdown).

mod blocked;
mod counts;
mod quiesce;
#[allow(clippy::module_inception)] // the type that the others add to
mod sleep;
mod width;

pub(super) use blocked::STALL;
pub(super) use sleep::{Need, Sleep, Sleeper, WakeReason};
pub(super) use width::KEEP_SPARE;
