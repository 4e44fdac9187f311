//! `Process`: one function in a separate process.
//!
//! **Job.** [`Process`]: starts a process, runs one call in it, and is a handle to both: the
//! process can be observed and signalled, the call can be joined.
//!
//! **Protocol.** It uses a pool's link, frames, driver and scheduler, with these differences:
//! 1. The pool has one worker. It is shut down as soon as it has its one job, so that it ends with
//!    that job.
//! 2. `Policy::only`: a process that dies is never replaced, and its call, begun or not, ends with
//!    that death.
//! 3. The task ends when the process has been reaped (`deferred_job`), not when the result arrives:
//!    after a `join` the process does not exist any more.
//! 4. The driver's thread belongs to no other pool and ends with its process. It cannot be shared:
//!    the kernel's parent-death signal comes when the thread that started a child ends.
//!
//! **Rejected.** Sending signals through the driver: the signal should have been sent when `kill`
//! returns. One internal pool for many processes: each has its own environment and output.
//!
//! How it is named, signalled and killed: `parent/worker_process.rs`; what it inherits:
//! `parent/start_child.rs`, `worker/serve.rs`.
//!
//! Tests: `tests/process/one.rs`.

use std::ffi::OsStr;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::process::job::CallOptions;
use crate::process::parent::client::encode;
use crate::process::parent::driving::{self, Driving};
use crate::process::parent::mailbox::Mail;
use crate::process::parent::settings::WorkerStdout;
use crate::process::parent::worker_process::{Own, WorkerProcess};
use crate::process::sched::How;
use crate::process::value::chunk::Chunk;
use crate::process::value::portable::Portable;
use crate::process::worker::raw_call::code_of;
use crate::process::{PoolError, ProcessPool, ProcessPoolBuilder};
use crate::sys::child::Signal;
use crate::sys::poll::poll;
use crate::task::{Task, TaskError, TaskReport};

/// One function in a separate process.
///
/// As for a [`ProcessPool`], the argument and the result travel, the function must be part of this
/// program, and `main` must begin with [`init`](crate::init), unless the feature `auto` is on. A
/// pool is for many calls; this is for one call that is observed, signalled or ended as a process.
///
/// Dropping it detaches the process: it runs on, is reaped when it ends, and a failure goes to the
/// [hook](crate::on_unobserved). When this process ends, in any way, that one ends, too. What the
/// function starts ends with its process, as [in a pool](crate::ProcessPool).
///
/// It takes one to three milliseconds to start. While it runs, a thread in this process sleeps.
///
/// # Examples
///
/// ```
/// use trefoil::{Process, TaskError};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::init();
///     let square = Process::spawn(12, |n: u64| n * n)?;
///     assert_ne!(square.pid(), std::process::id());
///     assert_eq!(square.join()?, 144);
///
///     let endless = Process::spawn((), |()| -> () { loop { std::thread::park() } })?;
///     assert!(endless.is_alive());
///     endless.terminate();
///     let Err(TaskError::WorkerDied(exit)) = endless.join() else { panic!("it lives") };
///     assert_eq!(exit.signal(), Some(15));
///     Ok(())
/// }
/// ```
#[must_use = "a dropped `Process` runs on, detached: call `join`, or `drop` to say that it may"]
pub struct Process<R> {
    own: Arc<Own>,
    task: Task<R>,
    driver: Driving,
}

// A panic of user code leaves no part of it half changed.
impl<R> UnwindSafe for Process<R> {}
impl<R> RefUnwindSafe for Process<R> {}

/// The settings of a [`Process`], from [`Process::builder`].
///
/// ```
/// use trefoil::Process;
/// use trefoil::WorkerStdout;
///
/// # trefoil::init();
/// let process = Process::builder()
///     .name("A")
///     .env("LANG", "C")
///     .worker_stdout(WorkerStdout::Null)
///     .spawn((), |()| std::env::var("LANG").unwrap_or_default())?;
/// assert_eq!(process.name(), "A");
/// assert_eq!(process.join()?, "C");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing until `spawn`"]
pub struct ProcessBuilder {
    pool: ProcessPoolBuilder,
    name: Option<String>,
}

impl<R: Portable> Process<R> {
    /// Starts a process that runs `f(arg)` and ends.
    ///
    /// `arg` is encoded at once, and then dropped. Returns when the process has been started; it
    /// initialises in the background.
    ///
    /// # Errors
    /// See [`PoolError`]; [`Argument`](PoolError::Argument) if `arg` cannot be encoded. Then no
    /// process is left running.
    #[track_caller]
    pub fn spawn<A: Portable>(arg: A, f: fn(A) -> R) -> Result<Self, PoolError> {
        Process::builder().spawn(arg, f)
    }
}

impl Process<()> {
    /// A process with settings.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder {
            // It has no other worker to share the processors with.
            pool: ProcessPool::builder().workers(1).threads_per_worker(None),
            name: None,
        }
    }
}

impl<R> Process<R> {
    /// The process id. After it has ended, the system may reuse the id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.own.pid()
    }

    /// The name: the builder's, or `process-1`, `process-2` and so on.
    ///
    /// On Linux, lists of processes (`ps`, `pgrep`, `top`) show the first 15 bytes of it.
    /// [`Panic::worker`](crate::Panic::worker) has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.own.name
    }

    /// Whether the process is still running. Takes at most one system call.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ended = self.with_child(|child| {
            let process = child.process.as_ref()?;
            let mut fds = [PollFd::new(process, PollFlags::IN)];
            Some(poll(&mut fds, Some(&Timespec::default())) == Ok(1))
        });
        ended.flatten() == Some(false)
    }

    /// Asks the process to end (`SIGTERM`), which ends it unless it handles or ignores the signal
    /// (as it does if this process ignores it); `join` then returns
    /// [`WorkerDied`](TaskError::WorkerDied). No effect if it has ended, or if this process has no
    /// right to signal it. On Windows, where a process cannot be asked, it is ended at once.
    pub fn terminate(&self) {
        self.with_child(|child| child.signal(Signal::TERM));
    }

    /// Interrupts the process (`SIGINT`), as Ctrl-C would if it were not in a process group of its
    /// own. That ends the process unless it handles or ignores the signal. The rest is as for
    /// [`terminate`](Self::terminate).
    pub fn interrupt(&self) {
        self.with_child(|child| child.signal(Signal::INT));
    }

    /// Kills the process (`SIGKILL`), and the processes that it has started in its process group.
    /// `join` returns [`WorkerDied`](TaskError::WorkerDied), unless the result had arrived before.
    /// No effect if it has ended. If this process has no right to signal it any more (it has
    /// changed its user), only the process itself is certain to end.
    pub fn kill(&self) {
        self.with_child(|child| {
            if !child.kill() {
                // Both are needed: the first does not end a stopped process, and the second does
                // not end one whose lifeline a filter has refused.
                child.shut();
                child.cut();
            }
        });
    }
}

impl<R> Process<R> {
    /// Looks at the process, unless it has been reaped, or is that of this process's parent.
    fn with_child<T>(&self, look: impl FnOnce(&WorkerProcess) -> T) -> Option<T> {
        if self.driver.is_foreign() {
            return None;
        }
        self.own.child.lock().as_deref().map(look)
    }
}

impl<R: Send + 'static> Process<R> {
    /// Waits until the process has ended, and returns the result of its function.
    ///
    /// Afterwards the process does not exist any more, except after `WouldBlock`.
    ///
    /// # Errors
    /// [`WorkerDied`](TaskError::WorkerDied) if the process ended before the function had (by a
    /// signal, an abort, `exit`): the error says how, and has its last output.
    /// [`Panicked`](TaskError::Panicked) if the function panicked. [`Codec`](TaskError::Codec) if
    /// the argument or the result could not be decoded or encoded. On a thread that must not block
    /// (an event loop's): [`WouldBlock`](TaskError::WouldBlock), unless it has ended; the process
    /// is detached. There, await [`into_task`](Self::into_task).
    pub fn join(self) -> Result<R, TaskError> {
        let Self { task, driver, .. } = self;
        let result = task.join();
        if !matches!(result, Err(TaskError::WouldBlock)) {
            driver.join(); // it ends now
        }
        result
    }

    /// The call as a task, to be awaited, raced or grouped with others.
    ///
    /// It ends when the process has, unless it is cancelled. That stops the process: its
    /// [token](crate::CancelToken::current) is set at once, and it is killed if it has not ended
    /// after the [grace period](ProcessBuilder::grace). Dropping it detaches the process.
    ///
    /// ```
    /// use trefoil::Process;
    ///
    /// # trefoil::init();
    /// let tasks = (1..=3u32).map(|n| Ok(Process::spawn(n, |n: u32| n * 10)?.into_task()));
    /// let tasks = tasks.collect::<Result<Vec<_>, trefoil::PoolError>>()?;
    /// let sum: u32 = trefoil::join_all(tasks).join().into_iter().map(Result::unwrap).sum();
    /// assert_eq!(sum, 60);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_task(self) -> Task<R> {
        self.task
    }
}

/// See [`Process::into_task`].
impl<R> From<Process<R>> for Task<R> {
    fn from(process: Process<R>) -> Self {
        process.task
    }
}

/// It can be awaited, and passed to functions that take futures: a [`TaskGroup`](crate::TaskGroup),
/// [`race`](crate::race).
impl<R> IntoFuture for Process<R> {
    type Output = Result<R, TaskError>;
    type IntoFuture = Task<R>;

    fn into_future(self) -> Task<R> {
        self.task
    }
}

debug!(impl<R> Process<R>, self, name = self.name(), pid = self.pid(), is_alive = self.is_alive());

impl ProcessBuilder {
    /// Sets the name that [`Process::name`] returns.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a variable of the environment, as [`ProcessPoolBuilder::env`] does.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.pool = self.pool.env(key, value);
        self
    }

    /// Sets where standard output goes, as [`ProcessPoolBuilder::worker_stdout`] does.
    pub fn worker_stdout(mut self, stdout: WorkerStdout) -> Self {
        self.pool = self.pool.worker_stdout(stdout);
        self
    }

    /// Sets a hook for the output, as [`ProcessPoolBuilder::on_output`] does.
    pub fn on_output(mut self, hook: impl Fn(u32, &[u8]) + Send + Sync + 'static) -> Self {
        self.pool = self.pool.on_output(hook);
        self
    }

    /// Limits the memory, as [`ProcessPoolBuilder::memory_limit`] does.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.pool = self.pool.memory_limit(bytes);
        self
    }

    /// Sets the grace period, as [`ProcessPoolBuilder::grace`] does.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.pool = self.pool.grace(grace);
        self
    }

    /// Sets a hook for lost failures, as [`ProcessPoolBuilder::on_unobserved`] does.
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.pool = self.pool.on_unobserved(hook);
        self
    }

    /// Starts the process, as [`Process::spawn`] does.
    ///
    /// # Errors
    /// Those of [`Process::spawn`]; [`Start`](PoolError::Start) also for a name with a NUL, or a
    /// variable that no environment can hold.
    #[track_caller]
    pub fn spawn<A: Portable, R: Portable>(
        self,
        mut arg: A,
        f: fn(A) -> R,
    ) -> Result<Process<R>, PoolError> {
        let mut settings = self.pool.settings()?;
        let chunk = Chunk::new(settings.plain).sending_ahead(); // nothing is lent to it
        let call = encode(&mut arg, code_of(f), chunk).map_err(PoolError::Argument)?;
        let own = Arc::new(Own::new(self.name));
        settings.policy.one_process = Some(own.name.clone());
        settings.own = Some(own.clone());
        let (shared, driver) = driving::start(settings)?;
        let mut options = CallOptions::default();
        options.name = Some(own.name.to_string());
        // The driver ends only after the second message, so it is still running.
        let task = shared.submit::<A, R>(options, Ok(call));
        let _ = shared.mailbox.push([Mail::Stop(How::Wait.into())]);
        Ok(Process { own, task, driver })
    }
}
