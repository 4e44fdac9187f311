//! Tasks as spans of `tracing`: with the feature of that name.
//!
//! 1. Where a closure or a future is put into its cell, it is wrapped. If a subscriber
//!    listens to such spans at that moment, the wrapper has one, made there, on the spawning
//!    thread; if none does, an empty place.
//! 2. Each run enters the span, and so does dropping the work. At the first run the name is
//!    added, which a task gets after it was spawned.
//! 3. A panic is told of inside the span, then it goes on: what becomes of the task is the
//!    cell's affair. What is dropped before it has ended was cancelled, and that is told, too.
//!
//! The span has no parent: one that lives as long as its child would never end in a program
//! whose tasks spawn their successors. Which task spawned it is in its fields, and as `follows_from`.
//!
//! The span lies behind a pointer, so that tasks without a listener grow by that much only.
//! Without the feature there is `untraced.rs` in its place.
//!
//! Rejected: the event in the panic hook. It would come a little earlier, and a listener that panics
//! there ends the process.
//!
//! What stands in the spans is documented where users look for it, in `adapters/tracing.rs`.
//! Checked by `adapters/tests/traced.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::{Level, Span, error, field, span, trace};

use super::id::TaskId;
use super::panic::{self, Panic};
use super::raw::current::{self, Birth};
use super::raw::with_name;
use crate::helper::contain;

const TARGET: &str = "trefoil::task";

/// The span of one task, if a subscriber listens.
struct Trace(Option<Box<Life>>);

struct Life {
    span: Span,
    began: bool,
    ended: bool,
}

impl Trace {
    fn new(kind: &'static str, birth: Birth) -> Self {
        let Birth { id, site, parent } = birth;
        let span = span!(
            target: TARGET,
            parent: None,
            Level::TRACE,
            "runtime.spawn",
            kind = %kind,
            task.id = id.get(),
            task.parent = parent.map(TaskId::get),
            task.name = field::Empty,
            loc.file = site.file(),
            loc.line = site.line(),
            loc.col = site.column(),
        );
        if span.is_disabled() {
            return Self(None);
        }
        span.follows_from(Span::current());
        Self(Some(Box::new(Life {
            span,
            began: false,
            ended: false,
        })))
    }

    /// Runs the task's code, inside.
    fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        if let Some(life) = &mut self.0
            && !std::mem::replace(&mut life.began, true)
        {
            with_name(|name| {
                life.span.record("task.name", name);
            });
        }
        let result = {
            let _inside = self.0.as_ref().map(|life| life.span.enter());
            panic::catch_in_task(f).inspect_err(|panic| contain(|| tell(panic)))
        };
        result.unwrap_or_else(|panic| {
            self.ended();
            panic.resume_unwind()
        })
    }

    fn ended(&mut self) {
        if let Some(life) = &mut self.0 {
            life.ended = true;
        }
    }

    /// Drops the task's work, inside.
    fn drop_work(&mut self, f: impl FnOnce()) {
        let Some(life) = &self.0 else { return f() };
        let _inside = life.span.enter();
        if !life.ended {
            contain(|| trace!(target: TARGET, "task dropped before its end"));
        }
        f();
    }
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

struct Closure<F> {
    f: Option<F>,
    trace: Trace,
}

impl<F> Drop for Closure<F> {
    fn drop(&mut self) {
        // One that has run is gone.
        if let Some(f) = self.f.take() {
            self.trace.drop_work(|| drop(f));
        }
    }
}

pub(super) fn closure<F: FnOnce() -> T, T>(f: F, birth: Birth) -> impl FnOnce() -> T + use<F, T> {
    let mut closure = Closure {
        f: Some(f),
        trace: Trace::new("blocking", birth),
    };
    move || {
        // The whole, not its fields.
        let closure = &mut closure;
        let f = closure.f.take().expect("it is called once");
        closure.trace.run(f)
    }
}

pin_project! {
    /// A future in its span.
    pub(super) struct Traced<F> {
        #[pin]
        future: Option<F>,
        trace: Trace,
    }

    impl<F> PinnedDrop for Traced<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.trace.drop_work(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this
            .future
            .as_pin_mut()
            .expect("it is there until the drop");
        let poll = this.trace.run(|| future.poll(cx));
        if poll.is_ready() {
            this.trace.ended();
        }
        poll
    }
}

pub(super) fn future<F: Future>(future: F, birth: Birth, local: bool) -> Traced<F> {
    let kind = if local { "local" } else { "task" };
    Traced {
        future: Some(future),
        trace: Trace::new(kind, birth),
    }
}
