//! Live tasks: `trefoil::inspect::tasks` and `trefoil::inspect::on_stuck`.
//!
//! **Job.** `store` has an entry for each task that has not ended, and what it waits for; `tree`
//! copies that for the user, as text or JSON; `items` says what runs now, without a walk over
//! tasks; `worker_tree` has the trees of worker processes, and `answer` is their side; `locks` has
//! who holds which lock; `proof` finds code that can never go on, `asleep` finds that every thread
//! sleeps, and `stuck` reports both.
//!
//! All of this sleeps until somebody asks: the first call of [`tasks`] or [`on_stuck`], for
//! example, a signal ([`track_tasks_on_signal`]), or the variable `TREFOIL_TASKS` or
//! `TREFOIL_STUCK` when the first executor is made ([`wake_if_asked`]).
//!
//! Tests: `tests/tasks/tree.rs::{a_task_is_queued_runs_and_is_gone, json_has_the_documented_form}`,
//! `tests/tasks/stuck.rs::two_tasks_that_join_each_other`.

mod answer;
mod asleep;
mod entry;
mod id_hasher;
mod items;
mod locks;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod place;
mod proof;
mod running_map;
mod store;
mod stuck;
mod tree;
mod worker_tree;

use std::io::{self, Write as _};

use crate::printable::Printable;
use crate::switch;
use crate::sys::fork::PerProcess;
use crate::sys::signal_name::signal_number;
pub use answer::answer;
pub use asleep::Asleep;
pub use id_hasher::IdHasher;
pub(crate) use items::begin;
pub use items::{Activity, Items, LiveMap, LiveThread, activity};
pub use locks::{Access, Lock, LockKind};
pub use store::{READ, TIMER, WRITE, Wakers};
pub(crate) use store::{made, store};
pub use stuck::{Stuck, StuckKind, StuckWaiter, StuckWatch, on_stuck, watch_stuck};
pub(crate) use stuck::{fall_asleep, look_at_an_orphan, look_at_lost_locks, look_for_a_deadlock};
pub use tree::{
    LiveCall, LiveHolder, LiveLock, LiveStep, LiveTask, LiveWait, OutsideThread, TaskParts,
    TaskPhase, TaskTree, task_parts, tasks,
};
pub use worker_tree::{AskWorkers, LiveWorker, Question, register};

/// The variable that has tasks kept track of: from the beginning, or from a signal on.
pub const VARIABLE: &str = "TREFOIL_TASKS";

/// Begins to keep track of tasks.
pub fn wake() {
    store::wake();
}

/// Called when an executor is made: begins to keep track of tasks if the environment says so, or
/// prepares for the signal that it names.
pub fn wake_if_asked() {
    static ASKED: PerProcess<()> = PerProcess::new();
    let value = |variable: &str| {
        let value = std::env::var_os(variable)?;
        (!value.is_empty() && value != "0").then_some(value)
    };
    ASKED.inherit_or_init(|| {
        let signal = match value(VARIABLE) {
            Some(value) => match value.to_str().and_then(|text| text.strip_prefix("signal:")) {
                Some(name) => Some(name.to_owned()),
                None => return wake(),
            },
            None => None,
        };
        if value(stuck::VARIABLE).is_some() {
            wake();
        }
        if let Some(name) = signal {
            wait_for_signal(&name);
        }
    });
}

fn wait_for_signal(name: &str) {
    let number = name.parse().ok().or_else(|| signal_number(name));
    let result = match number {
        Some(number) => track_tasks_on_signal(number),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no such signal",
        )),
    };
    if let Err(error) = result {
        let _ = writeln!(
            io::stderr(),
            "trefoil: {VARIABLE}=signal:{} is ignored: {error}",
            Printable(name)
        );
    }
}

/// Begins to keep track of tasks when this signal comes, so that [`tasks`] knows their parents and
/// since when they wait: for a program that should pay for it only from some moment on. Until then
/// nothing is slower.
///
/// The variable `TREFOIL_TASKS=signal:USR1` does the same, with any signal's name or number, when
/// the first executor is made; an invalid one is reported on standard error. A handler that the
/// program has for the signal is called, too. The handler stays, in forked children, too.
///
/// # Errors
/// `InvalidInput` for a number that is not a signal, cannot be caught, or reports a fault; on
/// Windows, for any. `Unsupported` without an event loop and processes (features). Errors of the
/// system.
///
/// ```
/// # #[cfg(unix)] {
/// trefoil::inspect::track_tasks_on_signal(10)?; // SIGUSR1 on Linux
/// # }
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn track_tasks_on_signal(signum: i32) -> io::Result<()> {
    switch::track_tasks_on(signum)
}
