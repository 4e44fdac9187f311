//! `Actor`: workers that keep a value between calls.
//!
//! A pool of its own, whose workers load the value before their first call. So everything that
//! holds for a pool's workers holds for an actor's: how often they may die
//! (`sched/deaths.rs`), cancellation, memory limits.
//!
//! When a worker is replaced while it lives: `sched/retire.rs`.
//!
//! Tests: `tests/process/actors.rs`.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::refusals::checked;
use crate::process::job::CallOptions;
use crate::process::parent::client::initializer;
use crate::process::parent::settings::Settings;
use crate::process::value::portable::Portable;
use crate::process::worker::raw_call::{code_of_load, code_of_use};
use crate::process::{PoolError, ProcessPool, ProcessStats};
use crate::task::{Shutdown, Task};

/// A value in a worker process, which calls use and change; from
/// [`ProcessPool::actor`](crate::ProcessPool::actor).
///
/// For what is expensive to load (a model, an index, a connection), or must be kept from call to
/// call. The value never leaves its worker, so its type need not be encodable.
///
/// - **One call at a time**, in the order of the calls. With [`actors`](ProcessPool::actors) there
///   are several copies, each in its own worker; a call runs on one that is free.
/// - **Deaths.** A worker that dies (a crash, a kill, the memory limit) costs the call that it ran,
///   which ends with [`WorkerDied`](crate::TaskError::WorkerDied). The next worker loads the value
///   again; what earlier calls have changed is lost. Calls that had not begun run there.
///   [`max_restarts`](crate::ProcessPoolBuilder::max_restarts) limits that.
/// - **Replacement.** With a [memory limit](crate::ProcessPoolBuilder::memory_limit), a worker that
///   holds more after a call is replaced, and the value is loaded again; so it is if a call
///   [retires](crate::process::retire) it.
///   [`max_tasks_per_worker`](crate::ProcessPoolBuilder::max_tasks_per_worker) does not apply, and
///   a launcher does not end them while they are idle.
/// - **Panics.** A call that panics ends with [`Panicked`](crate::TaskError::Panicked); the value
///   stays as the panic has left it.
/// - **Cancellation.** A call that is cancelled while it runs has the pool's
///   [grace period](crate::ProcessPoolBuilder::grace) to end. Then its worker is killed, and the value is
///   loaded again.
///
/// An actor is a handle: its clones refer to the same workers, which end like those of a
/// [`ProcessPool`] when the last of them is dropped. The value's destructor does not run then.
///
/// ```
/// use trefoil::ProcessPool;
///
/// struct Counter { words: Vec<String> }
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let counter = procs.actor("first".to_owned(), |word| Counter { words: vec![word] })?;
/// let count = counter.call("second".to_owned(), |word, counter| {
///     counter.words.push(word);
///     counter.words.len()
/// });
/// assert_eq!(count.join()?, 2);
/// assert_eq!(counter.call((), |(), counter| counter.words.join(" ")).join()?, "first second");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Actor<S> {
    pool: ProcessPool,
    options: CallOptions,
    state: PhantomData<fn(S) -> S>,
}

impl<S: 'static> Actor<S> {
    pub(in crate::process) fn start(mut settings: Settings) -> Result<Self, PoolError> {
        // Its workers are not replaced as long as they live: the value would be lost. Nor are there
        // ever two values for one worker.
        (settings.policy.replace_after, settings.policy.elastic) = (None, None);
        settings.policy.replace_first = false;
        Ok(Self {
            pool: ProcessPool::start(settings)?,
            options: CallOptions::default(),
            state: PhantomData,
        })
    }

    /// Runs `f(arg, value)` in the worker that has the value. As
    /// [`ProcessPool::spawn`](crate::ProcessPool::spawn) in everything else.
    ///
    /// If `load` has panicked, or its argument could not be decoded, the task ends with that error.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let words = ProcessPool::with_workers(1)?.actor((), |()| Vec::<String>::new())?;
    /// words.call("one".to_owned(), |word, words| words.push(word)).join()?;
    /// assert_eq!(words.call((), |(), words| words.len()).join()?, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn call<A: Portable, R: Portable>(&self, mut arg: A, f: fn(A, &mut S) -> R) -> Task<R> {
        let pool = self.pool.shared();
        pool.spawn::<A, R>(self.options.clone(), code_of_use(f), &mut arg)
    }

    /// A handle on the same actor, whose calls may run this long, from their start: as
    /// [`ProcessCall::timeout`](crate::ProcessCall::timeout). A call that is late costs the value,
    /// unless it ends within the grace period.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{ProcessPool, Task, TaskError};
    ///
    /// # trefoil::init();
    /// let counter = ProcessPool::with_workers(1)?.actor(0, |start: u64| start)?;
    /// let limited = counter.timeout(Duration::from_millis(50));
    /// let late: Task<()> = limited.call((), |(), _| loop { std::thread::park() });
    /// assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
    /// assert_eq!(counter.call((), |(), counter| *counter).join()?, 0); // loaded again
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        let mut limited = self.clone();
        limited.options.timeout = Some(timeout);
        limited
    }

    /// Statistics of the actor's workers so far.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let counter = ProcessPool::with_workers(1)?.actor(0, |start: u64| start)?;
    /// counter.call((), |(), counter| *counter += 1).join()?;
    /// assert_eq!(counter.stats().completed, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> ProcessStats {
        self.pool.stats()
    }

    /// The process ids of its workers; one that is being replaced is missing.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let counter = ProcessPool::with_workers(1)?.actor(0, |start: u64| start)?;
    /// let pid = counter.call((), |(), _| std::process::id()).join()?;
    /// assert_eq!(counter.worker_pids(), [pid]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.pool.worker_pids()
    }

    /// Ends it, as [`ProcessPool::shutdown`](crate::ProcessPool::shutdown).
    ///
    /// ```
    /// use trefoil::{ProcessPool, Shutdown, TaskError};
    ///
    /// # trefoil::init();
    /// let counter = ProcessPool::with_workers(1)?.actor(0, |start: u64| start)?;
    /// counter.shutdown(Shutdown::Wait);
    /// let refused = counter.call((), |(), _| ()).join();
    /// assert!(matches!(refused, Err(TaskError::Closed)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        self.pool.shutdown(how);
    }
}

impl<S> Clone for Actor<S> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            options: self.options.clone(),
            state: PhantomData,
        }
    }
}

debug!(impl<S> Actor<S>, self, pool = self.pool);

impl ProcessPool {
    /// Starts a worker that loads a value, `load(arg)`, and keeps it for later calls: see
    /// [`Actor`].
    ///
    /// The worker is a process of its own, besides this pool's, with the same settings
    /// (environment, limits, hooks, initializer; not
    /// [`env_for`](crate::ProcessPoolBuilder::env_for) and
    /// [`pin_to`](crate::ProcessPoolBuilder::pin_to)), and lives independently of this pool. Returns without waiting for `load`.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let total = procs.actor(100, |start: u64| start)?;
    /// total.call(20, |n: u64, total: &mut u64| *total += n).join()?;
    /// assert_eq!(total.call((), |(), total| *total).join()?, 120);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`build`](crate::ProcessPoolBuilder::build); also if this pool has ended, if `arg` cannot be
    /// encoded ([`PoolError::Initializer`]), and if a launcher starts this pool's workers
    /// ([`PoolError::Launcher`]): give the actor a launcher of its own, with
    /// [`build_actor`](crate::ProcessPoolBuilder::build_actor).
    pub fn actor<A: Portable, S: 'static>(
        &self,
        arg: A,
        load: fn(A) -> S,
    ) -> Result<Actor<S>, PoolError> {
        self.actors(1, arg, load)
    }

    /// `copies` of an [`actor`](Self::actor) behind one handle: each worker loads the value, and a
    /// call runs on one that is free. 0 counts as 1.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(1)?;
    /// let table = procs.actors(2, 1000, |n: u64| (0..n).map(|n| n * n).collect::<Vec<_>>())?;
    /// let found = [3, 30, 300].map(|n| table.call(n, |n: usize, table| table[n]));
    /// assert_eq!(trefoil::join_all(found).join().into_iter().flatten().sum::<u64>(), 90_909);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`actor`](Self::actor).
    pub fn actors<A: Portable, S: 'static>(
        &self,
        copies: usize,
        arg: A,
        load: fn(A) -> S,
    ) -> Result<Actor<S>, PoolError> {
        let settings = self.shared().settings();
        let mut settings = settings.ok_or_else(|| {
            io::Error::other("the pool, whose settings an actor would have, has ended")
        })?;
        if settings.launcher.is_some() {
            let message = "a launcher is for one pool only: make the actor with a builder, a launcher \
                of its own and `build_actor`";
            return Err(PoolError::Launcher(message.to_owned()));
        }
        let workers = checked(copies.max(1))?;
        (settings.variables_for, settings.processors_for) = (None, None); // other indices
        (settings.workers, settings.asked) = (workers, Some(workers));
        settings.add_initializer(initializer(&arg, code_of_load(load)))?;
        Actor::start(settings)
    }
}
