//! The settings of a pool.
//!
//! The builder collects them, checks in `build` whether there can be a pool at all (a program
//! that never calls `init` gets an error before any process is started), and hands the
//! driver what it needs as [`Settings`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{self, Role};
use super::{PoolError, ProcessPool};
use crate::task::{Hook, TaskReport};

/// More are a mistake: descriptors run out before.
const MOST_WORKERS: usize = 1 << 16;

/// What becomes of a worker's standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerStdout {
    /// It is the parent's: a task's `println!` appears there.
    #[default]
    Inherit,
    /// It is thrown away.
    Null,
}

/// The settings of a [`ProcessPool`], from [`ProcessPool::builder`].
///
/// ```
/// use std::time::Duration;
/// use trefoil::process::{ProcessPool, WorkerStdout};
///
/// # trefoil::process::init();
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
#[derive(Clone)]
#[must_use = "a builder builds nothing until `build`"]
pub struct ProcessPoolBuilder {
    workers: Option<usize>,
    variables: Vec<(OsString, OsString)>,
    stdout: WorkerStdout,
    grace: Duration,
    unobserved: Option<Hook>,
}

/// What the driver needs of it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) stdout: WorkerStdout,
    pub(crate) grace: Duration,
    pub(crate) role: Role,
}

impl ProcessPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            variables: Vec::new(),
            stdout: WorkerStdout::Inherit,
            grace: Duration::from_millis(20),
            unobserved: None,
        }
    }

    /// How many processes. Otherwise as many as there are CPUs that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets a variable in the workers' environment, which otherwise is the parent's.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What becomes of the workers' standard output: the parent's, unless said otherwise.
    pub fn worker_stdout(mut self, stdout: WorkerStdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// How long a running item whose task was cancelled may go on before
    /// its worker is killed: 20 ms unless said otherwise.
    ///
    /// Its [token](crate::CancelToken::current) is set at once. An item that ends in this time
    /// because it has looked at it leaves its worker alive.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What happens to the failure of a task of this pool that nobody takes, instead
    /// of [the process's hook](crate::on_unobserved).
    ///
    /// The hook runs on the pool's driver thread, or where the task's handle is
    /// dropped, and must be short.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::process::init();
    /// let (tell, told) = mpsc::channel();
    /// let procs = ProcessPool::builder()
    ///     .workers(1)
    ///     .on_unobserved(move |report| drop(tell.send(report.to_string())))
    ///     .build()?;
    /// procs.spawn((), |()| -> () { panic!("unheard") }).detach();
    /// assert!(told.recv()?.contains("unheard"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.unobserved = Some(Arc::new(hook));
        self
    }

    /// Starts the workers.
    ///
    /// Takes about a millisecond for each, whatever the size of this process; they get ready
    /// on their own.
    ///
    /// # Errors
    /// See [`PoolError`]. Nothing is left behind then.
    pub fn build(self) -> Result<ProcessPool, PoolError> {
        let role = entry::role()?;
        let workers = match self.workers {
            Some(workers) => workers,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        if workers > MOST_WORKERS {
            let words = format!("{workers} workers are too many");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words).into());
        }
        let Self {
            variables,
            stdout,
            grace,
            unobserved,
            ..
        } = self;
        let settings = Settings {
            workers,
            variables,
            stdout,
            grace,
            role,
        };
        ProcessPool::start(settings, unobserved)
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("workers", &self.workers)
            .field("variables", &self.variables)
            .field("stdout", &self.stdout)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
