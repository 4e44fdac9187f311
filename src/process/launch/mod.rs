//! What a launcher implements, to start workers in other ways than as children of this process.
//!
//! This is the interface between a pool and what starts its workers: [`Launcher`]. A worker is a
//! framed stream of bytes, so whatever starts a program and connects a stream to it can hold one.
//! Such workers are *plain*: the driver has nothing but their stream, and perhaps a process here
//! that stands for them.
//!
//! **Contract.** The stream is a socket here, whatever it is at the worker. When its other end
//! closes, the worker is gone. To kill a worker the driver kills the process here and its group,
//! and shuts the stream down; whatever is at the other end must then end the worker and everything
//! that the worker has started, and must do the same when this process ends, in whatever way. (A
//! worker does that itself when it sees the end of its stream.)
//!
//! The driver calls its methods, and contains their panics (`parent/driver.rs`). After which pause
//! a start that has failed is repeated: `sched/back_off.rs`. Which settings such a pool cannot
//! have: `check` (`api/builder.rs`).

// Tests: `tests/process/launcher.rs`; `crates/trefoil-machines`, `crates/trefoil-sandbox`.

#[cfg(unix)]
mod command_stream;
pub(super) mod launched;
pub(super) mod pool_error;
pub(super) mod raw_program;
pub(super) mod thread_limits;

use std::fmt;
use std::io;
use std::time::Duration;

use pool_error::PoolError;

use crate::task::Task;

pub use launched::Launched;
pub use raw_program::{Invitation, Program, WorkerStream};

/// Starts the workers of one pool:
/// [`ProcessPoolBuilder::launcher`](crate::ProcessPoolBuilder::launcher).
///
/// A worker is a process of this program with an [invitation](Program::invitation) in its
/// environment, and a stream to the pool. Anything that can start a program and connect such a
/// stream can be a launcher: a container engine, a sandbox, another user, another machine. For a
/// command line, `Wrapped` of the crate `trefoil-sandbox` is enough, which has a `Sandbox`, too.
///
/// What the pool promises holds for any launcher: an item runs at most once, a worker that dies is
/// replaced and costs only the item that it ran (where something forwards the stream, all that it
/// was sent), cancelled items end. Workers of a launcher are
/// [plain](crate::ProcessPoolBuilder::plain_workers). The identity of the executable, including the
/// version of this crate, is checked on every stream before anything is run.
///
/// The program must know how its children end: in one that ignores `SIGCHLD`, or waits for any
/// child (`waitpid(-1)`), launchers that start commands here fail. A forked child of this process
/// holds copies of the streams: if it outlives this process, so do the workers.
///
/// All methods but [`prepare`](Self::prepare) are called on the pool's driver thread. They must not
/// block: a slow start belongs into the task that [`start`](Self::start) returns. A panic in one
/// counts as a failed start, or is ignored.
///
/// ```
/// use std::io;
/// use std::process::Command;
/// use trefoil::process::launch::{Capabilities, Launched, Launcher, Program, WorkerStream};
/// use trefoil::{PoolError, ProcessPool, Task};
///
/// /// Workers that do not know where the user's home is.
/// #[derive(Debug, Default)]
/// struct Homeless(Option<Program>);
///
/// impl Launcher for Homeless {
///     fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
///         self.0 = Some(program.clone());
///         Ok(Capabilities::slots(2))
///     }
///
///     fn start(&self, _index: usize) -> Task<io::Result<Launched>> {
///         Task::ready(self.command().and_then(Launched::command))
///     }
/// }
///
/// impl Homeless {
///     fn command(&self) -> io::Result<Command> {
///         let program = self.0.as_ref().expect("it was prepared");
///         let invitation = program.invitation(WorkerStream::Stdio);
///         let mut command = Command::new("env");
///         command.args(["-u", "HOME"]).arg(program.path()?).args(program.arguments());
///         command.envs(program.variables()).env(invitation.name(), invitation.value());
///         Ok(command)
///     }
/// }
///
/// # trefoil::init();
/// let procs = ProcessPool::builder().launcher(Homeless::default()).build()?;
/// let home = procs.spawn((), |()| std::env::var("HOME").ok()).join()?;
/// assert_eq!(home, None);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Called once, by [`build`](crate::ProcessPoolBuilder::build): finds out whether workers can
    /// be started, and says what this launcher can do. It may take as long as it needs.
    ///
    /// # Errors
    /// [`PoolError::Launcher`] says what is missing, and what to install or change. It is the error
    /// of `build`.
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError>;

    /// Starts worker `index`, from 0. Called when the worker is wanted, and again when it must be
    /// replaced; never for one that is being started or lives.
    ///
    /// The task completes when the worker's stream is there: at once ([`Task::ready`]), or later,
    /// through a [`Completer`](crate::Completer), if something must be waited for. From then on the
    /// worker has 30 seconds to reach [`init`](crate::init). The task is cancelled when the worker
    /// is not wanted any more. If it fails, the start counts as failed, with the error's message,
    /// and is repeated at growing intervals; after some failures in a row, `build` fails, or what
    /// waits to run ends, with that message.
    fn start(&self, index: usize) -> Task<io::Result<Launched>>;

    /// Worker `index` has reached [`init`](crate::init), and is the right build: for a launcher
    /// that lets only some workers start at once.
    fn began(&self, _index: usize) {}

    /// Worker `index`, which the task has delivered, has ended, and everything that it has sent was
    /// received: corrects what is known of how it ended.
    fn ended(&self, _index: usize, _ending: &mut Ending) {}

    /// Worker `index` must end, with everything that it has started. Afterwards the pool kills its
    /// process here, if it has one, and the process's group, and shuts its stream down, which is
    /// enough where a worker sees the end of its stream.
    fn kill(&self, _index: usize) {}
}

/// What a [`Launcher`] can do, from [`prepare`](Launcher::prepare).
///
/// ```
/// use std::time::Duration;
/// use trefoil::process::launch::Capabilities;
///
/// let some = Capabilities::slots(64).elastic(0, Duration::from_secs(30));
/// assert_eq!(format!("{some:?}"), format!("{:?}", some.clone()));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Capabilities {
    pub(crate) slots: usize,
    pub(crate) elastic: Option<(usize, Duration)>,
    pub(crate) latency: Duration,
    pub(crate) unenforced: Vec<String>,
}

impl Capabilities {
    /// The number of workers, unless the user sets [one](crate::ProcessPoolBuilder::workers).
    pub fn slots(slots: usize) -> Self {
        Self {
            slots,
            elastic: None,
            latency: Duration::ZERO,
            unenforced: Vec::new(),
        }
    }

    /// Workers come and go with the work: `least` of them stay, and another that has been idle for
    /// this long leaves. Default: all are started with the pool, and stay.
    pub fn elastic(mut self, least: usize, idle: Duration) -> Self {
        self.elastic = Some((least, idle));
        self
    }

    /// How long a message and its answer may travel: it is added to the
    /// [grace period](crate::ProcessPoolBuilder::grace). Default: 0.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// What this launcher should keep workers from, and cannot here, one sentence each, where the
    /// user has allowed that: the pool's [statistics](crate::ProcessStats::unenforced) say it.
    /// Default: nothing.
    pub fn unenforced(mut self, what: impl IntoIterator<Item = String>) -> Self {
        self.unenforced.extend(what);
        self
    }
}

/// How a worker ended: what the pool knows, for [`Launcher::ended`] to correct. It becomes the
/// [error](crate::WorkerExit) of the item that the worker ran.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ending {
    /// The exit code: at first, that of the process here.
    pub code: Option<i32>,
    /// The signal that ended it: at first, the process here.
    pub signal: Option<i32>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
    /// Anything else that is known, as text.
    pub note: Option<String>,
    /// Whether the kernel has killed it because memory ran out, for certain: its control group's
    /// count says so, for example. Then its item's error is
    /// [`out_of_memory`](crate::WorkerExit::out_of_memory). At first: false.
    pub out_of_memory: bool,
    /// Whether the worker may have sent records that did not arrive. Then every item that it had
    /// counts as begun, and fails unless it has a [`retry`](crate::ProcessCall::retry): otherwise
    /// an item could run twice. At first: false if the other end of the pool's socket was the
    /// worker's own, for both directions; otherwise true, because what forwarded the stream may
    /// have kept some of it. That shows on Unix sockets only, so a launcher whose workers have
    /// another kind of [stream](Launched::stream) must say whether anything was lost.
    pub loses_records: bool,
    /// Whether the stream ended with an error (a reset), so that bytes of the worker may be lost,
    /// even where nothing forwards it. The pool only reports it here.
    pub was_reset: bool,
}
