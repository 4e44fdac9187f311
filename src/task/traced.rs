//! Tasks as spans of `tracing`: with the feature of that name.
//!
//! 1. Where a closure or a future is put into its cell, and a subscriber listens to such spans at
//!    that moment, one is made, on the spawning thread. It lies beside the task's name, so a task
//!    without a listener is no larger.
//! 2. Each run enters the span, and so does dropping the work. The span ends with the work.
//! 3. A panic is reported inside the span. Work that is dropped before its end was cancelled, and
//!    that is reported, too.
//!
//! The span has no parent: one that lives as long as its child would never end in a program
//! whose tasks spawn their successors. Which task spawned it is in its fields, and as
//! `follows_from`.
//!
//! Without the feature there is `untraced.rs` in its place.
//!
//! Rejected: the event in the panic hook. It would come a little earlier, and a listener that
//! panics there ends the process.
//!
//! The contents of the spans are documented for users in `adapters/tracing.rs`. Checked by
//! `adapters/tests/traced.rs`.

use once_cell::race::OnceBox;
use tracing::{Level, Span, error, field, span, trace};

use super::id::TaskId;
use super::panic::{self, Panic};
use super::raw::TaskRef;
use super::raw::current;
use super::side::Side;
use crate::helper::contain;
use crate::record::Kind;

const TARGET: &str = "trefoil::task";

/// A new task, before it is queued.
pub(super) fn spawned(task: &TaskRef, kind: Kind) {
    let kind = match kind {
        Kind::Closure => "blocking",
        Kind::Local => "local",
        _ => "task",
    };
    let site = task.spawned_at();
    let span = span!(
        target: TARGET,
        parent: None,
        Level::TRACE,
        "runtime.spawn",
        kind = %kind,
        task.id = task.id().get(),
        task.parent = task.parent().map(TaskId::get),
        task.name = field::Empty,
        loc.file = site.file(),
        loc.line = site.line(),
        loc.col = site.column(),
    );
    if !span.is_disabled() {
        span.follows_from(Span::current());
        *task.side_or_make().span.lock() = Some(span);
    }
}

/// The task has got its name.
pub(super) fn named(side: &Side, name: &str) {
    let span = side.span.lock().clone(); // a subscriber is not called under the lock
    if let Some(span) = span {
        span.record("task.name", name);
    }
}

/// Runs the task's code inside its span, and catches and tells of its panic; `last`: it is not run
/// again.
pub(super) fn run<R>(side: &OnceBox<Side>, last: bool, f: impl FnOnce() -> R) -> Result<R, Panic> {
    // A subscriber may panic, too.
    panic::catch_in_task(|| {
        let span = side.get().and_then(|side| match last {
            true => side.span.lock().take(),
            false => side.span.lock().clone(),
        });
        let mut inside = None;
        let entered = panic::catch_in_task(|| inside = span.as_ref().map(Span::enter));
        // Whatever the subscriber does, the work is done, or dropped.
        let ended = panic::catch_in_task(f).unwrap_or_else(|panic| {
            contain(|| tell(&panic));
            panic.resume_unwind()
        });
        entered.unwrap_or_else(|panic| panic.resume_unwind());
        ended
    })
}

/// Drops the work of a task that has not ended, inside its span.
pub(super) fn drop_work(side: &OnceBox<Side>, f: impl FnOnce()) {
    let span = side.get().and_then(|side| side.span.lock().take());
    let mut inside = None;
    contain(|| inside = span.as_ref().map(Span::enter));
    if span.is_some() {
        contain(|| trace!(target: TARGET, "task dropped before its end"));
    }
    f();
}

#[cold]
fn tell(panic: &Panic) {
    error!(
                target: TARGET,
                {
    task.id = current::id().map(TaskId::get),
                panic.location = panic.location().map(field::display),
                panic.message = panic.message(),
                },
                "task panicked"
            );
}
