//! Tasks as spans of the crate `tracing` (feature `tracing`).
//!
//! 1. Before a closure or a future is put into its cell, if a subscriber listens to such spans at
//!    that moment, a span is made on the spawning thread. It is stored with the task's name, so a
//!    task without a listener is no larger. (It is behind an `Arc`, because to clone a span runs
//!    the subscriber's code.)
//! 2. Each run enters the span, and so does dropping the work. The span ends with the work.
//! 3. A panic is reported inside the span. Work that is dropped before its end was cancelled, and
//!    that is reported, too.
//!
//! The span has no parent: one that lives as long as its child would never end in a program
//! whose tasks spawn their successors. Which task spawned it is in its fields, and as
//! `follows_from`.
//!
//! Without the feature `untraced.rs` replaces this file.
//!
//! Rejected: the event in the panic hook. It would come a little earlier, but a listener that
//! panics there ends the process.
//!
//! The contents of the spans are documented for users in `adapters/tracing.rs`. Tests:
//! `tests/trefoil-adapters/tests/traced.rs`.

use tracing::{Level, Span, field, span, trace};

use super::extras::TaskExtras;
use super::id::TaskId;
use super::panic::{self, Panic};
use super::raw::Rare;
use super::raw::TaskRef;
use super::raw::entered_task::{self, Birth};
use crate::blocking_threads::contain;
use crate::events::Kind;
use crate::loom::Arc;

const TARGET: &str = "trefoil::task";

/// The span of a task that is to be made, if a subscriber listens.
pub(super) type NewSpan = Option<Arc<Span>>;

/// Makes the span of a new task. Runs the subscriber's code.
pub(super) fn announce(birth: &Birth, parent: Option<TaskId>, kind: Kind) -> NewSpan {
    let kind = match kind {
        Kind::Closure => "blocking",
        Kind::Local => "local",
        _ => "task",
    };
    let span = span!(
        target: TARGET,
        parent: None,
        Level::TRACE,
        "runtime.spawn",
        kind = %kind,
        task.id = birth.id.get(),
        task.parent = parent.map(TaskId::get),
        task.name = field::Empty,
        loc.file = birth.site.file(),
        loc.line = birth.site.line(),
        loc.col = birth.site.column(),
    );
    (!span.is_disabled()).then(|| {
        span.follows_from(Span::current());
        Arc::new(span)
    })
}

/// Gives a task its span, before it is queued.
pub(super) fn attach(task: &TaskRef, span: NewSpan) {
    if span.is_some() {
        *task.extras_or_make().span.lock() = span;
    }
}

/// Records the name that the task was given.
pub(super) fn named(extras: &TaskExtras, name: &str) {
    let span = extras.span.lock().clone(); // so that no subscriber is called under the lock
    if let Some(span) = span {
        span.record("task.name", name);
    }
}

/// Runs the task's code inside its span, and catches and reports its panic; `last`: the code is not
/// run again.
pub(super) fn run<R>(extras: &Rare, last: bool, f: impl FnOnce() -> R) -> Result<R, Panic> {
    let span = extras.get().and_then(|extras| {
        if last {
            extras.span.lock().take()
        } else {
            extras.span.lock().clone()
        }
    });
    // A subscriber may panic, too: whatever it does, the work is done, or dropped. No panic unwinds
    // past the span: one on leaving it would be the second.
    let mut inside = None;
    let entered = panic::catch_in_task(|| inside = span.as_deref().map(Span::enter));
    let ended = panic::catch_in_task(f);
    if let Err(panic) = &ended {
        contain(|| record(panic));
    }
    let left = panic::catch_in_task(|| drop(inside));
    let closed = panic::catch_in_task(|| drop(span));
    match (ended, entered.and(left).and(closed)) {
        (Ok(value), Err(panic)) => {
            contain(|| drop(value));
            Err(panic)
        }
        (ended, _) => ended,
    }
}

/// Drops the work of a task that has not ended, inside its span.
pub(super) fn drop_work(extras: &Rare, f: impl FnOnce()) {
    let span = extras.get().and_then(|extras| extras.span.lock().take());
    let mut inside = None;
    contain(|| inside = span.as_deref().map(Span::enter));
    if span.is_some() {
        contain(|| trace!(target: TARGET, "task dropped before its end"));
    }
    contain(f);
    contain(|| drop(inside));
}

#[cold]
fn record(panic: &Panic) {
    tracing::error!(
                target: TARGET,
                {
    task.id = entered_task::id().map(TaskId::get),
                panic.location = panic.location().map(field::display),
                panic.message = panic.message(),
                },
                "task panicked"
            );
}
