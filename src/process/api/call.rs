//! Calls of one function: `spawn`, `map`, `imap`, with or without options.
//!
//! A function, a pool and [`CallOptions`]; `client` and `imap` do the work.
//!
//! What an option does is decided elsewhere: the table in `job/options.rs` says where. Here it is
//! decided that `map` and `map_each` are refused on a thread that must not block.
//!
//! Tests: `tests/process/calls.rs`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::imap::Imap;
use crate::loom::atomic::AtomicU64;
use crate::parking::park::blocking_refused;
use crate::process::job::CallOptions;
use crate::process::job::failed_item::{FailedItem, OnFailedItem};
use crate::process::limits::EACH_AHEAD;
use crate::process::parent::driver::PoolState;
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::process::worker::raw_call::{code_of, code_of_with};
use crate::task::{Task, TaskError};

/// Calls of one function with options; from [`ProcessPool::call`](crate::ProcessPool::call).
///
/// It can be kept, cloned and used again.
///
/// ```
/// use std::time::Duration;
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let careful = procs
///     .call(|n: u64| n * n)
///     .timeout(Duration::from_secs(5))
///     .retry(1)
///     .name("square");
/// assert_eq!(careful.spawn(7).join()?, 49);
/// assert_eq!(careful.map(1..=3)?, [1, 4, 9]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it calls nothing until `spawn`, `map` or one of the others"]
pub struct ProcessCall<'a, A, R> {
    pub(super) pool: &'a Arc<PoolState>,
    code: Result<CodeRef, TaskError>,
    options: CallOptions,
    types: PhantomData<fn(A) -> R>,
}

impl<'a, A, R> ProcessCall<'a, A, R> {
    pub(in crate::process) fn new(pool: &'a Arc<PoolState>, f: fn(A) -> R) -> Self
    where
        A: Portable,
        R: Portable,
    {
        Self {
            pool,
            code: code_of(f),
            options: CallOptions::default(),
            types: PhantomData,
        }
    }

    /// Calls of a function that borrows a context.
    pub(in crate::process) fn with<C>(
        pool: &'a Arc<PoolState>,
        mut options: CallOptions,
        context: &C,
        f: fn(&C, A) -> R,
    ) -> Self
    where
        A: Portable,
        R: Portable,
        C: Serialize + DeserializeOwned + 'static,
    {
        let encoded = pool.common(context).map(|context| {
            options.context = Some(Arc::new(context));
        });
        Self {
            pool,
            code: encoded.and_then(|()| code_of_with(f)),
            options,
            types: PhantomData,
        }
    }

    /// How long each item may run, from its start: then it ends with [`TaskError::TimedOut`], and
    /// is stopped like a cancelled one (its token is set; its worker is killed after the
    /// [grace period](crate::ProcessPoolBuilder::grace)). Other items are not affected. With
    /// [`retry`](Self::retry), each attempt has this time, from its own start.
    ///
    /// Time that an item waits does not count ([`within`](Self::within) counts it). Two clocks
    /// measure the rest. The worker's runs from the item's start to the end of the function; if
    /// that is the limit or more, the item has timed out, also if it ended before the pool noticed:
    /// its result, or its panic, is lost. The pool's stops an item without an answer, and an answer
    /// comes after the result has been encoded: so an item may also time out in that. (A result
    /// that arrives later than the limit, of an item that answered in time, counts.) Neither clock
    /// stops while this process or the worker is stopped, by Ctrl-Z or a debugger: what has not
    /// answered by then may have timed out. With
    /// [`Duration::ZERO`] an item does not run: it has timed out as soon as the pool has it.
    ///
    /// In a `map` it is an error like any other: that of the lowest index is the result. In an
    /// `imap` it is the result of that item. [`Late`](crate::Late) has the item's index, how long
    /// it ran, and in which worker.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let nap = procs.call(|ms: u64| std::thread::sleep(Duration::from_millis(ms)));
    /// let results = nap.timeout(Duration::from_millis(100)).map_each([1, 60_000, 1]);
    /// assert!(results[0].is_ok() && results[2].is_ok());
    /// assert!(matches!(results[1], Err(TaskError::TimedOut(_))));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// How long the whole call may take, from the call to its end, waiting included: what has not
    /// ended by then ends with [`TaskError::TimedOut`]. What has not begun does not run (but a
    /// [plain worker](crate::ProcessPoolBuilder::plain_workers), or one on another machine, may
    /// begin what it has been sent until it learns of it: then [`Late::ran`](crate::Late::ran) is
    /// `None`); what runs is stopped as by a [`timeout`](Self::timeout). This bounds how long a
    /// caller waits for its answer, however much is queued; a `timeout`, which may be set as well,
    /// bounds how long an item keeps its worker.
    ///
    /// The time begins when `spawn`, `map` or another of these methods is called, and ends when the
    /// result has been decoded (which is not interrupted). The clock is that of this process alone,
    /// and goes on while this process is stopped (by Ctrl-Z, for example). The time is the whole
    /// call's:
    ///
    /// - of a `map` with all its items, and of an `imap` from its call to its last item, so also
    ///   while nobody asks for its next result. The items of an `imap` or `map_each` that have not
    ///   ended by then have this error, each; an `imap` that has not seen the end of its input
    ///   takes no more, and one error with the next index says so. A `map` whose iterator is slow
    ///   notices it at the next item;
    /// - of all attempts together, and of the pauses between them ([`retry`](Self::retry),
    ///   [`backoff`](Self::backoff)): after it nothing is retried. A hook
    ///   ([`on_failed_item`](Self::on_failed_item)) gets only the item that runs then, and only of a
    ///   `spawn`: its error comes when the hook has returned.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, Task};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let endless: Task<()> = procs.spawn((), |()| loop { std::thread::park() });
    /// let call = procs.call(|n: u64| n * 2).within(Duration::from_millis(20));
    /// let error = call.spawn(7).join().unwrap_err(); // behind one that never ends
    /// let text = "the time is up (limit 20ms from the call), before it began";
    /// assert_eq!(error.to_string(), text);
    /// endless.cancel();
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn within(mut self, limit: Duration) -> Self {
        self.options.within = Some(limit);
        self
    }

    /// How many times to retry an item whose worker died. Panics and errors are not retried,
    /// timeouts only with [`retry_on_timeout`](Self::retry_on_timeout). The item may run more than
    /// once, partly or completely, so make it idempotent.
    ///
    /// ```
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let hopeless = procs.call(|()| std::process::abort()).retry(2).spawn(());
    /// let hopeless: Result<(), _> = hopeless.join();
    /// let Err(TaskError::WorkerDied(exit)) = hopeless else { panic!() };
    /// assert_eq!(exit.attempts(), 3);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, more: u32) -> Self {
        self.options.retry = more;
        self
    }

    /// [`retry`](Self::retry) also applies to items that end with
    /// [`TimedOut`](TaskError::TimedOut). The next attempt begins when the previous one is over: it
    /// is stopped like a cancelled one, and its worker killed after the grace period.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let endless = procs.call(|()| loop { std::thread::yield_now() });
    /// let endless = endless.timeout(Duration::from_millis(20)).retry(2).retry_on_timeout(true);
    /// let result: Result<(), _> = endless.spawn(()).join();
    /// assert!(matches!(result, Err(TaskError::TimedOut(_))));
    /// assert_eq!(procs.stats().timed_out, 3);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_on_timeout(mut self, also: bool) -> Self {
        self.options.retry_on_timeout = also;
        self
    }

    /// How long an item pauses before its first [`retry`](Self::retry); the pause doubles before
    /// each further one. Default: none. Other items run meanwhile; the pause takes no worker and no
    /// thread.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let begin = Instant::now();
    /// let hopeless = procs.call(|()| std::process::abort()).retry(2).backoff(Duration::from_millis(10));
    /// let hopeless: Result<(), _> = hopeless.spawn(()).join();
    /// assert!(hopeless.is_err());
    /// assert!(begin.elapsed() >= Duration::from_millis(10 + 20));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn backoff(mut self, pause: Duration) -> Self {
        self.options.backoff = pause;
        self
    }

    /// How many items, at most, go to a worker at once; 0 counts as 1. Default: as many as take
    /// about a millisecond, estimated from earlier items of this function. The results do not
    /// depend on it.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let one_by_one = procs.call(|n: u64| n * n).chunk_size(1);
    /// assert_eq!(one_by_one.map(1..=3)?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.options.chunk = Some(items.max(1));
        self
    }

    /// Adds to `counter` the items that have ended, each of which counts once: with a value, and in
    /// a `map_each` or an `imap` also with an error of its own. (What ends the whole call or the
    /// pool, and an argument that could not be encoded, do not count.) They are added some at a
    /// time, so another thread can show how far a `map` is. (The crate `trefoil-progress` has
    /// bars.)
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let ended = Arc::new(AtomicU64::new(0));
    /// let squares = procs.call(|n: u64| n * n).counted(&ended).map(0..100)?;
    /// assert_eq!((squares[9], ended.load(Ordering::Relaxed)), (81, 100));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn counted(mut self, counter: &Arc<AtomicU64>) -> Self {
        self.options.counter = Some(counter.clone());
        self
    }

    /// How urgent the call is: of the waiting items, those with the highest number begin first.
    /// Default: 0. What a busy worker has been given as its next work, an item or about a
    /// millisecond's worth of short ones, is not held back for an urgent item that comes later.
    ///
    /// It applies in this pool.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let urgent = procs.call(|n: u64| n * 2).priority(5).spawn(7);
    /// assert_eq!(urgent.join()?, 14);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// How many workers its pool has:
    /// [`ProcessPool::num_workers`](crate::ProcessPool::num_workers).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let call = procs.call(|n: u64| n * n);
    /// assert_eq!(call.num_workers(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn num_workers(&self) -> usize {
        self.pool.width()
    }

    /// Calls `hook` with each item that has failed, in place of the pool's: see
    /// [`ProcessPoolBuilder::on_failed_item`](crate::ProcessPoolBuilder::on_failed_item).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let call = procs.call(|n: u32| 1 / n).on_failed_item(|failed| failed.note("the divisor"));
    /// let error = call.spawn(0).join().unwrap_err();
    /// assert_eq!(error.note(), Some("the divisor"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_failed_item(mut self, hook: impl Fn(&FailedItem) + Send + Sync + 'static) -> Self {
        self.options.on_failed = Some(OnFailedItem::new(hook));
        self
    }

    /// The name of the tasks of `spawn` and `map_task`.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let task = procs.call(|n: u64| n * n).name("square").spawn(3);
    /// assert_eq!(task.name(), Some("square"));
    /// assert_eq!(task.join()?, 9);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }
}

impl<A: Portable, R: Portable> ProcessCall<'_, A, R> {
    /// Starts one item, as [`ProcessPool::spawn`](crate::ProcessPool::spawn) does. (After
    /// [`call_with`](crate::ProcessPool::call_with) each `spawn` sends the context anew.)
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let square = procs.call(|n: u64| n * n).retry(1);
    /// let tasks = [square.spawn(3), square.spawn(4)];
    /// let sum: u64 = trefoil::try_join_all(tasks).join()?.iter().sum();
    /// assert_eq!(sum, 25);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn(&self, mut arg: A) -> Task<R> {
        let options = self.options.starting_now();
        (self.pool).spawn::<A, R>(options, self.code.clone(), &mut arg)
    }

    /// Runs all items and waits for their results, as [`ProcessPool::map`](crate::ProcessPool::map)
    /// does.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// assert_eq!(procs.call(|n: u64| n * n).retry(1).map(1..=3)?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`ProcessPool::map`](crate::ProcessPool::map). That of [`within`](Self::within) has no
    /// index.
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, TaskError> {
        if blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        // (Items that pause before a retry would hold permits while workers are idle.)
        let ahead = (self.options.retry == 0).then(|| self.pool.ahead());
        let (options, code) = (self.options.starting_now(), self.code.clone());
        self.pool
            .map_task(options, code, items, ahead.as_ref())
            .join()
    }

    /// Starts all items without waiting: one task for all items, which are taken from the iterator
    /// and encoded before this returns, or until the task has failed. Cancelling it cancels them
    /// all.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let task = procs.call(|n: u32| n + 1).map_task(0..3);
    /// assert_eq!(task.join()?, [1, 2, 3]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map_task(&self, items: impl IntoIterator<Item = A>) -> Task<Vec<R>> {
        let options = self.options.starting_now();
        self.pool.map_task(options, self.code.clone(), items, None)
    }

    /// Runs all items and waits for a result of each, as
    /// [`ProcessPool::map_each`](crate::ProcessPool::map_each) does.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let results = procs.call(|n: u32| 16 / n).retry(1).map_each([8, 0, 2]);
    /// assert_eq!(results[2].as_ref().ok(), Some(&8));
    /// assert!(results[1].is_err(), "it has divided by zero");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each(&self, items: impl IntoIterator<Item = A>) -> Vec<Result<R, TaskError>> {
        let mut items = items.into_iter();
        if blocking_refused() {
            return items.map(|_| Err(TaskError::WouldBlock)).collect();
        }
        let mut taken = 0;
        let counted = items.by_ref().inspect(|_| taken += 1);
        let mut imap = self.imap(counted).buffer(EACH_AHEAD);
        let mut results: Vec<_> = imap.by_ref().collect();
        // A job that has ended before its items takes no more of them, and may return one more
        // error than it has taken.
        let why = imap.ended.take().unwrap_or(TaskError::Closed);
        drop(imap);
        results.truncate(taken);
        for _ in items {
            results.push(Err(why.clone().with_item(results.len())));
        }
        results
    }

    /// Yields results in the order of the items, as [`ProcessPool::imap`](crate::ProcessPool::imap)
    /// does.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// for (n, square) in (1..=3).zip(procs.call(|n: u64| n * n).retry(1).imap(1..=3)) {
    ///     assert_eq!(square?, n * n);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<I: IntoIterator<Item = A>>(&self, items: I) -> Imap<I::IntoIter, R> {
        self.results(items, true)
    }

    /// Yields each result as soon as it is available, as
    /// [`ProcessPool::imap_unordered`](crate::ProcessPool::imap_unordered) does.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let mut sum = 0;
    /// for square in procs.call(|n: u64| n * n).retry(1).imap_unordered(1..=3) {
    ///     sum += square?; // as they are ready
    /// }
    /// assert_eq!(sum, 14);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<I: IntoIterator<Item = A>>(&self, items: I) -> Imap<I::IntoIter, R> {
        self.results(items, false)
    }

    fn results<I: IntoIterator<Item = A>>(&self, items: I, ordered: bool) -> Imap<I::IntoIter, R> {
        let (options, code) = (self.options.starting_now(), self.code.clone());
        Imap::new(self.pool, options, code, items, ordered)
    }
}

impl<'a, A, R> ProcessCall<'a, A, R> {
    /// Maps with a context, as [`ProcessPool::map_with`](crate::ProcessPool::map_with), with the
    /// options of this call; `f` replaces its function. To call nothing but `f`, use
    /// [`call_with`](crate::ProcessPool::call_with).
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let careful = procs.call(|n: u64| n).timeout(Duration::from_secs(5)).retry(1);
    /// let scaled = careful.map_with(&3, [1, 2], |factor: &u64, n: u64| factor * n)?;
    /// assert_eq!(scaled, [3, 6]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`ProcessPool::map_with`](crate::ProcessPool::map_with).
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map_with<C, I, S>(
        &self,
        context: &C,
        items: I,
        f: fn(&C, I::Item) -> S,
    ) -> Result<Vec<S>, TaskError>
    where
        C: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: Portable>,
        S: Portable,
    {
        if blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        self.clone().replaced(context, f).map(items)
    }

    /// A call of another function, with these options.
    pub(crate) fn replaced<C, B, S>(self, context: &C, f: fn(&C, B) -> S) -> ProcessCall<'a, B, S>
    where
        C: Serialize + DeserializeOwned + 'static,
        B: Portable,
        S: Portable,
    {
        ProcessCall::with(self.pool, self.options, context, f)
    }
}

impl<A, R> Clone for ProcessCall<'_, A, R> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool,
            code: self.code.clone(),
            options: self.options.clone(),
            types: PhantomData,
        }
    }
}

debug!(impl<A, R> ProcessCall<'_, A, R>, self, options = self.options);
