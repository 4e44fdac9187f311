//! The settings that a pool's workers are started with, and their defaults.
//!
//! The builder collects them, and the driver starts the workers with them.
//!
//! Here `TREFOIL_PLAIN_WORKERS` is read, and it is decided which variables for the threads of
//! libraries are set (`launch/thread_limits.rs` has their names). How many workers there are:
//! `Program::width` (`launch/raw_program.rs`); the numbers: `limits`.
//!
//! Tests: `tests/process/limits.rs`,
//! `tests/process/host.rs::without_some_of_the_standard_streams`.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::worker_process::Own;
use super::worker_stdout::OutputHook;
pub use super::worker_stdout::WorkerStdout;
use crate::process::job::Initializer;
use crate::process::launch::Launcher;
use crate::process::launch::pool_error::PoolError;
use crate::process::launch::raw_program::Program;
use crate::process::launch::thread_limits::names;
use crate::process::limits::{GRACE, IDLE_TIMEOUT, PATIENCE};
#[cfg(feature = "tracing")]
use crate::process::observe::forward_events::EventListener;
use crate::process::sched::Policy;
use crate::process::sched::policy::Elastic;
use crate::process::value::codec::codec_error;
#[cfg(not(loom))]
use crate::process::value::permits::AllPermits;
use crate::process::value::scope::ONLY_BYTES;
use crate::task::{CodecDirection, Hook, TaskError};
use trefoil_os::host::handover::CARRIES;

/// How the workers of a [`ProcessPool`](crate::ProcessPool) come into being.
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil::process::StartMethod;
///
/// # trefoil::init();
/// # if !cfg!(all(target_os = "linux", target_env = "gnu")) { return Ok(()); }
/// let procs = ProcessPool::builder().workers(2).start_method(StartMethod::ForkServer).build()?;
/// assert_eq!(procs.map(0..3, |n: u32| n + 1)?, [1, 2, 3]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// Each is the program, started again: it runs `main` up to [`init`](crate::init), and then
    /// the initializer.
    #[default]
    Spawn,
    /// The pool starts one more process, the *fork server*, which runs `main` up to
    /// [`init`](crate::init) and the initializer, once. Each worker is a copy of it (`fork`), and
    /// shares all memory with it that neither of them writes to. Linux with the GNU C library only.
    /// [`start_method`](crate::ProcessPoolBuilder::start_method) says what follows from that.
    ForkServer,
}

/// The variables of one worker, by its index.
pub(crate) type VariablesFor = Arc<dyn Fn(usize) -> Vec<(OsString, OsString)> + Send + Sync>;

/// The processors of one worker, by its index.
pub(crate) type ProcessorsFor = Arc<dyn Fn(usize) -> Vec<usize> + Send + Sync>;

/// The settings that the driver needs.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    /// The number of workers that the user has set; the most, if there are bounds.
    pub(crate) asked: Option<usize>,
    /// The least number, if the user has given bounds.
    pub(crate) least: Option<usize>,
    /// How long a worker above it is idle before it leaves.
    pub(crate) idle: Option<Duration>,
    /// How many workers fewer there are if the user has not set their number.
    pub(crate) left_free: usize,
    /// The workers share the processors (`thread_limits`).
    pub(crate) shares: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Further variables of the worker with an index.
    pub(crate) variables_for: Option<VariablesFor>,
    /// The processors that the worker with an index may use.
    pub(crate) processors_for: Option<ProcessorsFor>,
    pub(crate) stdout: WorkerStdout,
    pub(crate) on_output: Option<OutputHook>,
    pub(crate) unobserved: Option<Hook>,
    /// Where the workers' events go.
    #[cfg(feature = "tracing")]
    pub(crate) events: Option<EventListener>,
    pub(crate) policy: Policy,
    pub(crate) start_method: StartMethod,
    /// What every worker calls after the initializers.
    pub(crate) after_fork: Option<Initializer>,
    /// These are the settings of a fork server, and not of workers.
    pub(crate) serves_forks: bool,
    /// The limit to an item's memory, in bytes.
    pub(crate) memory: Option<u64>,
    /// The workers may write core files.
    pub(crate) cores: bool,
    /// The workers are plain: a stream of bytes, without pages that both map.
    pub(crate) plain: bool,
    /// What starts the workers, if they are not children of this process. Then they are plain.
    pub(crate) launcher: Option<Arc<dyn Launcher>>,
    /// What the launcher cannot enforce here.
    pub(crate) unenforced: Vec<String>,
    /// The permits of this pool and of its actors.
    #[cfg(not(loom))]
    pub(crate) permits: AllPermits,
    /// The depth of this process (`entry`).
    pub(crate) depth: u32,
    /// The process of a `Process`; `None`: a pool.
    pub(crate) own: Option<Arc<Own>>,
}

/// If this variable is `1`, workers are plain unless a builder says otherwise.
const PLAIN_WORKERS: &str = "TREFOIL_PLAIN_WORKERS";

impl Settings {
    /// What a launcher must run.
    pub(crate) fn program(&self) -> Program {
        Program {
            depth: self.depth,
            variables: self.variables.clone(),
            workers: self.asked,
            left_free: self.left_free,
            shares: self.shares,
            discards: self.stdout == WorkerStdout::Null,
        }
    }

    /// Limits the threads of libraries in the workers by the variables that `may_set` allows.
    pub(crate) fn limit_threads(&mut self, threads: usize, may_set: fn(&str) -> bool) {
        let own = std::mem::take(&mut self.variables);
        for name in names(&own) {
            if may_set(name) {
                self.variables
                    .push((name.into(), threads.to_string().into()));
            }
        }
        // The user's come last, so that they count where case is ignored.
        self.variables.extend(own);
    }

    /// The bounds that the user has given, if any, for a pool with `most` workers.
    pub(crate) fn set_bounds(&mut self, most: usize) {
        if let Some(least) = self.least {
            let least = least.min(most);
            self.policy.elastic = Some(Elastic { least, most });
        }
        if let Some(idle) = self.idle {
            self.policy.idle = idle;
        }
    }

    /// Adds a call that every worker makes first, after those that it makes already.
    pub(crate) fn add_initializer(
        &mut self,
        initializer: Result<Initializer, TaskError>,
    ) -> Result<(), PoolError> {
        let initializer = initializer.map_err(PoolError::Initializer)?;
        if self.plain && initializer.chunk.is_uncopyable() {
            let (name, way) = (initializer.type_name, CodecDirection::EncodeArgument);
            let error = codec_error(name, way, ONLY_BYTES.to_owned());
            return Err(PoolError::Initializer(error));
        }
        self.policy.initializers.push(initializer);
        Ok(())
    }

    /// What the driver needs for the workers, and for their fork server, if they have one: that
    /// runs the initializers in their place.
    pub(crate) fn of_processes(&self) -> (Self, Option<Self>) {
        let mut workers = self.clone();
        let server = (self.start_method == StartMethod::ForkServer).then(|| {
            let mut server = Self {
                workers: 1,
                serves_forks: true,
                variables_for: None,
                processors_for: None,
                memory: None,
                ..self.clone()
            };
            server.policy = Policy {
                grace: self.policy.grace,
                patience: self.policy.patience,
                initializers: std::mem::take(&mut workers.policy.initializers),
                ..Policy::default()
            };
            server
        });
        let after_fork = workers.after_fork.take();
        workers.policy.initializers.extend(after_fork);
        (workers, server)
    }

    /// The defaults.
    pub(crate) fn new() -> Self {
        let mut settings = Self {
            workers: 1,
            shares: true,
            plain: !CARRIES || std::env::var_os(PLAIN_WORKERS).is_some_and(|value| value == "1"),
            ..Self::default()
        };
        settings.policy.replace_first = true;
        settings.policy.grace = GRACE;
        settings.policy.patience = PATIENCE;
        settings.policy.idle = IDLE_TIMEOUT;
        settings
    }
}
