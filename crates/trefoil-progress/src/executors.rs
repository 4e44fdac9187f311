//! Bars for executors that are chosen at run time.
//!
//! **Job.** `map` of [`Inline`] and [`AnyExecutor`], by the methods of the other files. Code that
//! is generic over `Executor` submits, and puts the bar on `as_completed`.

use trefoil::process::Portable;
use trefoil::{AnyExecutor, Executor, Inline, TaskError};

use super::processes::may_wait;
use super::{Progress, WithBar};

impl Progress for &Inline {}
impl Progress for &AnyExecutor {}

impl WithBar<&Inline> {
    /// [`Inline::map`](Executor::map), with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil::Inline;
    /// use trefoil_progress::Progress;
    ///
    /// assert_eq!(Inline.with_progress().map(1..=3, |n: u64| n * n).unwrap(), [1, 4, 9]);
    /// ```
    ///
    /// # Errors
    /// Those of [`Inline::map`](Executor::map).
    pub fn map<I, R>(self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        let Self { source, bar } = self;
        let items = items.into_iter();
        bar.begin(items.size_hint().1);
        let result = |item| Ok(bar.after(source.submit(item, f).join()?));
        let results = items.map(result).collect::<Result<_, TaskError>>()?;
        bar.finish();
        Ok(results)
    }
}

impl WithBar<&AnyExecutor> {
    /// [`AnyExecutor::map`](Executor::map), with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil::AnyExecutor;
    /// use trefoil_progress::Progress;
    ///
    /// let executor: AnyExecutor = "threads:2".parse()?;
    /// assert_eq!(executor.with_progress().map(1..=3, |n: u64| n * n)?, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`AnyExecutor::map`](Executor::map).
    #[track_caller]
    pub fn map<I, R>(self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        let Self { source, bar } = self;
        match source {
            AnyExecutor::Inline(source) => WithBar { source, bar }.map(items, f),
            AnyExecutor::Processes(source) => WithBar { source, bar }.map(items, f),
            AnyExecutor::Threads(source) => {
                may_wait()?;
                let items: Vec<I::Item> = items.into_iter().collect();
                WithBar { source, bar }.map_task(items, f).join()
            }
            // One of a later version: its bar moves at the end.
            source => {
                let results = source.map(items, f)?;
                bar.begin(Some(results.len()));
                bar.more(results.len() as u64);
                bar.finish();
                Ok(results)
            }
        }
    }
}
