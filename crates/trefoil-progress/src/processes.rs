//! Bars for worker processes' calls with many items.
//!
//! **Job.** The methods of [`ProcessPool`] and [`ProcessCall`] with a bar. The pool's driver counts
//! the items that have ended, and a thread reads the count twenty times a second and advances the
//! bar: for a `map` the thread that waits, otherwise a helper thread. Items cost no more than
//! without a bar.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trefoil::process::Portable;
use trefoil::{Completer, ProcessCall, ProcessPool, Task, TaskError, Until, wait};

use super::bar::Bar;
use super::{Progress, WithBar};

/// The longest time between two updates of the bar while items end.
const PAUSE: Duration = Duration::from_millis(50);

impl Progress for &ProcessPool {}
impl<A, R> Progress for ProcessCall<'_, A, R> {}

impl WithBar<&ProcessPool> {
    /// [`ProcessPool::map`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil_progress::Progress;
    ///
    /// # trefoil::init();
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

    /// [`ProcessPool::map_each`], with a bar, which counts items that have failed in a worker, too.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil_progress::Progress;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let results = procs.with_progress().map_each([1, 0], |n: u32| 10 / n);
    /// assert!(results[0].is_ok() && results[1].is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// Where [`ProcessPool::map_each`] does.
    pub fn map_each<I, R>(self, items: I, f: fn(I::Item) -> R) -> Vec<Result<R, TaskError>>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        super::with(self.source.call(f), self.bar).map_each(items)
    }

    /// [`ProcessPool::map_with`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil_progress::Progress;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let scaled = procs.with_progress().map_with(&10, [1, 2], |factor: &u64, n: u64| factor * n)?;
    /// assert_eq!(scaled, [10, 20]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ProcessPool::map_with`].
    ///
    /// # Panics
    /// Where [`ProcessPool::map_with`] does.
    #[track_caller]
    pub fn map_with<C, I, R>(
        self,
        context: &C,
        items: I,
        f: fn(&C, I::Item) -> R,
    ) -> Result<Vec<R>, TaskError>
    where
        C: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        super::with(self.source.call_with(context, f), self.bar).map(items)
    }
}

impl<A: Portable, R: Portable> WithBar<ProcessCall<'_, A, R>> {
    /// [`ProcessCall::map`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    /// use trefoil_progress::Progress;
    ///
    /// # trefoil::init();
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
        may_wait()?;
        let items = items.into_iter();
        let (call, counted) = self.counted(items.size_hint().1);
        counted.watch(call.map_task(items))
    }

    /// [`ProcessCall::map_task`], with a bar, which a helper thread moves. A task that succeeds
    /// ends right after the bar. After an error the bar keeps its position.
    ///
    /// If the system gives no thread, the bar moves once, at the end.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil_progress::Progress;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let task = procs.call(|n: u64| n * n).with_progress().map_task([1, 2, 3]);
    /// assert_eq!(task.join()?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// Where [`ProcessCall::map_task`] does.
    #[track_caller]
    pub fn map_task(self, items: impl IntoIterator<Item = A>) -> Task<Vec<R>> {
        let items = items.into_iter();
        let (call, counted) = self.counted(items.size_hint().1);
        let mover = Mover::of(counted);
        call.map_task(items).map(move |results| {
            mover.finish();
            results
        })
    }

    /// [`ProcessCall::map_each`], with a bar, which counts items that have failed in a worker, too.
    ///
    /// # Panics
    /// Where [`ProcessCall::map_each`] does.
    pub fn map_each(self, items: impl IntoIterator<Item = A>) -> Vec<Result<R, TaskError>> {
        let items = items.into_iter();
        let (call, counted) = self.counted(items.size_hint().1);
        let mover = Mover::of(counted);
        let results = call.map_each(items);
        mover.finish();
        results
    }

    /// [`ProcessCall::map_with`], with a bar, which keeps its position after an error.
    ///
    /// # Errors
    /// Those of [`ProcessCall::map_with`].
    ///
    /// # Panics
    /// Where [`ProcessCall::map_with`] does.
    #[track_caller]
    pub fn map_with<C, I, S>(
        self,
        context: &C,
        items: I,
        f: fn(&C, I::Item) -> S,
    ) -> Result<Vec<S>, TaskError>
    where
        C: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: Portable>,
        S: Portable,
    {
        may_wait()?;
        let items = items.into_iter();
        let (call, counted) = self.counted(items.size_hint().1);
        let mover = Mover::of(counted);
        let results = call.map_with(context, items, f)?;
        mover.finish();
        Ok(results)
    }
}

impl<'a, A: Portable, R: Portable> WithBar<ProcessCall<'a, A, R>> {
    /// The call, whose ended items are counted, and the bar, whose length is set if it is known.
    fn counted(self, items: Option<usize>) -> (ProcessCall<'a, A, R>, Counted) {
        let Self { source, bar } = self;
        bar.begin(items);
        let counter = Arc::default();
        let call = source.counted(&counter);
        let shown = Mutex::new(Some(0));
        let counted = Counted {
            counter,
            shown,
            bar,
        };
        (call, counted)
    }
}

/// A bar that shows how many items have ended.
struct Counted {
    counter: Arc<AtomicU64>,
    /// How many of them the bar shows. `None`: the call is over, and the bar is left alone.
    shown: Mutex<Option<u64>>,
    bar: Bar,
}

impl Counted {
    fn update(&self) {
        if let Some(shown) = &mut *self.shown.lock() {
            let ended = self.counter.load(Ordering::Relaxed);
            self.bar.more(ended - *shown);
            *shown = ended;
        }
    }

    fn finish(&self) {
        self.update();
        *self.shown.lock() = None;
        self.bar.finish();
    }

    /// Waits for the task, and advances the bar meanwhile.
    fn watch<T: Send + 'static>(&self, mut task: Task<T>) -> Result<T, TaskError> {
        loop {
            let (mut done, mut pending) = wait([task], Until::All, Some(PAUSE)).join();
            self.update();
            match (done.pop(), pending.pop()) {
                (Some(done), _) => {
                    let result = done.join()?;
                    self.finish();
                    return Ok(result);
                }
                (None, Some(pending)) => task = pending,
                (None, None) => unreachable!("a task is done or it is not"),
            }
        }
    }
}

/// A helper thread that advances a bar, until this is dropped.
struct Mover {
    counted: Arc<Counted>,
    _end: SyncSender<()>,
}

impl Mover {
    fn of(counted: Counted) -> Self {
        let (_end, ended) = sync_channel(0);
        let counted = Arc::new(counted);
        let moved = counted.clone();
        let helper = thread::Builder::new().name("trefoil-bar".to_owned());
        // (Without a thread the bar moves once, at the end.)
        let _ = helper.spawn(move || {
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                moved.update();
            }
            moved.update();
        });
        Self { counted, _end }
    }

    /// The call has ended well.
    fn finish(&self) {
        self.counted.finish();
    }
}

/// `WouldBlock` on the thread of an event loop: a wait for nothing is refused there, too.
pub(super) fn may_wait() -> Result<(), TaskError> {
    let (promise, mut never) = Completer::<()>::new();
    let waited = never.join_timeout(Duration::ZERO);
    promise.complete(Ok(())); // dropped, it would be a failure that nobody takes
    match waited {
        Err(TaskError::WouldBlock) => Err(TaskError::WouldBlock),
        _ => Ok(()),
    }
}
