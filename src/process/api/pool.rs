//! `ProcessPool`: its methods, and what happens when its last handle is dropped.
//!
//! A handle on the driver's mailbox (`client` has the operations of callers), and the state that
//! all handles share: the driver's thread, and its end.
//!
//! **Ending.** Every call that ends the pool sends a message to the driver; then the caller waits
//! for the driver's thread, which ends when all processes are reaped. On a driver's thread (a
//! task's callback drops the pool) the caller does not wait, and the pool ends by itself.
//!
//! What the driver does at that end: `sched/shutdown.rs`; how long it may take: `DROP_LIMIT`
//! (`limits`).
//!
//! Tests: `tests/process/pool.rs::{dropping_takes_bounded_time, shut_down_in_three_ways,
//! two_pools_that_drop_each_other}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::imap::Imap;
use crate::loom::Mutex;
use crate::process::job::CallOptions;
use crate::process::job::running_hook::RunningHook;
use crate::process::limits::{DROP_LIMIT, MOST_WORKERS};
use crate::process::parent::driver::{PoolState, is_a_driver};
use crate::process::parent::driving::{self, Driving};
use crate::process::parent::mailbox::Mail;
use crate::process::parent::settings::Settings;
use crate::process::sched::{How, Stop};
#[cfg(not(loom))]
use crate::process::value::permits::Permits;
use crate::process::value::portable::Portable;
use crate::process::{PoolError, ProcessCall, ProcessStats, WorkerRange};
use crate::task::{Shutdown, Task, TaskError};

/// A pool of worker processes.
///
/// Runs functions of one argument in separate processes. The argument and the result are sent by
/// [serde](https://serde.rs), with any attributes that their types have (but within `tag`,
/// `untagged` and `flatten`, serde reads no `i128`: [`TaskError::Codec`]); the function itself is
/// not sent, because the workers run the same program. A task that segfaults, aborts, exits or is
/// killed fails alone: it ends with [`TaskError::WorkerDied`], and its worker is replaced.
///
/// The program's `main` must begin with [`init`](crate::init), unless the feature `auto` is on.
///
/// Dropping the pool (its last handle) cancels tasks that have not begun, and kills workers that
/// still run one after a second, detached tasks included: to end with them, call
/// [`shutdown(Shutdown::Wait)`](Self::shutdown) first. If detached ones were cancelled (not what
/// [`map`](crate::Task::map) or [`flatten`](crate::Task::flatten) has returned), one report
/// to [`on_unobserved`](crate::ProcessPoolBuilder::on_unobserved) says so. (A pool in a `static` is
/// never dropped: when the program ends, so do its workers, and nothing is reported.) No worker
/// outlives the process that started it, however that ends (but one behind a
/// [launcher](crate::ProcessPoolBuilder::launcher)'s command that a signal has stopped ends when it continues).
///
/// A process that a call starts ends with its worker, so that accidents leave nothing running. It
/// may continue if it has left the worker's process group
/// ([`process_group(0)`](std::os::unix::process::CommandExt::process_group), `setsid`; not on
/// Windows), if this process is killed and so cannot end it, or if the worker is a child of a
/// [launcher](crate::ProcessPoolBuilder::launcher)'s command.
///
/// # Examples
///
/// ```
/// use trefoil::{ProcessPool, TaskError};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::init();
///     let procs = ProcessPool::with_workers(2)?;
///
///     let squares = procs.map(1..=4, |x: u64| x * x)?;
///     assert_eq!(squares, [1, 4, 9, 16]);
///
///     let accident = procs.spawn(3, |code: i32| -> () { std::process::exit(code) });
///     let Err(TaskError::WorkerDied(exit)) = accident.join() else { panic!("it lives") };
///     assert_eq!(exit.code(), Some(3));
///     Ok(())
/// }
/// ```
///
/// It is a handle: its clones refer to the same pool, which ends when the last of them is dropped.
/// [`shutdown`](Self::shutdown) and [`kill`](Self::kill) end it for all.
#[derive(Clone)]
#[doc(alias("Pool", "Parallel", "multiprocessing", "ProcessPoolExecutor"))]
pub struct ProcessPool {
    end: Arc<End>,
}

/// Ends the pool, at the latest when the last handle is dropped.
struct End {
    shared: Arc<PoolState>,
    driver: Mutex<Option<Driving>>,
}

impl ProcessPool {
    pub(in crate::process) fn start(settings: Settings) -> Result<Self, PoolError> {
        let (shared, driver) = driving::start(settings)?;
        let driver = Mutex::new(Some(driver));
        let end = Arc::new(End { shared, driver });
        Ok(Self { end })
    }

    pub(in crate::process) fn shared(&self) -> &Arc<PoolState> {
        &self.end.shared
    }

    /// How many workers it has, including those that are being replaced; the most, if there are
    /// [bounds](crate::ProcessPoolBuilder::workers).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// assert_eq!(ProcessPool::builder().workers(1..=2).build()?.num_workers(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn num_workers(&self) -> usize {
        self.shared().width()
    }

    /// From now on the pool has so many workers, or as many as the work asks for within a range, as
    /// in [`workers`](crate::ProcessPoolBuilder::workers); 0 means those that it was built with.
    ///
    /// Returns at once. Workers that are too many end the items that they have begun, and leave
    /// (those first that are still being started); what they have not begun runs elsewhere. After [`shutdown`](Self::shutdown) nothing changes.
    ///
    /// # Panics
    /// If a number is more than the 65,536 that a pool can have, or the first of a range is above
    /// the last.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// procs.set_workers(1..=3);
    /// assert_eq!((procs.num_workers(), procs.map(0..3, |n: u32| n + 1)?.len()), (3, 3));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_workers(&self, workers: impl WorkerRange) {
        let (mut least, mut most) = workers.bounds();
        if most == 0 && least == 0 {
            let Some(settings) = self.shared().settings() else {
                return;
            };
            let built = settings.policy.elastic;
            let number = settings.workers;
            (least, most) = built.map_or((number, number), |built| (built.least, built.most));
        }
        assert!(
            least <= most && most <= MOST_WORKERS,
            "trefoil: a pool cannot have from {least} to {most} workers: at most {MOST_WORKERS}"
        );
        self.shared().set_workers(least, most);
    }

    /// Runs `f(arg)` in a worker.
    ///
    /// `arg` is encoded at once, and then dropped. Does not block. The task ends in
    /// [`WorkerDied`](TaskError::WorkerDied) if its worker dies meanwhile, in
    /// [`Panicked`](TaskError::Panicked) if `f` panics, in [`Codec`](TaskError::Codec) if the
    /// argument or the result cannot be encoded or decoded, and in [`Closed`](TaskError::Closed) if
    /// the pool was shut down. The worker drops the result before it sends what it has encoded of
    /// it, so the destructor is a part of the item, as `f` is. If the task is cancelled while it
    /// runs, its [token](crate::CancelToken::current) is set at once; if it has not ended after the
    /// [grace period](crate::ProcessPoolBuilder::grace) its worker is killed and replaced.
    ///
    /// `f` may be a closure without captures. It must be part of this program, not of a library
    /// loaded at run time.
    ///
    /// The argument must own what it holds: the compiler rejects a closure that takes a `&str` with
    /// "implementation of `serde_core::de::Deserialize` is not general enough". Send a `String`,
    /// and a `Vec` instead of a slice:
    ///
    /// ```
    /// # trefoil::init();
    /// # let procs = trefoil::ProcessPool::with_workers(1)?;
    /// let text = "seven letters, and more";
    /// let length = procs.spawn(text.to_owned(), |text: String| text.len());
    /// assert_eq!(length.join()?, text.len());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[doc(alias("apply_async", "submit"))]
    pub fn spawn<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        self.call(f).spawn(arg)
    }

    /// Calls of `f` with options: see [`ProcessCall`].
    ///
    /// As for [`spawn`](Self::spawn), `f` takes what owns its contents: `|text: String|`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let endless = procs.call(|_: u32| -> u32 { loop { std::thread::yield_now() } });
    /// let task = endless.timeout(Duration::from_millis(30)).spawn(1);
    /// assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn call<A: Portable, R: Portable>(&self, f: fn(A) -> R) -> ProcessCall<'_, A, R> {
        ProcessCall::new(self.shared(), f)
    }

    /// Calls of a function that borrows `context`, with options: [`map_with`](Self::map_with) in
    /// all its forms.
    ///
    /// The context is encoded now. Each `map` or `imap` sends it to each worker once, where it is
    /// decoded once; so does each `spawn`, for its one item.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let scale = procs.call_with(&10, |factor: &u64, n: u64| factor * n);
    /// let careful = scale.timeout(Duration::from_secs(5)).retry(1);
    /// assert_eq!(careful.map([1, 2, 3])?, [10, 20, 30]);
    /// let each: Vec<u64> = careful.imap(4..6).collect::<Result<_, _>>()?;
    /// assert_eq!(each, [40, 50]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The [`ProcessCall`] and its clones keep the encoded context, and what travels with it: a
    /// channel whose end is in the context stays open, and [`Shared`](crate::Shared) memory stays
    /// allocated, until the last of them is dropped.
    ///
    /// If the context cannot be encoded, each call ends in [`Codec`](TaskError::Codec).
    pub fn call_with<C, A, R>(&self, context: &C, f: fn(&C, A) -> R) -> ProcessCall<'_, A, R>
    where
        C: Serialize + DeserializeOwned + 'static,
        A: Portable,
        R: Portable,
    {
        ProcessCall::with(self.shared(), CallOptions::default(), context, f)
    }

    /// Runs `f` on every item, and returns the results in the order of the items.
    ///
    /// Items are sent in batches of about a millisecond of work, so that millions of tiny items run
    /// as efficiently as a few long ones. They are taken from the iterator not far ahead of the
    /// workers, unless the call has [retries](ProcessCall::retry): for each worker, and once more,
    /// some megabytes of arguments, or some 16 large ones, are kept, however many items there are.
    /// So no call may wait for what the iterator does later.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// assert_eq!(procs.map(1..=4, |n: u64| n * n)?, [1, 4, 9, 16]);
    ///
    /// let error = procs.map([8, 0, 2], |n: u32| 16 / n).unwrap_err();
    /// assert_eq!(error.item(), Some(1)); // it has divided by zero
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The error of the failed item with the lowest index; its message begins with that index (for
    /// a panic, a death, a timeout, a codec error). The items after it are cancelled: running ones
    /// are stopped like a cancelled task. See [`spawn`](Self::spawn). For the error of each item,
    /// use [`map_each`](Self::map_each). On a thread that must not block (an event loop's):
    /// [`TaskError::WouldBlock`], and nothing was run.
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        self.call(f).map(items)
    }

    /// Maps with a context that all calls borrow: it is encoded once, sent to each worker once, and
    /// decoded there once. (To other machines, where a large one takes long, send a file's name: an
    /// [`initializer`](crate::ProcessPoolBuilder::initializer) reads it.)
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let words = vec!["zero".to_owned(), "one".to_owned(), "two".to_owned()];
    /// let named = procs.map_with(&words, [2, 0], |words: &Vec<String>, n: usize| words[n].clone())?;
    /// assert_eq!(named, ["two", "zero"]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `map`. [`Codec`](TaskError::Codec) also if the context cannot be encoded, or cannot be
    /// decoded in an item's worker.
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map_with<C, I, R>(
        &self,
        context: &C,
        items: I,
        f: fn(&C, I::Item) -> R,
    ) -> Result<Vec<R>, TaskError>
    where
        C: Serialize + DeserializeOwned + 'static,
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        self.call_with(context, f).map(items)
    }

    /// Maps with a result for each item: one that fails cancels no other.
    ///
    /// On a thread that must not block (an event loop's) each is
    /// [`WouldBlock`](TaskError::WouldBlock), and nothing was run. In a pool that has ended
    /// each that has not run is [`Cancelled`](TaskError::Cancelled) or
    /// [`Closed`](TaskError::Closed).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let results = procs.map_each([1, 0, 5], |n: u32| 10 / n);
    /// assert_eq!(results[0].as_ref().ok(), Some(&10));
    /// assert!(results[1].is_err(), "it has divided by zero");
    /// assert_eq!(results[2].as_ref().ok(), Some(&2));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Vec<Result<R, TaskError>>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        self.call(f).map_each(items)
    }

    /// Runs `f` on the items of an iterator, which may be endless, and yields the results in the
    /// order of the items, as an iterator or a stream: see [`Imap`].
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let squares = procs.imap(1.., |n: u64| n * n);
    /// let first: Vec<u64> = squares.map_while(Result::ok).take(4).collect();
    /// assert_eq!(first, [1, 4, 9, 16]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        self.call(f).imap(items)
    }

    /// Yields each result as soon as it is available.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let mut squares = procs.imap_unordered(1..=4, |n: u64| n * n).collect::<Result<Vec<_>, _>>()?;
    /// squares.sort(); // they came as they were ready
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<I, R>(&self, items: I, f: fn(I::Item) -> R) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Portable,
    {
        self.call(f).imap_unordered(items)
    }

    /// A number of [permits](crate::process::Permits) for calls in workers: no more than `permits`
    /// of them at a time, at least one and at most 65,536. Asked again under the same name, it
    /// returns the same ones, whatever `permits` is then, until the pool ends.
    ///
    /// If the system has no memory to share, a call that sends them fails with
    /// [`Codec`](TaskError::Codec).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil::process::Permits;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let gpu = procs.permits("gpu", 1); // of two workers, one at a time
    /// let render = procs.call_with(&gpu, |gpu: &Permits, frame: u32| {
    ///     let _permit = gpu.acquire();
    ///     frame * 10
    /// });
    /// assert_eq!(render.map(1..=3)?, [10, 20, 30]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(not(loom))]
    pub fn permits(&self, name: impl Into<String>, permits: usize) -> Permits {
        let name = name.into();
        match self.shared().settings() {
            Some(settings) => settings.permits.named(name, permits),
            None => Permits::new(name, permits), // the pool has ended: nobody else has them
        }
    }

    /// The process ids of the current workers.
    ///
    /// A worker that has died is missing until it has been replaced, usually for a millisecond.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let pid = procs.spawn((), |()| std::process::id()).join()?;
    /// assert_eq!(procs.worker_pids(), [pid]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        if self.shared().mailbox.is_foreign() {
            return Vec::new();
        }
        let mut pids = self.shared().pids.lock().clone();
        pids.retain(|pid| *pid != 0);
        pids
    }

    /// Ends the worker with this process id; another takes its place.
    ///
    /// The other is [ready first](crate::ProcessPoolBuilder::replace_first): until then the worker
    /// goes on. Then it gets no more items, what it has not begun goes elsewhere, and it leaves. If
    /// it still runs an item after the [grace period](crate::ProcessPoolBuilder::grace), it is
    /// killed: the item fails with [`WorkerDied`](TaskError::WorkerDied), or runs again if the call
    /// asked for that, and the death counts for
    /// [`max_restarts`](crate::ProcessPoolBuilder::max_restarts). A worker that is not ready yet, or
    /// that leaves first, is killed at once. Returns false if the pool has no such worker, or has
    /// ended. The worker may still be there when this returns.
    ///
    /// ```
    /// # trefoil::init();
    /// let procs = trefoil::ProcessPool::with_workers(1)?;
    /// procs.spawn((), |()| ()).join()?;
    /// let pid = procs.worker_pids()[0];
    /// assert!(procs.replace_worker(pid));
    /// while procs.worker_pids().contains(&pid) {
    ///     std::thread::yield_now(); // until it has left
    /// }
    /// assert!(!procs.replace_worker(pid));
    /// assert_eq!(procs.spawn(6, |n: u32| n * 7).join()?, 42);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace_worker(&self, pid: u32) -> bool {
        self.worker_pids().contains(&pid)
            && self.shared().mailbox.push([Mail::Replace(pid)]).is_ok()
    }

    /// Statistics of the pool so far. In a forked child: those at the fork, without workers.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// procs.map_each([1, 0], |n: u32| 1 / n);
    /// let stats = procs.stats();
    /// assert_eq!((stats.completed, stats.failed, stats.died), (1, 1, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> ProcessStats {
        let is_forked = self.shared().mailbox.is_foreign();
        let workers = self.worker_pids().len();
        self.shared().counters.read(workers, is_forked)
    }

    /// Ends the pool and waits until all of its processes are gone, except those that do not die
    /// and are given up ([promised](crate::process#promised)).
    ///
    /// With [`Shutdown::Wait`] all spawned tasks run first, however long that takes. With
    /// [`Shutdown::CancelPending`] running tasks run to their end, without a retry, and those that
    /// have not begun end with [`TaskError::Cancelled`]. So does a whole `map` with an item that
    /// has not begun. Its running items before that one still run to their end, since an error of
    /// theirs would be the `map`'s. Those after it are cancelled, and a worker that still runs one
    /// after the [grace period](crate::ProcessPoolBuilder::grace) is killed.
    ///
    /// Tasks spawned later end in [`TaskError::Closed`]. It may be called again, also from several
    /// threads, and a stronger call overrides a weaker one. An [`Imap`] takes no more items.
    ///
    /// In a callback on the driver thread of a process pool, this or another, it does not wait; nor
    /// does it in this pool's hook for [failed
    /// items](crate::ProcessPoolBuilder::on_failed_item). The iterator of a `map` on this pool must not call it with [`Shutdown::Wait`]: each would wait
    /// for the other.
    ///
    /// In a forked child, the parent's pool counts as shut down; calls on it there do not affect
    /// the parent.
    ///
    /// ```
    /// use trefoil::{ProcessPool, Shutdown, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let task = procs.spawn(6, |n: u32| n * 7);
    /// procs.shutdown(Shutdown::Wait);
    /// assert_eq!(task.join()?, 42);
    /// assert!(matches!(procs.spawn(6, |n: u32| n).join(), Err(TaskError::Closed)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        self.end.end(how_of(how).into());
    }

    /// Shuts down with a limit: workers that still run an item after `limit` are
    /// killed; their tasks, and those that still wait, end with [`TaskError::Cancelled`]. A worker
    /// that does not die within two seconds is given up ([promised](crate::process#promised)).
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, Shutdown, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let quick = procs.spawn(6, |n: u32| n * 7);
    /// let endless = procs.spawn((), |()| loop { std::thread::yield_now() });
    /// procs.shutdown_timeout(Shutdown::Wait, Duration::from_millis(200));
    /// assert_eq!(quick.join()?, 42);
    /// let endless: Result<(), _> = endless.join();
    /// assert!(matches!(endless, Err(TaskError::Cancelled)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown_timeout(&self, how: Shutdown, limit: Duration) {
        self.end.end(Stop {
            how: how_of(how),
            limit: Instant::now().checked_add(limit), // not representable: no limit
            is_drop: false,
        });
    }

    /// Kills all workers at once, and waits until they are gone. All tasks that have not
    /// finished end in [`TaskError::Cancelled`]. Where [`shutdown`](Self::shutdown) does not wait,
    /// neither does this.
    ///
    /// ```
    /// use trefoil::{ProcessPool, Task, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let endless: Task<()> = procs.spawn((), |()| loop { std::thread::park() });
    /// procs.kill();
    /// assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill(&self) {
        self.end.end(How::Kill.into());
    }
}

impl End {
    fn end(&self, stop: Stop) {
        let mailbox = &self.shared.mailbox;
        if mailbox.is_foreign() {
            return;
        }
        mailbox.close();
        let _ = mailbox.push([Mail::Stop(stop)]);
        // (The hook's item must end first.)
        let hook = RunningHook::here();
        let is_in_hook = hook.is_some_and(|hook| hook.pool == self.shared.counters.pool);
        if is_in_hook || is_a_driver() {
            return;
        }
        // A second caller waits here for the first.
        let mut driver = self.driver.lock();
        if let Some(driver) = driver.take() {
            driver.join();
        }
    }
}

fn how_of(how: Shutdown) -> How {
    match how {
        Shutdown::Wait => How::Wait,
        Shutdown::CancelPending => How::CancelPending,
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.end(Stop {
            how: How::CancelPending,
            limit: Instant::now().checked_add(DROP_LIMIT),
            is_drop: true,
        });
    }
}

debug!(impl ProcessPool, self, workers = self.worker_pids());
