//! The settings of a pool of processes.
//!
//! The builder collects them, checks in `build` whether a pool is possible (`refusals`; a program
//! that never calls `init` gets an error before any process is started), and passes them to the
//! driver as [`Settings`].
//!
//! Their defaults: `process/parent/settings.rs`; every number: `process/limits/mod.rs`.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use super::entry;
use super::refusals::{check_bounds, check_elastic, check_fork_server, check_launched, checked};
use crate::process::job::Initializer;
use crate::process::job::failed_item::{FailedItem, OnFailedItem};
use crate::process::launch::Launcher;
use crate::process::launch::thread_limits::share;
use crate::process::limits::PATIENCE_ELSEWHERE;
#[cfg(feature = "tracing")]
use crate::process::observe::forward_events::EventListener;
use crate::process::parent::client;
use crate::process::parent::settings::{Settings, StartMethod, WorkerStdout};
use crate::process::sched::policy::Elastic;
use crate::process::worker::raw_call::{code_of, code_of_bare, code_of_load};
use crate::process::{Actor, PoolError, Portable, ProcessPool, WorkerRange};
use crate::sys::processors;
use crate::task::{TaskError, TaskReport};
use trefoil_os::host::handover::CARRIES;
use trefoil_os::host::private_memory::Meter;

/// The settings of a [`ProcessPool`], from [`ProcessPool::builder`].
///
/// ```
/// use std::time::Duration;
/// use trefoil::{ProcessPool, WorkerStdout};
///
/// # trefoil::init();
/// let procs = ProcessPool::builder()
///     .workers(2)
///     .env("LANG", "C")
///     .worker_stdout(WorkerStdout::Null)
///     .grace(Duration::from_millis(5))
///     .build()?;
/// let lang = procs.spawn((), |()| std::env::var("LANG").unwrap_or_default());
/// assert_eq!(lang.join()?, "C");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder builds nothing until `build`"]
pub struct ProcessPoolBuilder {
    launcher: Option<Box<dyn Launcher>>,
    /// What fraction of the machine's memory items may need together.
    physical_cores: bool,
    /// A number that the user has set.
    threads_per_worker: Option<usize>,
    initializer: Option<Result<Initializer, TaskError>>,
    #[cfg(feature = "tracing")]
    forward_events: Option<tracing::Level>,
    /// How an actor's workers load its value.
    load: Option<Result<Initializer, TaskError>>,
    after_fork: Option<Result<Initializer, TaskError>>,
    settings: Settings,
}

impl ProcessPoolBuilder {
    pub(in crate::process) fn new() -> Self {
        Self {
            launcher: None,
            physical_cores: false,
            threads_per_worker: None,
            initializer: None,
            #[cfg(feature = "tracing")]
            forward_events: None,
            load: None,
            after_fork: None,
            settings: Settings::new(),
        }
    }

    /// The number of processes. 0, the default: the number of processors that this process may use,
    /// or what the [launcher](Self::launcher) has room for.
    ///
    /// With a range there are as many as the work asks for, within these bounds: another worker is
    /// started for items that wait longer than a start takes, with its initializer (at least 5 ms;
    /// with a launcher, 300), and one that has been idle for the
    /// [`idle_timeout`](Self::idle_timeout) leaves. [`ProcessPool::set_workers`] sets other bounds
    /// later.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(0..=2).build()?;
    /// assert_eq!(procs.stats().workers, 0); // until there is work
    /// assert_eq!(procs.map(0..3, |n: u32| n + 1)?, [1, 2, 3]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("with_workers", "processes", "n_jobs", "max_workers"))]
    pub fn workers(mut self, workers: impl WorkerRange) -> Self {
        let (least, most) = workers.bounds();
        self.settings.asked = (most > 0).then_some(most);
        self.settings.least = (least != most).then_some(least);
        self
    }

    /// For how long a worker is idle before it leaves, if there are more than the least of
    /// [`workers`](Self::workers). Default: 30 seconds, or what a [launcher](Self::launcher) says.
    /// Without a range nothing leaves.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(0..=2).idle_timeout(Duration::from_millis(10)).build()?;
    /// assert_eq!(procs.spawn(6, |n: u32| n * 7).join()?, 42);
    /// while procs.stats().workers > 0 {
    ///     std::thread::sleep(Duration::from_millis(5)); // until the worker has left
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.settings.idle = Some(idle);
        self
    }

    /// Whether the default width is the number of physical cores instead of logical processors: for
    /// computations that gain nothing from a core's second hardware thread. Default: no.
    ///
    /// It is never more than this process may use. [`workers`](Self::workers) takes precedence, and
    /// so does what a [launcher](Self::launcher) has room for. If the system does not report its
    /// cores, as in some virtual machines, it is the number of logical processors.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().physical_cores(true).build()?;
    /// assert!(procs.worker_pids().len() <= std::thread::available_parallelism()?.get());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn physical_cores(mut self, physical: bool) -> Self {
        self.physical_cores = physical;
        self
    }

    /// How many processors the default width leaves free, for other programs or for the parent.
    /// Default: none. The pool has at least one worker, whatever this number is.
    ///
    /// With [`physical_cores`](Self::physical_cores), so many cores are left free; with a
    /// [launcher](Self::launcher), so many of its workers are left out.
    /// [`workers`](Self::workers) takes precedence.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().leave_free(1).build()?; // joblib's n_jobs=-2
    /// let processors = std::thread::available_parallelism()?.get();
    /// assert_eq!(procs.num_workers(), (processors - 1).max(1));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn leave_free(mut self, processors: usize) -> Self {
        self.settings.left_free = processors;
        self
    }

    /// How many threads libraries are to start in each worker. Default: the number of processors
    /// divided by the number of workers, rounded down, at least 1; so workers that use all
    /// processors together do not start as many threads each.
    ///
    /// It is the value of `TREFOIL_THREADS` (the default width of a worker's own
    /// [`ThreadPool`](crate::ThreadPool)s), `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`,
    /// `OPENBLAS_NUM_THREADS` and `MKL_NUM_THREADS` in the workers' environment. The default leaves
    /// a variable alone that this process has in its environment, empty or not; a number set here
    /// does not. `None`: no variable is set. What [`env`](Self::env) or
    /// [`env_for`](Self::env_for) says about a variable counts in any case. This process's own environment is never changed.
    ///
    /// A pool whose number of workers changes divides by the largest. A [launcher](Self::launcher)
    /// on this machine sets the same variables, and one for other machines sets what is right
    /// there, as far as it knows. A pool that is made within a worker finds the variables set, and
    /// its workers inherit them.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// let threads = |()| std::env::var("OMP_NUM_THREADS").ok();
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).threads_per_worker(Some(3)).build()?;
    /// assert_eq!(procs.spawn((), threads).join()?.as_deref(), Some("3"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn threads_per_worker(mut self, threads: Option<usize>) -> Self {
        self.settings.shares = false;
        self.threads_per_worker = threads.map(|threads| threads.max(1));
        self
    }

    /// Makes every worker, including replacements, run `f(arg)` before its first item. A second
    /// call of this method replaces the first.
    ///
    /// `arg` is encoded at once, and decoded by each worker. `f` stores its results where items can
    /// find them, in a `static` for example.
    ///
    /// [`build`](Self::build) does not wait for it. If `f` panics, or `arg` cannot be decoded, the
    /// pool is unusable: every task ends with that error, now and later, and no more workers are
    /// started. If `f` ends its process, a few more workers are started, at growing intervals; then
    /// tasks end with [`WorkerDied`](TaskError::WorkerDied). There is no time limit for `f`.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use trefoil::ProcessPool;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder()
    ///     .workers(1)
    ///     .initializer(5, |size: u64| { TABLE.set((0..size).map(|n| n * n).collect()).unwrap() })
    ///     .build()?;
    /// assert_eq!(procs.spawn(3, |n: usize| TABLE.get().unwrap()[n]).join()?, 9);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<A: Portable>(mut self, arg: A, f: fn(A)) -> Self {
        self.initializer = Some(client::initializer(&arg, code_of(f)));
        self
    }

    /// How workers come into being. Default: [`StartMethod::Spawn`].
    ///
    /// With [`StartMethod::ForkServer`] (on Linux) the pool starts one more process. It runs `main`
    /// up to [`init`](crate::init) and the [initializer](Self::initializer) once, and is then
    /// copied for each worker: a new worker takes a fraction of a millisecond, however long the
    /// initializer took, and all workers share the memory that it has filled, until they write to
    /// it. If the server dies, running workers go on, and a new one is started.
    ///
    /// **A server has one thread.** A copy has only the thread that made it, so the server checks
    /// before each copy that it is alone. If the initializer leaves a thread running, which is
    /// waited for two seconds, the pool fails, and the error of each call names the thread: start
    /// it in [`after_fork`](Self::after_fork) instead.
    ///
    /// **What workers share.** They begin with the same memory and the same addresses; with the
    /// same state of random generators, of `HashMap`'s keys and of thread-locals of the first
    /// thread; with the same open files, whose positions they share; and with the environment and
    /// the working directory that the server has. What is registered by `pthread_atfork` is not
    /// called.
    ///
    /// **What differs.** [`worker_index`](crate::process::worker_index) is `None` in the
    /// initializer, and known in `after_fork`; [`env_for`](Self::env_for) and
    /// [`pin_to`](Self::pin_to) hold from `after_fork` on. A
    /// [`memory_limit`](Self::memory_limit) counts what a worker does not share with the server,
    /// and does not hold for the initializer. What the initializer prints goes to `on_output` with
    /// the server's process id, which is not among [`worker_pids`](crate::ProcessPool::worker_pids);
    /// that list is empty until the initializer has ended.
    /// A child process that the initializer starts ends with the server.
    ///
    /// `build` fails on other systems and C libraries and with [plain](Self::plain_workers) workers
    /// ([`PoolError::Start`]), and with a [launcher](Self::launcher) ([`PoolError::Launcher`]).
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use trefoil::ProcessPool;
    /// use trefoil::process::StartMethod;
    ///
    /// static TABLE: OnceLock<(u32, Vec<u64>)> = OnceLock::new();
    ///
    /// # trefoil::init();
    /// # if !cfg!(all(target_os = "linux", target_env = "gnu")) { return Ok(()); }
    /// let procs = ProcessPool::builder()
    ///     .workers(2)
    ///     .initializer(1_000_000, |size: u64| {
    ///         TABLE.set((std::process::id(), (0..size).collect())).unwrap(); // once, in the server
    ///     })
    ///     .start_method(StartMethod::ForkServer)
    ///     .build()?;
    /// let servers = procs.map(0..100, |n: usize| TABLE.get().unwrap().0 + n as u32 * 0)?;
    /// assert!(servers.iter().all(|pid| *pid == servers[0]));
    /// assert!(!procs.worker_pids().contains(&servers[0]));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.settings.start_method = method;
        self
    }

    /// Makes every worker call `f` before its first item, after the
    /// [initializer](Self::initializer); with either [start method](Self::start_method). A second
    /// call of this method replaces the first.
    ///
    /// With a [fork server](StartMethod::ForkServer) this is the place for what copies must not
    /// share: start threads, open connections, give random generators a new state. If `f` panics,
    /// the pool fails as after a panic of the initializer.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use trefoil::ProcessPool;
    /// use trefoil::process::worker_index;
    ///
    /// static NAME: OnceLock<String> = OnceLock::new();
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder()
    ///     .workers(2)
    ///     .after_fork(|| NAME.set(format!("worker {}", worker_index().unwrap())).unwrap())
    ///     .build()?;
    /// assert!(procs.spawn((), |()| NAME.get().cloned()).join()?.unwrap().starts_with("worker "));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn after_fork(mut self, f: fn()) -> Self {
        self.after_fork = Some(client::initializer(&(), code_of_bare(f)));
        self
    }

    /// How much memory, in bytes, one item may allocate, and how much a worker may hold between
    /// items.
    ///
    /// An allocation beyond it fails. In Rust that ends the item's worker, as a rule: its task ends
    /// with [`WorkerDied`](TaskError::WorkerDied), whose
    /// [`out_of_memory`](crate::WorkerExit::out_of_memory) is true. Code in C gets `NULL`, and may
    /// continue. A worker whose private resident memory is larger than this after an item is
    /// replaced, so leaks of items do not add up. It runs further items until its successor is
    /// [ready](Self::replace_first); with more than one and a half times the limit, none (of items
    /// of some microseconds: a few). At most a worker has two and a half times the limit, and what
    /// the program needs; its successor comes in addition.
    /// Memory that is mapped as shared does not count, nor does what the kernel keeps for a
    /// process: files in memory (`memfd_create`, `/dev/shm`), System V's shared memory, pipes,
    /// sockets. Only a control group limits those. The stacks of threads do count, with their whole
    /// size (8 MiB for each thread of a `ThreadPool`), and beyond the limit no thread starts. An
    /// initializer counts as an item.
    ///
    /// macOS has no such limit: there `build` fails with [`PoolError::Start`]. On FreeBSD addresses
    /// count, also those of files that an item maps. On Windows committed memory counts, and each
    /// worker is in a job object of its own: if the system refuses that, workers fail to start,
    /// with an error that says so.
    ///
    /// Costs a few microseconds per item, or less for short items. Processes that a task starts
    /// inherit the limit.
    ///
    /// ```
    /// use std::hint::black_box; // or the optimizer allocates nothing
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// fn fill(bytes: usize) -> usize {
    ///     black_box(vec![1u8; bytes]).len()
    /// }
    ///
    /// # trefoil::init();
    /// # if cfg!(target_os = "macos") { return Ok(()); }
    /// let procs = ProcessPool::builder().workers(1).memory_limit(64 << 20).build()?;
    /// let much = procs.spawn(1 << 30, fill).join();
    /// let Err(TaskError::WorkerDied(exit)) = much else { panic!("{much:?}") };
    /// assert!(exit.out_of_memory());
    /// assert_eq!(procs.spawn(1 << 20, fill).join()?, 1 << 20);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory = Some(bytes.max(1));
        self
    }

    /// Whether a worker that crashes may write a core file, for a debugger. Default: no, because a
    /// pool continues, and might fill the disk.
    ///
    /// With `true` workers have the limit that this program has (`ulimit -c`), which often is 0:
    /// then there are still none, except where they go to a program. Where they go, and whether
    /// they do, the system decides: Linux by `/proc/sys/kernel/core_pattern`. A pattern that begins
    /// with `|` names a program that gets the whole memory of the dead process, as systemd-coredump
    /// and apport do; it is started even if the limit is 0. So without this setting a worker's
    /// limit is one byte, which stops that program, too. The kernel writes before the process has
    /// ended: with a large core file the caller learns of the death that much later.
    ///
    /// The limit holds for what items start, too. (Before a worker has greeted its pool, in the
    /// code before [`init`](crate::init), the program's own limit holds.) Workers on Windows have
    /// no core files; there `true` leaves the dialog that a crash may show, which waits for a user.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).core_dumps(true).build()?;
    /// assert_eq!(procs.spawn(6, |n: u32| n * 7).join()?, 42);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn core_dumps(mut self, may: bool) -> Self {
        self.settings.cores = may;
        self
    }

    /// Calls `hook` with each item that ran and ended in [`WorkerDied`](TaskError::WorkerDied),
    /// [`TimedOut`](TaskError::TimedOut), [`Panicked`](TaskError::Panicked) or
    /// [`Codec`](TaskError::Codec), before its error reaches the caller: with its argument as it
    /// was sent, for a log, a queue of what must be looked at, or a file. Default: none.
    ///
    /// It runs on a helper thread, and may wait for what it likes, also for calls on this pool: the
    /// error comes that much later, and no other item waits. Only its own call ends after it: to
    /// wait for that is [`WouldBlock`](TaskError::WouldBlock) there. Calls that it makes have no hook. (If
    /// no thread can be started, it is not called.) What it passes to [`FailedItem::note`] is then
    /// in the error ([`TaskError::note`]). A panic in it is contained.
    /// A [call's own](crate::ProcessCall::on_failed_item) takes its place. The crate
    /// `trefoil-capsules` has a hook that keeps the items as files, and runs them again.
    ///
    /// It does not get what did not run (its argument could not be encoded, or its time was up
    /// before). Nor does it get an item of a `map` or `imap` that runs when
    /// [`within`](crate::ProcessCall::within) ends their call, or any that runs when
    /// [`max_restarts`](Self::max_restarts) ends all (and of many, the error of the one that dies
    /// then has no note); nor one that `within` ends while it waits for a retry, or its result is
    /// being decoded.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).on_failed_item(|failed| {
    ///     let argument = failed.argument().decode::<u32>();
    ///     failed.note(format!("the argument was {argument:?}"));
    /// });
    /// let procs = procs.build()?;
    /// let error = procs.spawn(7, |n: u32| if n == 7 { std::process::abort() }).join().unwrap_err();
    /// assert_eq!(error.note(), Some("the argument was Ok(7)"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_failed_item(mut self, hook: impl Fn(&FailedItem) + Send + Sync + 'static) -> Self {
        self.settings.policy.on_failed = Some(OnFailedItem::new(hook));
        self
    }

    /// Replaces a worker after this many items, at least one: for code that leaks.
    ///
    /// No worker begins more. It may have fewer, because [its successor is ready
    /// first](Self::replace_first): that is started some items before the end, by about two starts,
    /// as long as they took lately (after 16 items or a quarter at the earliest, and at the latest
    /// with the last eighth), and the worker leaves when it is ready. With few items, or a start
    /// that takes longer than they last, the worker stops at its number although its successor is
    /// not ready; with 1 its successor is started with the item.
    ///
    /// Workers that begin together do not end together: of `w` first workers, number `k` has the
    /// fewer items the lower it is, by `tasks / 2 * (w - 1 - k) / w`.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).max_tasks_per_worker(3).build()?;
    /// let mut items: HashMap<u32, usize> = HashMap::new();
    /// for pid in procs.map(0..10, |_: u32| std::process::id())? {
    ///     *items.entry(pid).or_default() += 1;
    /// }
    /// assert!(items.len() > 3 && items.values().all(|count| *count <= 3));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_tasks_per_worker(mut self, tasks: usize) -> Self {
        self.settings.policy.replace_after = Some(tasks.max(1) as u64);
        self
    }

    /// Whether a worker that is to be replaced stays until the next one has run its initializers.
    /// Default: yes, so that no item waits for a start.
    ///
    /// That is so for [`max_tasks_per_worker`](Self::max_tasks_per_worker), for a worker that holds
    /// more than its [`memory_limit`](Self::memory_limit) between items (up to one and a half times
    /// as much), and for [`replace_worker`](crate::ProcessPool::replace_worker). One that has called
    /// [`retire`](crate::process::retire), or has had its number of items, takes no more; its
    /// successor is started at once, while it ends. If the successor cannot be started, it is tried
    /// again after pauses as any worker, and the old one goes on; if its initializer fails, so does
    /// the pool.
    ///
    /// No more items run at a time than there are workers: the next one gets its first when the old
    /// one runs none. Both have the same [index](crate::process::worker_index), variables and processors for a
    /// while. With `false` the old one leaves first: where there is no memory for both, or where
    /// each has something of its own that only one process can have, such as a port. Workers of an
    /// [`Actor`] and of a [launcher](Self::launcher) always leave first, and so do
    /// those of a pool that ends.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(2).max_tasks_per_worker(10).replace_first(false);
    /// let procs = procs.build()?;
    /// assert_eq!(procs.map(0..100, |n: u64| n)?.len(), 100);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace_first(mut self, first: bool) -> Self {
        self.settings.policy.replace_first = first;
        self
    }

    /// How many times, at most, workers are restarted within a period: one death more, and the pool
    /// gives up. Default: no limit.
    ///
    /// All deaths count that [`died`](crate::ProcessStats::died) counts, those of workers that were
    /// killed in a cancelled or late item included. Then all other tasks of the pool, those of
    /// later calls, too, end in [`WorkerDied`](TaskError::WorkerDied), with the exit of the last
    /// worker and a message that names this limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).max_restarts(1, Duration::from_secs(60)).build()?;
    /// let crash = || procs.spawn(3, |code: i32| -> () { std::process::exit(code) }).join();
    /// assert!(crash().is_err() && procs.spawn(6, |n: u64| n * 7).join()? == 42);
    /// assert!(crash().is_err() && procs.spawn(6, |n: u64| n * 7).join().is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_restarts(mut self, times: u32, period: Duration) -> Self {
        self.settings.policy.max_restarts = Some((times, period));
        self
    }

    /// Whether workers are *plain*: connected only by a framed stream of bytes. Default: no. On
    /// macOS, FreeBSD and Windows all workers are plain, whatever is set here ([docs/PLATFORM.md]).
    ///
    /// A plain worker shares no memory with the pool, and no descriptor is sent to it. The pool's
    /// guarantees are the same, with these exceptions, and it is slower, since a worker reports the
    /// start of each item:
    ///
    /// - [`SharedAtomics`](crate::process::SharedAtomics), [`Permits`](crate::process::Permits),
    ///   [`Attachment`](crate::process::Attachment)s and the ends of a
    ///   [`channel`](crate::process::channel()) cannot be sent: a call with one ends with
    ///   [`TaskError::Codec`], and a pool whose initializer has one is not built
    ///   ([`PoolError::Initializer`]).
    /// - A [`Bulk`](crate::process::Bulk) is sent over the stream, and so is a
    ///   [`Shared`](crate::process::Shared): once to each worker, which keeps it as long as this
    ///   process does (the last 64, and at most 512 MiB). In a result it is another copy.
    /// - A plain worker returns items only on request. One that was stopped by a signal does not
    ///   answer, and is killed a second later (a launcher's after thirty), so that items it has not
    ///   begun run elsewhere. If it was stopped in an item that is still wanted, it is not killed,
    ///   and the items sent after that one wait with it.
    /// - The [last output](crate::WorkerExit::stderr_tail) of a dead worker may begin with output
    ///   of earlier items, back to when it was last idle, and because of that output it may count
    ///   as [out of memory](crate::WorkerExit::out_of_memory).
    /// - A worker that crashes leaves no backtrace, and one that is
    ///   sent a `SIGSEGV` or `SIGBUS` survives the first.
    /// - A worker that hangs before `init` may outlive a parent that was killed meanwhile.
    ///
    /// With `TREFOIL_PLAIN_WORKERS=1` in its environment, a program's pools have plain workers
    /// unless they set otherwise here, and so has each [`Process`](crate::Process): to test code
    /// that will run on another system or machine.
    ///
    /// [docs/PLATFORM.md]: crate::_documentation::platform
    ///
    /// ```
    /// use trefoil::{ProcessPool, TaskError};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(2).plain_workers(true).build()?;
    /// assert_eq!(procs.map(0..100, |n: u32| n + 1)?.len(), 100);
    /// let accident = procs.spawn(3, |code: i32| -> () { std::process::exit(code) });
    /// assert!(matches!(accident.join(), Err(TaskError::WorkerDied(exit)) if exit.code() == Some(3)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn plain_workers(mut self, plain: bool) -> Self {
        self.settings.plain = plain || !CARRIES;
        self
    }

    /// Lets `launcher` start the workers: by a command line or in a sandbox (the crate
    /// `trefoil-sandbox`), on other machines (`trefoil-machines`), or in any other way
    /// ([`Launcher`], which has an example).
    ///
    /// They are [plain](Self::plain_workers), whatever that setting is. [`build`](Self::build) then
    /// takes as long as the launcher needs to find out whether it can start workers. A variable
    /// that is set by [`env`](Self::env) is set there; which others there are depends on the
    /// launcher. What tasks print on standard output goes to standard error, or where the launcher
    /// directs it: only [`WorkerStdout::Null`] changes that; [`WorkerStdout::Capture`] and
    /// [`on_output`](Self::on_output) make `build` fail ([`PoolError::Launcher`]).
    pub fn launcher(mut self, launcher: impl Launcher) -> Self {
        self.launcher = Some(Box::new(launcher));
        self
    }

    /// Sets a variable in the workers' environment, which otherwise is the parent's, with the
    /// variables of [`threads_per_worker`](Self::threads_per_worker).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).env("MODEL", "small").build()?;
    /// assert_eq!(procs.spawn((), |()| std::env::var("MODEL").ok()).join()?.as_deref(), Some("small"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings
            .variables
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets variables in the environment of each worker, by its
    /// [index](crate::process::worker_index): a device, a port, a directory of its own. They take
    /// precedence over those of [`env`](Self::env).
    ///
    /// `variables` is called before each start of a worker, on the pool's driver thread, and must
    /// be short. If it panics, or returns a name that is empty or contains `=` or NUL, or a value
    /// that contains NUL, the start has failed: at first that is the error of `build`, and later it
    /// is repeated as others are. It is for workers that this process starts itself: with a
    /// [launcher](Self::launcher), `build` fails, and a worker can ask for its index instead, in
    /// the [initializer](Self::initializer).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder()
    ///     .workers(2)
    ///     .env_for(|index| [("CUDA_VISIBLE_DEVICES", index.to_string())])
    ///     .build()?;
    /// let device = procs.spawn((), |()| std::env::var("CUDA_VISIBLE_DEVICES").unwrap());
    /// assert!(["0", "1"].contains(&device.join()?.as_str()));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn env_for<V, K, T>(
        mut self,
        variables: impl Fn(usize) -> V + Send + Sync + 'static,
    ) -> Self
    where
        V: IntoIterator<Item = (K, T)>,
        K: AsRef<OsStr>,
        T: AsRef<OsStr>,
    {
        let owned = |(key, value): (K, T)| (key.as_ref().to_owned(), value.as_ref().to_owned());
        let variables = move |index| variables(index).into_iter().map(owned).collect();
        self.settings.variables_for = Some(Arc::new(variables));
        self
    }

    /// Lets each worker run only on these processors, by its
    /// [index](crate::process::worker_index): on the cores of one socket, or on the one near its
    /// device. A worker that takes the place of another gets the same ones.
    ///
    /// A worker is pinned before its first instruction, with all threads and processes that it
    /// starts. Processors have the numbers that the system gives them, as in `/proc/cpuinfo`.
    /// `processors` is called before each start of a worker, on the pool's driver thread, and must
    /// be short. If it panics, or its set is empty, or this process may not use all of the set, the
    /// start has failed: at first that is the error of `build` ([`PoolError::Start`]), and later it
    /// is repeated as others are.
    ///
    /// The default of [`threads_per_worker`](Self::threads_per_worker) does not know these sets.
    ///
    /// On systems other than Linux, `build` fails. It also fails with a [launcher](Self::launcher)
    /// ([`PoolError::Launcher`]): there, pin the workers by its command line, or in the
    /// [initializer](Self::initializer).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// # if !cfg!(target_os = "linux") { return Ok(()); }
    /// // Each worker has one processor to itself.
    /// let processors = std::thread::available_parallelism()?.get();
    /// let procs = ProcessPool::builder().workers(2).pin_to(move |index| [index % processors]).build()?;
    /// let width = |()| std::thread::available_parallelism().map_or(0, usize::from);
    /// assert_eq!(procs.spawn((), width).join()?, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn pin_to<C: IntoIterator<Item = usize>>(
        mut self,
        processors: impl Fn(usize) -> C + Send + Sync + 'static,
    ) -> Self {
        let processors = move |index| processors(index).into_iter().collect();
        self.settings.processors_for = Some(Arc::new(processors));
        self
    }

    /// The destination of the workers' standard output. Default: the parent's.
    ///
    /// `cargo test` shows it even if the test passes: it captures what its own process prints with
    /// `print!`, not what is written to the descriptor that a worker inherits. To have it captured,
    /// print it again, on the driver thread of a pool that the test has built:
    /// `.on_output(|_pid, bytes| print!("{}", String::from_utf8_lossy(bytes)))`.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    /// use trefoil::process::WorkerStdout;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).worker_stdout(WorkerStdout::Null).build()?;
    /// procs.spawn((), |()| println!("nobody reads this")).join()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_stdout(mut self, stdout: WorkerStdout) -> Self {
        self.settings.stdout = stdout;
        self
    }

    /// Captures the workers' standard output, unless [`worker_stdout`](Self::worker_stdout) is
    /// called later: `hook` gets the worker's process id and a piece of its output at a time.
    ///
    /// An item's output (if flushed, as `println!` does) is passed to the hook before its task
    /// ends, unless that is cancelled or late. The hook runs on the pool's driver thread and must
    /// be short; a panic in it is contained. With [`WorkerStdout::Capture`] and no hook the output
    /// is discarded.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let (sender, receiver) = mpsc::channel();
    /// let procs = ProcessPool::builder()
    ///     .workers(1)
    ///     .on_output(move |_pid, bytes| sender.send(bytes.to_vec()).unwrap())
    ///     .build()?;
    /// procs.spawn("Ada".to_owned(), |name: String| println!("hello {name}")).join()?;
    /// assert_eq!(receiver.try_recv()?, b"hello Ada\n");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_output(mut self, hook: impl Fn(u32, &[u8]) + Send + Sync + 'static) -> Self {
        self.settings.on_output = Some(Arc::new(hook));
        self.settings.stdout = WorkerStdout::Capture;
        self
    }

    /// Forwards the workers' events and spans of the crate tracing, up to `level`, to the
    /// subscriber that is current where the pool is [built](Self::build). Default: none is
    /// forwarded.
    ///
    /// They have the target `trefoil::worker`, and fields for the worker, the call, the item and
    /// the place: [`adapters::tracing`](crate::adapters::tracing#events-of-worker-processes) lists
    /// them. The subscriber is asked when a worker starts whether it listens to that target, and up
    /// to which level: what nobody listens to is not sent. It runs on the pool's driver thread and
    /// must be short; a panic in it is contained.
    ///
    /// A worker never waits because of an event. If events come faster than the subscriber takes
    /// them, some are dropped, and an event (`WARN`) has their number.
    ///
    /// ```
    /// use tracing::Level;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// // A subscriber of your choice, e.g. tracing_subscriber::fmt().init(); then
    /// let procs = ProcessPool::builder().workers(1).forward_events(Level::INFO).build()?;
    /// procs.map(0..3, |n: u32| tracing::info!(n, "halfway"))?; // an event here
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tracing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
    pub fn forward_events(mut self, level: tracing::Level) -> Self {
        self.forward_events = Some(level);
        self
    }

    /// How long an item may still run after it was cancelled or timed out, before its worker is
    /// killed. Default: 20 ms.
    ///
    /// Its [token](crate::CancelToken::current) is set at once. If the item checks it, and ends in
    /// this time, its worker stays alive.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{CancelToken, ProcessPool};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).grace(Duration::from_secs(5)).build()?;
    /// let pid = procs.spawn((), |()| std::process::id()).join()?;
    /// let polite = procs.call(|()| while !CancelToken::current().is_cancelled() {});
    /// let late = polite.timeout(Duration::from_millis(20)).spawn(()).join();
    /// assert!(late.is_err()); // it ended as soon as its token was set,
    /// assert_eq!(procs.spawn((), |()| std::process::id()).join()?, pid); // so its worker lives
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.policy.grace = grace;
        self
    }

    /// Called with each failure of this pool's tasks (not of an `imap`'s items) that is never
    /// taken, instead of [the process's hook](crate::on_unobserved).
    ///
    /// The hook runs on a thread of this crate, or where the task's handle is dropped, and must be
    /// short.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let (sender, receiver) = mpsc::channel();
    /// let procs = ProcessPool::builder()
    ///     .workers(1)
    ///     .on_unobserved(move |report| drop(sender.send(report.to_string())))
    ///     .build()?;
    /// procs.spawn((), |()| -> () { panic!("unheard") }).detach();
    /// assert!(receiver.recv()?.contains("unheard"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.settings.unobserved = Some(Arc::new(hook));
        self
    }

    /// Starts the workers.
    ///
    /// Takes about a millisecond for each, whatever the size of this process; they initialise in
    /// parallel. If this process has closed its standard input, output or error by now,
    /// `/dev/null` is opened in its place, so that no descriptor of the pool gets its number.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(2).build()?;
    /// assert_eq!(procs.map(1..=3, |n: u32| n * n)?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`PoolError`]. No process is left running then.
    pub fn build(self) -> Result<ProcessPool, PoolError> {
        ProcessPool::start(self.settings()?)
    }

    /// Starts an [`Actor`] instead of a pool: [`workers`](Self::workers) copies of it, by default
    /// one.
    ///
    /// Each worker runs the [initializer](Self::initializer), if there is one, and then
    /// `load(arg)`. The rest is as for [`ProcessPool::actor`](crate::ProcessPool::actor).
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let builder = ProcessPool::builder().max_restarts(3, Duration::from_secs(60));
    /// let log = builder.build_actor((), |()| Vec::new())?;
    /// log.call("one".to_owned(), |line, log: &mut Vec<String>| log.push(line)).join()?;
    /// assert_eq!(log.call((), |(), log| log.len()).join()?, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_actor<A: Portable, S: 'static>(
        mut self,
        arg: A,
        load: fn(A) -> S,
    ) -> Result<Actor<S>, PoolError> {
        self.load = Some(client::initializer(&arg, code_of_load(load)));
        self.settings.asked.get_or_insert(1);
        Actor::start(self.settings()?)
    }

    pub(in crate::process) fn settings(self) -> Result<Settings, PoolError> {
        let mut settings = self.settings;
        settings.depth = entry::depth()?;
        #[cfg(feature = "tracing")]
        {
            settings.events = self.forward_events.map(EventListener::new);
        }
        // Errors that can be found without another machine come first.
        settings.asked.map(checked).transpose()?;
        check_bounds(settings.least, settings.asked)?;
        settings.plain |= self.launcher.is_some();
        if let Some(threads) = self.threads_per_worker {
            settings.limit_threads(threads, |_| true);
        }
        for initializer in self.initializer.into_iter().chain(self.load) {
            settings.add_initializer(initializer)?;
        }
        let after_fork = self.after_fork.transpose();
        settings.after_fork = after_fork.map_err(PoolError::Initializer)?;
        if settings.start_method == StartMethod::ForkServer {
            check_fork_server(self.launcher.is_some(), settings.plain)?;
        }
        if let Some(launcher) = self.launcher {
            settings.workers = checked(prepare(launcher, &mut settings)?)?;
            return Ok(settings);
        }
        if settings.memory.is_some() {
            Meter::new()?; // workers here are as able as this process
        }
        let logical = processors::logical(); // (reads several files)
        let slots = if self.physical_cores {
            processors::physical()
        } else {
            logical
        };
        settings.workers = checked(settings.program().width(slots))?;
        settings.set_bounds(settings.workers);
        if settings.shares {
            let threads = share(logical, settings.workers);
            settings.limit_threads(threads, |name| std::env::var_os(name).is_none());
        }
        Ok(settings)
    }
}

/// Makes `launcher` ready for a pool. Returns the number of workers.
fn prepare(mut launcher: Box<dyn Launcher>, settings: &mut Settings) -> Result<usize, PoolError> {
    check_launched(settings)?;
    let program = settings.program();
    let can = launcher.prepare(&program)?;
    let most = program.width(can.slots);
    if let Some((least, idle)) = can.elastic {
        settings.policy.elastic = Some(Elastic { least, most });
        settings.policy.idle = idle;
    }
    settings.set_bounds(most);
    let policy = &mut settings.policy;
    policy.starts_far = true;
    policy.replace_first = false; // it has so many places, and starts none that lives
    check_elastic(policy.elastic, most)?;
    policy.patience = policy.patience.max(PATIENCE_ELSEWHERE);
    policy.grace = policy.grace.saturating_add(can.latency);
    settings.unenforced = can.unenforced;
    settings.launcher = Some(launcher.into());
    Ok(most)
}

impl ProcessPool {
    /// A pool with as many workers as there are CPUs that this process may use.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::new()?;
    /// assert_eq!(procs.map(1..=3, |n: u32| n * n)?, [1, 4, 9]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new() -> Result<Self, PoolError> {
        Self::builder().build()
    }

    /// A pool with `workers` processes; 0 means the default, as in [`new`](Self::new).
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// assert_eq!(procs.num_workers(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn with_workers(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with settings.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(2).max_tasks_per_worker(1_000).build()?;
    /// assert_eq!(procs.spawn(6, |n: u32| n * 7).join()?, 42);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::new()
    }
}

debug!(
    impl ProcessPoolBuilder,
    self,
    workers = self.settings.asked,
    physical_cores = self.physical_cores,
    left_free = self.settings.left_free,
    threads_per_worker = self.threads_per_worker,
    variables = self.settings.variables,
    stdout = self.settings.stdout,
    grace = self.settings.policy.grace,
    initializer = self.initializer.is_some(),
    memory_limit = self.settings.memory,
    max_tasks_per_worker = self.settings.policy.replace_after,
    replace_first = self.settings.policy.replace_first,
    plain_workers = self.settings.plain,
    start_method = self.settings.start_method
);
