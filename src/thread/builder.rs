//! The choices before a pool exists.
//!
//! **Job.** [`ThreadPoolBuilder`] collects them, and the only thing here that is not a plain
//! value is the width: how many processors this process may use, by affinity and by its
//! cgroup's quota, unless `TREFOIL_THREADS` says otherwise.
//!
//! A variable that is no number from 1 to 4,096 is ignored: a typing error in
//! somebody's environment must neither stop the program nor start a million threads.
//!
//! Tests: `tests/thread/pool.rs` (names, hooks, width).

use std::{fmt, io};

use super::registry::{Config, Registry};
use super::{ThreadPool, global};
use crate::loom::Arc;
use crate::task::TaskReport;

/// Makes a [`ThreadPool`] that is not as [`ThreadPool::new`] makes it.
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
    helps: Option<bool>,
}

impl ThreadPoolBuilder {
    pub(super) fn new() -> Self {
        let config = Config {
            threads: 0,
            name: "trefoil".to_owned(),
            stack_size: None,
            on_start: None,
            on_exit: None,
            unobserved: None,
            caller_helps: true,
        };
        Self {
            config,
            helps: None,
        }
    }

    /// How many tasks run at once. 0, the default: as many as there are
    /// processors for this process (by its affinity and its cgroup's quota; at least one), or what the
    /// environment variable `TREFOIL_THREADS` says, if that is a number from 1 to 4,096.
    pub fn threads(mut self, threads: usize) -> Self {
        self.config.threads = threads;
        self
    }

    /// The threads are named `prefix-0`, `prefix-1`, and so on. Default: `trefoil`.
    ///
    /// Inside a task, `std::thread::current().name()` is that of the thread that runs it, which is not the pool's where the
    /// caller helps: a thread outside that waits for the work may run it itself, and keeps its own name (`std` cannot
    /// change it). With [`caller_helps(false)`](Self::caller_helps) it is the pool's until that is shut down.
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.config.name = prefix.into();
        self
    }

    /// The stack of each worker, in bytes; at least 64 KiB. Default: 8 MiB, as a main thread usually has, or
    /// what the environment variable `RUST_MIN_STACK` says. With a size of its own, the pool runs everything on its own threads.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Called by each thread of the pool when it starts, with its index. With such
    /// a hook, the pool runs everything on its own threads. A panic in it is
    /// contained: the thread works nevertheless.
    pub fn on_start(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_start = Some(Box::new(f));
        self
    }

    /// Called by each thread of the pool before it ends, with its index. A panic
    /// in it is contained. What it spawns while the pool is shut down is refused: those tasks end in
    /// [`TaskError::Closed`](crate::TaskError::Closed).
    pub fn on_exit(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_exit = Some(Box::new(f));
        self
    }

    /// What happens to the failure of a task of this pool that nobody takes, instead of
    /// the process's hook (see [`on_unobserved`](crate::on_unobserved)). Each task then
    /// costs one more allocation.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let pool = trefoil::ThreadPool::builder()
    ///     .threads(1)
    ///     .on_unobserved(move |report| { let _ = tell.send(report.error().to_string()); })
    ///     .build()?;
    /// pool.spawn(|| panic!("unheard")).detach();
    /// assert!(told.recv().unwrap().contains("unheard"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.config.unobserved = Some(Arc::new(hook));
        self
    }

    /// Whether a thread outside the pool that waits may run the awaited work
    /// itself. Default: yes, unless there is a `stack_size` or an `on_start`.
    pub fn caller_helps(mut self, helps: bool) -> Self {
        self.helps = Some(helps);
        self
    }

    /// Makes the pool and starts its threads.
    ///
    /// # Errors
    /// If the system refuses a thread; those that it gave have ended. If the pool
    /// is wider than 32,768, or its name contains a zero byte.
    pub fn build(self) -> io::Result<ThreadPool> {
        crate::task::panic::install_hook();
        let mut config = self.config;
        config.threads = width_of(config.threads)?;
        let own_threads_only = config.stack_size.is_some() || config.on_start.is_some();
        config.caller_helps = self.helps.unwrap_or(true) && !own_threads_only;
        if config.name.contains('\0') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a thread's name cannot contain a zero byte",
            ));
        }
        Registry::start(config).map(ThreadPool::from_registry)
    }

    /// Makes the [global pool](ThreadPool::global).
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) once there is one; or as
    /// [`build`](Self::build).
    pub fn build_global(self) -> io::Result<&'static ThreadPool> {
        global::set(self)
    }
}

/// The widest pool; the sleep protocol counts threads in fields of 20 bits.
const MOST: usize = 1 << 15;

/// A larger number in the environment is taken for a typing error, as the machine that has so many
/// processors is not built yet.
const MOST_ASKED: usize = 1 << 12;

/// How many workers a pool gets that was told `threads`.
pub(super) fn width_of(threads: usize) -> io::Result<usize> {
    match threads {
        0 => Ok(width()),
        1..=MOST => Ok(threads),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{threads} threads: a pool has at most {MOST}"),
        )),
    }
}

/// How many workers a pool gets that is not told.
fn width() -> usize {
    let asked = std::env::var("TREFOIL_THREADS")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match asked {
        Some(threads @ 1..=MOST_ASKED) => threads,
        _ => std::thread::available_parallelism().map_or(1, |all| all.get().min(MOST)),
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("threads", &self.config.threads)
            .field("name", &self.config.name)
            .field("stack_size", &self.config.stack_size)
            .finish_non_exhaustive()
    }
}
