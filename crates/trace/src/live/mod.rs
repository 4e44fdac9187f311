//! Live tasks: `trefoil::tasks` and `trefoil::on_stuck`.
//!
//! **Job.** `store` has an entry for each task that has not ended, and what it waits for; `tree`
//! copies that for the user, as text or JSON; `items` says what runs now, without a walk over
//! tasks; `worker_tree` has the trees of worker processes, and `answer` is their side; `locks` has
//! who holds which lock; `proof` finds code that can never go on, `asleep` finds that every thread
//! sleeps, and `stuck` reports both.
//!
//! All of this sleeps until somebody asks: the first call of [`tasks`] or [`on_stuck`], or the
//! variable `TREFOIL_TASKS` when the first executor is made ([`wake_if_asked`]).
//!
//! Tests: `tests/tasks/`.

mod answer;
mod asleep;
mod id_hasher;
mod items;
mod locks;
mod proof;
mod running_map;
mod store;
mod stuck;
mod tree;
mod worker_tree;

use std::sync::Once; // the variable is read once: no protocol

pub use answer::answer;
pub use asleep::Asleep;
pub use id_hasher::IdHasher;
pub(crate) use items::begin;
pub use items::{Activity, Items, LiveMap, LiveThread, activity};
pub use locks::{Access, Lock, LockKind};
pub(crate) use store::store;
pub use store::{READ, TIMER, WRITE, Wakers};
pub use stuck::{Stuck, StuckKind, StuckWaiter, StuckWatch, on_stuck, watch_stuck};
pub(crate) use stuck::{fall_asleep, look_at_an_orphan, look_at_lost_locks, look_for_a_deadlock};
pub use tree::{
    LiveCall, LiveHolder, LiveLock, LiveTask, LiveWait, OutsideThread, TaskParts, TaskPhase,
    TaskTree, task_parts, tasks,
};
pub use worker_tree::{AskWorkers, LiveWorker, Question, register};

/// The variable that has tasks kept track of from the beginning: set, and neither empty nor 0.
pub const VARIABLE: &str = "TREFOIL_TASKS";

/// Begins to keep track of tasks.
pub fn wake() {
    store::wake();
}

/// Called when an executor is made: begins to keep track of tasks if the environment says so.
pub fn wake_if_asked() {
    static ASKED: Once = Once::new();
    ASKED.call_once(|| {
        let is_set = |variable: &str| {
            std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
        };
        if is_set(VARIABLE) || is_set(stuck::VARIABLE) {
            store::wake();
        }
    });
}
