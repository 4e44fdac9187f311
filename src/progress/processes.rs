//! Bars for worker processes' calls with many items.
//!
//! **Job.** The methods of [`ProcessPool`] and [`ProcessCall`] with a bar. A `map` is one task for
//! all items: the pool's driver counts the items that have ended, and the thread that waits for the
//! task reads the count twenty times a second and advances the bar. Items cost no more than without
//! a bar.

use std::time::Duration;

use super::bar::Bar;
use super::{Progress, WithBar};
use crate::loom::atomic::Ordering;
use crate::process::{Counter, Portable, ProcessCall, ProcessPool};
use crate::sync::park::blocking_refused;
use crate::task::{Task, TaskError, Until, wait};

/// The longest time between two updates of the bar while items end.
const PAUSE: Duration = Duration::from_millis(50);

impl Progress for &ProcessPool {}
impl<A, R> Progress for ProcessCall<'_, A, R> {}

impl WithBar<&ProcessPool> {
    /// [`ProcessPool::map`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil::progress::Progress;
    ///
    /// # trefoil::process::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// assert_eq!(procs.with_progress().map([1, 2, 3], |n: u64| n * n)?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ProcessPool::map`].
    ///
    /// # Panics
    /// Where [`ProcessPool::map`] does.
    #[track_caller]
    pub fn map<I, R>(self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        super::with(self.source.call(f), self.bar).map(items)
    }
}

impl<A: Portable, R: Portable> WithBar<ProcessCall<'_, A, R>> {
    /// [`ProcessCall::map`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    /// use trefoil::progress::Progress;
    ///
    /// # trefoil::process::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let careful = procs.call(|n: u64| n * n).timeout(Duration::from_secs(60));
    /// assert_eq!(careful.with_progress().map([1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ProcessCall::map`].
    ///
    /// # Panics
    /// Where [`ProcessCall::map`] does.
    #[track_caller]
    pub fn map(self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, TaskError> {
        if blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        let Self { source, bar } = self;
        let items = items.into_iter();
        bar.begin(items.size_hint().1);
        let counter = Counter::default();
        let task = source.counted(&counter).map_task(items);
        let results = watch(task, &counter, &bar)?;
        bar.finish();
        Ok(results)
    }
}

/// Waits for the task, and advances the bar meanwhile.
fn watch<T: Send + 'static>(
    mut task: Task<T>,
    counter: &Counter,
    bar: &Bar,
) -> Result<T, TaskError> {
    let mut shown = 0;
    loop {
        let (mut done, mut pending) = wait([task], Until::All, Some(PAUSE)).join();
        let ended = counter.load(Ordering::Relaxed);
        bar.more(ended - shown);
        shown = ended;
        match (done.pop(), pending.pop()) {
            (Some(done), _) => return done.join(),
            (None, Some(pending)) => task = pending,
            (None, None) => unreachable!("a task is done or it is not"),
        }
    }
}
