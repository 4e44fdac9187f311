//! Tasks as spans, their failures and slow polls as events, and the events of worker processes, for
//! subscribers of the crate tracing.
//!
//! With the feature `tracing`, a subscriber gets, if it wants them:
//!
//! | | level, target | fields |
//! |---|---|---|
//! | span `runtime.spawn`, one for each task (see below) | `TRACE` `trefoil::task` | `kind`, `task.id`, `task.name`, `task.parent`, `loc.file`, `loc.line`, `loc.col` |
//! | event "task panicked", inside the span | `ERROR` `trefoil::task` | `task.id`, `panic.message`, `panic.location` |
//! | event "task dropped before its end": it was cancelled, or its executor is gone | `TRACE` `trefoil::task` | |
//! | event "task blocks its event loop", by [`slow_poll`] | `WARN` `trefoil::loop` | `task.id`, `task.name`, `root`, `elapsed`, `polls`, `spawned_at` |
//! | event "the failure of a task was never taken", by [`unobserved`] | `ERROR` `trefoil::task` | `task.id`, `task.name`, `error`, `spawned_at` |
//!
//! A span is created where the task is spawned, is entered whenever its code runs (each poll and
//! the drop of a future, once for a closure) and ends with the task. So the task's log lines are
//! inside its span, and a subscriber that records times knows how long each task was busy and how
//! long it was idle. Tasks are those of the event loop (`kind` is `local`, or `task` if it is
//! `Send`), of thread pools (`task`, or `blocking` for a closure), futures of a `TaskGroup`
//! (`task`), and calls of `io` that block (`blocking`); tasks of a `scope`, the halves of a `join`,
//! the items of a `map`, promises (what [`Task::map`](crate::Task::map) returns, too) and calls to
//! worker processes have none, nor an event when they panic; nor have panics of an `imap`'s items.
//!
//! The span has the name and the fields of tokio's spans, which tokio-console looks for. It has no
//! parent, because a parent lives as long as its last descendant. Instead, `task.parent` is the
//! task that spawned it, and it follows from (`follows_from`) the span in which it was spawned.
//! `task.name` is recorded when the task gets its name.
//!
//! If a subscriber panics when a span is entered, left or closed, no task is lost: the code runs,
//! or is dropped, and the panic is the task's failure.
//!
//! # Events of worker processes
//!
//! [`ProcessPoolBuilder::forward_events`](crate::ProcessPoolBuilder::forward_events) brings events
//! and spans of worker processes to the parent's subscriber: that which is current where the pool
//! is built. All have the target `trefoil::worker`, so a filter needs a directive for that target,
//! or one for all. Spans are spans here, too, with the name `worker.span`; they end when they end
//! in the worker, or with it (of more than 1,024 open ones in a worker the oldest, too).
//!
//! | field | |
//! |---|---|
//! | `worker.pid` | the worker's number, as in [`worker_pids`](crate::ProcessPool::worker_pids) |
//! | `worker.function` | the call's [name](crate::ProcessCall::name), or else its function's type; `initializer` |
//! | `worker.item` | the index of the item in a `map` or `imap` |
//! | `worker.target`, `worker.file`, `worker.line` | where it was written |
//! | `worker.fields` | its own fields, as text: `n=3 name="x"` |
//! | `worker.span` | of a span: its name |
//! | `worker.dropped` | of the event "events of a worker were dropped": how many |
//!
//! - *In order.* The events of an item arrive before its result, and before the error if its worker
//!   dies. Each event is in the kernel when the macro returns, so a crash loses none; on other
//!   machines, what the connection still holds.
//! - *Without waiting.* If the subscriber is slower than the worker, events are dropped, and
//!   counted. An event's message is cut after 2 KiB, its fields after 1 KiB.
//! - *Only what is heard.* When a worker starts, it is given the most verbose level up to
//!   which the subscriber listens to `trefoil::worker`. Its other events cost a load and a branch.
//!   A subscriber or a filter that comes later counts for workers that start later.
//! - *Records of the crate log* come, too, if the worker sends them to tracing:
//!   `.initializer((), |()| tracing_log::LogTracer::init().unwrap())`.
//! - A worker has one global subscriber, which is ours with this setting, so an initializer must
//!   not install another. If `main` does so before [`init`](crate::init), the worker keeps that
//!   one, and the parent gets an event that says so.
//! - It works with every kind of worker: children of this process, plain ones, and those of a
//!   [`launcher`](crate::ProcessPoolBuilder::launcher), on other machines too.
//! - Calls that follow closely take longer: their results pass through the pool's driver thread.
//!
//! ```
//! use tracing::Level;
//! use trefoil::ProcessPool;
//!
//! # trefoil::init();
//! let procs = ProcessPool::builder().workers(1).forward_events(Level::INFO).build()?;
//! // INFO trefoil::worker: resized worker.pid=… worker.item=0 … worker.fields="width=640"
//! procs.map([640, 800], |width: u32| tracing::info!(width, "resized"))?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//!
//! If no subscriber wants a task's span, a load and a branch for each spawn; if one does, some
//! memory for each task, plus the subscriber's work. Without the feature: nothing.
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

// Tests: `tests/trefoil-adapters/tests/traced.rs`, `tests/trefoil-adapters/tests/worker_events.rs`.
// The events of workers: `process/observe/`.

#[cfg(feature = "event-loop")]
use ::tracing::warn;

#[cfg(feature = "event-loop")]
use crate::event_loop::SlowPoll;
use crate::task::TaskReport;

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
#[cfg(feature = "event-loop")]
pub fn slow_poll(slow: &SlowPoll) {
    warn!(
            target: "trefoil::loop",
            {
    task.id = slow.task.id.get(),
            task.name = slow.task.name.as_deref(),
            root = slow.is_root,
            elapsed = ?slow.elapsed,
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
