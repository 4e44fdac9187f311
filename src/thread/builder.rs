//! The settings of a pool of threads.
//!
//! **Job.** [`ThreadPoolBuilder`] collects them. `config.rs` has the resulting values and the
//! defaults.
//!
//! Tests: `tests/thread/pool.rs::{hooks_run_on_each_worker_and_their_panics_are_contained,
//! the_width_follows_the_environment}`, `tests/thread/handles.rs::threads_are_named_by_a_function`.

use std::io;

use super::engine::config::{Config, width, width_of};
use super::pool::ThreadPool;
use crate::loom::Arc;
use crate::sys::processors;
use crate::task::TaskReport;
use crate::task::panic::{catch, contain};

/// The settings of a [`ThreadPool`], from [`ThreadPool::builder`].
///
/// ```
/// let pool = trefoil::ThreadPool::builder().threads(2).name("crunch").build()?;
/// let name = pool.install(|| std::thread::current().name().map(str::to_owned));
/// assert!(name.unwrap().starts_with("crunch-"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub struct ThreadPoolBuilder {
    config: Config,
    /// The settings that were made.
    caller_helps: Option<bool>,
}

impl ThreadPoolBuilder {
    /// How many threads run tasks; while some of them block, others stand in for them. 0, the
    /// default: the value of the environment variable
    /// `TREFOIL_THREADS`, if that is a number from 1 to 4,096; otherwise the number of processors
    /// for this process (by its affinity and its cgroup's quota; at least one). In the variable, -1
    /// means all processors, -2 all but one, and so on, as joblib's `n_jobs` does. Any other value
    /// (except 0 and the empty text, which mean the default) is reported by one line on standard
    /// error, once in a process.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(3).build()?;
    /// assert_eq!(pool.num_threads(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn threads(mut self, threads: usize) -> Self {
        self.config.threads = threads;
        self
    }

    /// Whether the default width is the number of physical cores instead of logical processors: for
    /// computations that gain nothing from a core's second hardware thread. Default: no.
    ///
    /// It is never more than this process may use, and [`threads`](Self::threads) and a positive
    /// `TREFOIL_THREADS` take precedence. If the system does not report its cores, as in some
    /// virtual machines, it is the number of logical processors.
    ///
    /// ```
    /// let cores = trefoil::ThreadPool::builder().physical_cores(true).build()?;
    /// assert!(cores.num_threads() <= trefoil::ThreadPool::new().num_threads());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn physical_cores(mut self, physical: bool) -> Self {
        self.config.processors = if physical {
            processors::physical
        } else {
            processors::logical
        };
        self
    }

    /// How many processors the default width leaves free, for other programs or other threads of
    /// this one. Default: none. The pool has at least one thread, whatever this number is.
    ///
    /// With [`physical_cores`](Self::physical_cores), so many cores are left free.
    /// [`threads`](Self::threads) and `TREFOIL_THREADS` take precedence.
    ///
    /// ```
    /// let most = trefoil::ThreadPool::builder().leave_free(1).build()?; // joblib's n_jobs=-2
    /// let all = trefoil::ThreadPool::new().num_threads();
    /// # if std::env::var_os("TREFOIL_THREADS").is_some() { return Ok(()); }
    /// assert_eq!(most.num_threads(), (all - 1).max(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leave_free(mut self, processors: usize) -> Self {
        self.config.left_free = processors;
        self
    }

    /// The threads are named `prefix-0`, `prefix-1`, and so on. Default: `trefoil`.
    ///
    /// Inside a task, `std::thread::current().name()` is the name of the thread that runs it. That
    /// need not be a thread of the pool: a thread outside that waits for the task may run it
    /// itself, and keeps its own name (`std` cannot change it). With
    /// [`caller_helps(false)`](Self::caller_helps) it is one of the pool's threads until the pool
    /// is shut down.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(1).name("crunch").build()?;
    /// let name = pool.install(|| std::thread::current().name().map(str::to_owned));
    /// assert_eq!(name.as_deref(), Some("crunch-0"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.config.name = prefix.into();
        self
    }

    /// Names the threads by a function, instead of [`name`](Self::name). The function is called
    /// with a number before each thread is started; numbers of ended threads are reused. Numbers
    /// from the width on are those of spares, which replace waiting threads. It must not use this
    /// pool: the thread that calls it may be in the middle of looking for work, or about to park.
    ///
    /// A zero byte, which no name may contain, becomes `\u{FFFD}`; if the function panics, the
    /// thread has its default name.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(1).thread_name(|n| format!("number {n}")).build()?;
    /// let name = pool.install(|| std::thread::current().name().map(str::to_owned));
    /// assert_eq!(name.as_deref(), Some("number 0"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread_name(mut self, f: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.config.thread_name = Some(Box::new(move |place| match catch(|| f(place)) {
            Ok(name) => Some(name.replace('\0', "\u{FFFD}")),
            Err(panic) => {
                contain(|| drop(panic));
                None
            }
        }));
        self
    }

    /// The stack of each worker, in bytes; at least 64 KiB. Default: 8 MiB, as a main thread
    /// usually has, or what the environment variable `RUST_MIN_STACK` says. With a size set
    /// here, the pool runs its work on its own threads, unless
    /// [`caller_helps(true)`](Self::caller_helps) says otherwise.
    ///
    /// ```
    /// fn deep(levels: u64) -> u64 {
    ///     let frame = std::hint::black_box([levels; 16]);
    ///     if levels == 0 { 0 } else { deep(levels - 1) + frame[0] / levels }
    /// }
    /// let pool = trefoil::ThreadPool::builder().threads(1).stack_size(64 << 20).build()?;
    /// assert_eq!(pool.install(|| deep(50_000)), 50_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Called by each thread of the pool when it starts, with its index: a number below the width.
    /// A spare that replaces a waiting thread gets the index that it begins with. With such a hook,
    /// the pool runs its work on its own threads, unless
    /// [`caller_helps(true)`](Self::caller_helps) says otherwise. A panic in it is contained: the
    /// thread works nevertheless.
    ///
    /// It is also the place to [pin the thread to a processor](crate::_documentation::cookbook),
    /// and to limit the threads of libraries that have their own, where a library can do that for
    /// the calling thread, as OpenMP's `omp_set_num_threads` does. (For worker processes:
    /// [`threads_per_worker`](crate::ProcessPoolBuilder::threads_per_worker).)
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// static STARTED: AtomicUsize = AtomicUsize::new(0);
    ///
    /// // A hook that only counts: a caller may run what it waits for.
    /// let count = |_index| { STARTED.fetch_add(1, Ordering::Relaxed); };
    /// let pool = trefoil::ThreadPool::builder().threads(2).on_start(count).caller_helps(true).build()?;
    /// assert_eq!(pool.spawn(|| 7).join().unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_start(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_start = Some(Box::new(f));
        self
    }

    /// Called by each thread of the pool before it ends, with the same index as `on_start`. A panic
    /// in it is contained. Tasks that it spawns while the pool is shut down are refused: they end
    /// in [`TaskError::Closed`](crate::TaskError::Closed).
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let hook = move |index| sender.send(index).unwrap_or(());
    /// let pool = trefoil::ThreadPool::builder().threads(1).on_exit(hook).build()?;
    /// pool.shutdown(trefoil::Shutdown::Wait);
    /// assert_eq!(receiver.recv().unwrap(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_exit(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_exit = Some(Box::new(f));
        self
    }

    /// Called with each failure of this pool's tasks (not of an `imap`'s items) that is never
    /// taken, instead of the process's hook (see [`on_unobserved`](crate::on_unobserved)).
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let pool = trefoil::ThreadPool::builder()
    ///     .threads(1)
    ///     .on_unobserved(move |report| { let _ = sender.send(report.error().to_string()); })
    ///     .build()?;
    /// pool.spawn(|| panic!("unheard")).detach();
    /// assert!(receiver.recv().unwrap().contains("unheard"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.config.unobserved = Some(Arc::new(hook));
        self
    }

    /// Whether a thread outside the pool that waits may run the awaited work itself. Default: yes;
    /// with a [`stack_size`](Self::stack_size) or an [`on_start`](Self::on_start) no, because the
    /// caller has neither that stack nor the hook's effects.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(1).caller_helps(false).build()?;
    /// let here = std::thread::current().id();
    /// let task = pool.spawn(|| std::thread::current().id());
    /// assert_ne!(task.join().unwrap(), here);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn caller_helps(mut self, helps: bool) -> Self {
        self.caller_helps = Some(helps);
        self
    }

    /// No two running threads have the same index, which only the pool's own threads have; so a
    /// wait may end later (`engine/registry/exclusive_indices.rs`). For `crates/rayon-core`.
    #[doc(hidden)]
    pub fn exclusive_indices(mut self) -> Self {
        self.config.exclusive_indices = true;
        self.caller_helps(false)
    }

    /// Makes the pool and starts its threads.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(2).build()?;
    /// assert_eq!(pool.map(&[1, 2, 3], |n| n * n), [1, 4, 9]);
    ///
    /// let error = trefoil::ThreadPool::builder().threads(1_000_000).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the system refuses a thread (those already started, and their hooks, have ended), if the
    /// pool is wider than 32,768, or if its name contains a zero byte.
    pub fn build(self) -> io::Result<ThreadPool> {
        crate::task::panic::install_hook();
        let mut config = self.config;
        config.threads = match config.threads {
            0 => width(config.processors, config.left_free),
            threads => width_of(threads)?,
        };
        let own_threads_only = config.stack_size.is_some() || config.on_start.is_some();
        config.caller_helps = self.caller_helps.unwrap_or(!own_threads_only);
        if config.name.as_bytes().contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a thread's name cannot contain a zero byte",
            ));
        }
        ThreadPool::start(config)
    }
}

debug!(
    impl ThreadPoolBuilder,
    self,
    threads = self.config.threads,
    left_free = self.config.left_free,
    name = self.config.name,
    stack_size = self.config.stack_size
);

impl ThreadPool {
    /// Makes a pool as wide as the number of processors for this process (by affinity and cgroup
    /// quota), or as the environment variable `TREFOIL_THREADS` says.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::new();
    /// assert_eq!(pool.map(&[1, 2, 3], |n| n * n), [1, 4, 9]);
    /// ```
    ///
    /// # Panics
    /// If the system refuses a thread; [`builder`](Self::builder) returns that error.
    #[must_use]
    pub fn new() -> Self {
        Self::with_threads(0)
    }

    /// Makes a pool that runs `threads` tasks at once; 0 means the default, as in
    /// [`new`](Self::new).
    ///
    /// # Panics
    /// As [`new`](Self::new), and if `threads` is more than 32,768.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(3);
    /// assert_eq!(pool.num_threads(), 3);
    /// ```
    #[must_use]
    pub fn with_threads(threads: usize) -> Self {
        let pool = Self::builder().threads(threads).build();
        pool.unwrap_or_else(|error| panic!("trefoil: a thread pool could not start a thread: {error}; ThreadPool::builder().build() returns this error"))
    }

    /// A builder for a pool with settings: names, hooks, sizes.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::builder().threads(2).name("crunch").build()?;
    /// assert_eq!(pool.num_threads(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            config: Config::default(),
            caller_helps: None,
        }
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        Self::new()
    }
}
