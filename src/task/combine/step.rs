//! Names for what a task is doing, inside its future.
//!
//! A step is noted at its first poll while live tasks are kept track of, and forgotten when it ends
//! or is dropped. The polls in between note nothing.
//!
//! Tests: `tests/tasks/steps.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::events::{self, NotedStep};
use crate::task::id::TaskId;
use crate::task::raw::entered_task;

/// Names of your own for parts of a future, which the [tree of tasks] shows.
///
/// [tree of tasks]: crate::_documentation::observe
///
/// ```
/// use trefoil::StepExt;
///
/// async fn header() -> u32 {
///     std::future::pending().await // ... read it
/// }
///
/// # #[cfg(feature = "inspect")] {
/// let _awake = trefoil::inspect::tasks(); // from now on, tasks are kept track of
/// trefoil::run(async {
///     let request = trefoil::spawn(async { header().step("header").await });
///     trefoil::yield_now().await; // it begins
///     let tree = trefoil::inspect::tasks();
///     let task = tree.get(request.id().get()).unwrap();
///     assert_eq!(task.steps[0].name, "header");
///     assert!(tree.to_string().contains("in step `header` for "));
/// });
/// # }
/// ```
pub trait StepExt: Future + Sized {
    /// Names this future: it is a step, with this name, of the task that awaits it.
    ///
    /// Steps may be nested, and several may be under way at a time (with `join!`): the first four
    /// are shown, the oldest first (a fifth, from a later poll on, once there is room). A step is
    /// shown from its first poll after tasks are kept track of until it ends or is dropped. Outside
    /// tasks, as in the future of `run` itself, it is not shown.
    ///
    /// # Cancel safety
    /// That of the future.
    ///
    /// Cost: a load and a branch for each poll; while tasks are kept track of some 50 ns more for
    /// its begin, and for its end.
    fn step(self, name: &'static str) -> Step<Self> {
        Step {
            future: self,
            name,
            noted: None,
        }
    }
}

impl<F: Future> StepExt for F {}

pin_project! {
    /// Returned by [`StepExt::step`].
    ///
    /// ```
    /// use trefoil::StepExt;
    ///
    /// let answer = trefoil::run(async { 42 }.step("think")); // a future, with the output of the other
    /// assert_eq!(answer, 42);
    /// ```
    #[must_use = "futures do nothing unless they are awaited"]
    #[derive(Debug)]
    pub struct Step<F> {
        #[pin]
        future: F,
        name: &'static str,
        noted: Option<NotedStep>,
    }
}

impl<F: Future> Future for Step<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if events::is_on() && this.noted.is_none() {
            *this.noted = note(this.name);
        }
        let polled = this.future.poll(cx);
        if polled.is_ready() {
            *this.noted = None;
        }
        polled
    }
}

#[cold]
fn note(name: &'static str) -> Option<NotedStep> {
    events::step(entered_task::id().map_or(0, TaskId::get), name)
}
