//! Tasks as spans, and their failures and slow polls as events, for subscribers of the crate
//! tracing.
//!
//! With the feature `tracing`, a subscriber gets, if it wants them:
//!
//! | | level, target | fields |
//! |---|---|---|
//! | span `runtime.spawn`, one for each task | `TRACE` `trefoil::task` | `kind`, `task.id`, `task.name`, `task.parent`, `loc.file`, `loc.line`, `loc.col` |
//! | event "task panicked", inside the span | `ERROR` `trefoil::task` | `task.id`, `panic.message`, `panic.location` |
//! | event "task dropped before its end": it was cancelled, or its executor is gone | `TRACE` `trefoil::task` | |
//! | event "task blocks its event loop", by [`slow_poll`] | `WARN` `trefoil::loop` | `task.id`, `task.name`, `elapsed`, `polls`, `spawned_at` |
//! | event "the failure of a task was never taken", by [`unobserved`] | `ERROR` `trefoil::task` | `task.id`, `task.name`, `error`, `spawned_at` |
//! | one event for each task, by [`snapshot`] | `INFO` `trefoil::loop` | `task.id`, `task.name`, `task.parent`, `state`, `waits_for`, `polls`, `spawned_at` |
//!
//! A span is created where the task is spawned, is entered whenever its code runs (each poll of a
//! future, once for a closure) and ends with the task. So the task's log lines are inside its span,
//! and a subscriber that records times knows how long each task was busy and how long it was idle.
//! Tasks are those of the event loop (`kind` is `local`, or `task` if it is `Send`), and of thread
//! pools (`task`, or `blocking` for a closure); the halves of a `join`, the items of a `map` and
//! calls to worker processes have none.
//!
//! The span has the name and the fields of tokio's spans, which tokio-console looks for. It has no
//! parent, because a parent lives as long as its last descendant. Instead, `task.parent` is the
//! task that spawned it, and it follows from (`follows_from`) the span in which it was spawned.
//! `task.name` is recorded when the task gets its name.
//!
//! If a subscriber panics when a span is entered, no task is lost: the code runs, or is dropped,
//! and the panic is the task's failure.
//!
//! Cost: if no subscriber wants the span, a load and a branch for each spawn; if one does, an
//! allocation for each task, plus the subscriber's work. Without the feature: nothing.
//!
//! ```
//! use std::time::Duration;
//! use trefoil::{EventLoop, adapters};
//!
//! // A subscriber of your choice, e.g. tracing_subscriber::fmt().init(); then
//! let event_loop = EventLoop::builder()
//!     .slow_poll(Duration::from_millis(100), adapters::tracing::slow_poll)
//!     .on_unobserved(adapters::tracing::unobserved)
//!     .build()?;
//! event_loop.block_on(async {
//!     trefoil::spawn(async { /* tracing::info!("...") */ }).named("greeter").await.unwrap();
//! });
//! # Ok::<(), std::io::Error>(())
//! ```

// Checked by `adapters/tests/traced.rs`.

use ::tracing::{field, info, warn};

use crate::event_loop::{SlowPoll, Snapshot, TaskInfo};
use crate::task::{TaskId, TaskReport};

/// A hook for [`EventLoopBuilder::slow_poll`](crate::EventLoopBuilder::slow_poll): an event for
/// each task that blocks its loop, while it does so.
///
/// The event comes from the watchdog's thread, so it is in no span.
///
/// ```
/// use std::time::Duration;
/// use trefoil::{EventLoop, adapters};
///
/// let event_loop = EventLoop::builder()
///     .slow_poll(Duration::from_millis(100), adapters::tracing::slow_poll)
///     .build()?;
/// # drop(event_loop);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn slow_poll(slow: &SlowPoll) {
    warn!(
            target: "trefoil::loop",
            {
    task.id = slow.task.id.get(),
            task.name = slow.task.name.as_deref(),
            root = slow.is_root,
            elapsed = ?slow.elapsed,
            polls = slow.task.polls,
            spawned_at = %slow.task.spawned_at,
            },
            "task blocks its event loop"
        );
}

/// A hook for [`on_unobserved`](crate::on_unobserved), for the process or for one executor: an
/// event for each failure that is never taken.
///
/// ```
/// trefoil::on_unobserved(trefoil::adapters::tracing::unobserved);
/// ```
pub fn unobserved(report: &TaskReport) {
    ::tracing::error!(
            target: "trefoil::task",
            {
    task.id = report.id().get(),
            task.name = report.name(),
            error = %report.error(),
            spawned_at = %report.spawned_at(),
            },
            "the failure of a task was never taken"
        );
}

/// An event for each task of a [`Snapshot`], the root future first.
///
/// ```
/// use trefoil::{LoopHandle, adapters};
///
/// trefoil::run(async {
///     adapters::tracing::snapshot(&LoopHandle::current().snapshot());
/// });
/// ```
pub fn snapshot(snapshot: &Snapshot) {
    if !snapshot.is_complete() {
        info!(target: "trefoil::loop", "the event loop is stuck in a poll, and did not respond");
    }
    if let Some(task) = snapshot.root() {
        one(task, "the root future");
    }
    for task in snapshot.tasks() {
        one(task, "task");
    }
}

fn one(task: &TaskInfo, what: &str) {
    info!(
            target: "trefoil::loop",
            {
    task.id = task.id.get(),
            task.name = task.name.as_deref(),
            task.parent = task.parent.map(TaskId::get),
            state = %task.state,
            waits_for = %task.waits_for,
            polls = task.polls,
            time_in_polls = task.time_in_polls.map(field::debug),
            spawned_at = %task.spawned_at,
            },
            "{what}"
        );
}
