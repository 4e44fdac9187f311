//! Workers on a Dask cluster.
//!
//! **Job.** Starts the *gateway* (`dask_gateway.py`), a process of the user's own Python, and hands
//! it one end of a stream for each worker of the pool. The gateway speaks on it as a plain worker
//! does: the pool does not notice that there is no process of its own behind it. The script
//! explains what it does on the cluster.
//!
//! **Protocol.** The gateway's standard input is a socket (`dask_control`). On it the gateway
//! writes `ready THREADS` or, at any time, `error WORDS` when it loses the cluster. The pool sends
//! it the ends of streams, each with one byte, and `f` with the number of a result that the cluster
//! need not keep any longer. When the gateway ends, by itself or killed, the scheduler removes its
//! tasks and results.
//!
//! Tests: `tests/dask/main.rs`; `wire::tests` checks that the script numbers frames and records as
//! `wire` does.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::dask_control::Control;
use super::sealed::Connector;
use super::{Connect, Engine, check_build};
use crate::loom::Mutex;
use crate::process::PoolError;
use crate::process::host::handover::CARRIES;
use crate::process::host::image::image;
use crate::process::launch::launched::{Launched, stream};
use crate::process::launch::raw_program::Program;
use crate::process::launch::{Capabilities, Ending, Keeper, Launcher};
use crate::process::parent::settings::{Settings, WorkerStdout};
use crate::task::Task;

/// The gateway's source.
pub(crate) const GATEWAY: &str = include_str!("dask_gateway.py");

/// How long the gateway may take to be ready: it may have to send the program to many hosts.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// How many frames are under way for each thread that the cluster has when the pool is built: while
/// one runs, others are in transit, and tasks that are submitted together cost the scheduler less.
const FRAMES_PER_THREAD: usize = 4;
/// The least number of workers. Of brief frames so many are under way: they travel in few tasks.
const LEAST_WORKERS: usize = 96;

/// The round trip of an empty Dask task.
const ROUND_TRIP: Duration = Duration::from_millis(10);

/// A Dask cluster on which a pool's workers run: see [`on`](crate::ProcessPoolBuilder::on).
///
/// Dask places what the pool gives it, queues it, and runs it again where a machine was lost. Items
/// are sent many at a time, as tasks of 0.15 s. Nothing of this program has to be installed on the
/// cluster: the executable travels, and is executed there by a process of a Dask worker. On this
/// machine a Python interpreter is needed that has Dask's `distributed`, 2024.1 or newer, in the
/// version of the cluster.
///
/// An item runs *at least* once: what a lost worker had runs again elsewhere.
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil::process::machines::Dask;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::init();
///     let dask = Dask::connect("tcp://127.0.0.1:8786");
///     let procs = ProcessPool::builder().on(dask).build()?;
///     assert_eq!(procs.map(1..=4, |x: u64| x * x)?, [1, 4, 9, 16]);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is for `ProcessPoolBuilder::on`"]
pub struct Dask {
    scheduler: Scheduler,
    python: PathBuf,
    plaintext: bool,
    retries: u32,
    resources: Vec<(String, f64)>,
    priority: i32,
}

#[derive(Clone, Debug)]
enum Scheduler {
    Address(String),
    File(PathBuf),
    Configured,
}

impl Dask {
    fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            python: "python3".into(),
            plaintext: false,
            retries: 2,
            resources: Vec::new(),
            priority: 0,
        }
    }

    /// The cluster whose scheduler is at `address`, such as `tls://scheduler:8786`.
    ///
    /// For `tls://` Dask's own configuration says where keys and certificates are.
    pub fn connect(address: impl Into<String>) -> Self {
        Self::new(Scheduler::Address(address.into()))
    }

    /// The cluster whose scheduler has written this file (`dask scheduler --scheduler-file`).
    pub fn scheduler_file(path: impl AsRef<Path>) -> Self {
        Self::new(Scheduler::File(path.as_ref().to_owned()))
    }

    /// The cluster that Dask's configuration names: `DASK_SCHEDULER_ADDRESS`, or
    /// `scheduler-address` in its files.
    pub fn from_env() -> Self {
        Self::new(Scheduler::Configured)
    }

    /// The Python interpreter, which must have `distributed`. Default: `python3`.
    pub fn python(mut self, path: impl AsRef<Path>) -> Self {
        self.python = path.as_ref().to_owned();
        self
    }

    /// Whether another machine's scheduler may be spoken to without TLS. Default: no.
    ///
    /// Such a scheduler runs any code that a process that can reach it sends, and others can read
    /// what is sent.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.plaintext = allow;
        self
    }

    /// How often a task of Dask is tried again that its workers could not run: because one lacks
    /// what it needs, or because Dask has given it up after several lost workers
    /// (`distributed.scheduler.allowed-failures`). Default: 2.
    ///
    /// It has nothing to do with the [`retry`](crate::ProcessCall::retry) of a call, which is for
    /// items that have cost a process.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What a task takes of one of the cluster's resources (`dask worker --resources "GPU=1"`). May
    /// be called for many.
    ///
    /// A call may ask for [more](crate::ProcessCall::resource).
    pub fn resource(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
        self.resources.push((name.into(), amount.into()));
        self
    }

    /// Dask's priority of this pool's tasks, among all of the cluster: more is sooner. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The command that starts the gateway.
    fn command(&self, settings: &Settings) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-c").arg(GATEWAY);
        let mut say = |name: &str, value: &dyn AsRef<OsStr>| {
            let mut argument = OsString::from(name);
            argument.push("=");
            argument.push(value);
            command.arg(argument);
        };
        match &self.scheduler {
            Scheduler::Address(address) => say("scheduler", address),
            Scheduler::File(path) => say("file", path),
            Scheduler::Configured => {}
        }
        let flag = |is_set: bool| if is_set { "1" } else { "0" };
        say("plaintext", &flag(self.plaintext));
        say("retries", &self.retries.to_string());
        say("priority", &self.priority.to_string());
        for (name, amount) in &self.resources {
            say("resource", &format!("{name}={amount}"));
        }
        say("exe", &format!("/proc/{}/exe", std::process::id()));
        for argument in std::env::args_os() {
            say("arg", &argument);
        }
        // On the cluster, the worker's parent is a process of Dask's worker, which writes its own
        // number and those of the stream's two descriptors into this.
        let (copy, depth) = (image().name(), settings.depth + 1);
        let ends = "{parent},{hears}.{says}.,{hears}+{says},";
        say("invitation", &format!("{copy},{depth},{ends}"));
        say("grace", &settings.policy.grace.as_secs_f64().to_string());
        say("initializer", &flag(settings.policy.initializer.is_some()));
        let most = settings.policy.replace_after.unwrap_or(0);
        say("replace_after", &most.to_string());
        if settings.stdout == WorkerStdout::Null {
            say("stdout", &"null");
        }
        // Variables are not among the arguments, which every user of this machine can see.
        for (number, (name, value)) in settings.variables.iter().enumerate() {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            command.env(format!("GATEWAY_VARIABLE_{number}"), variable);
        }
        command
    }

    /// Starts the gateway and waits until it is ready.
    fn start(&self, settings: &Settings) -> io::Result<Gateway> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = self.command(settings);
        let started = command
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        drop(command); // and with it our copy of the gateway's end
        let mut process = started.map_err(|error| {
            let python = self.python.display();
            let words = format!(
                "the Python interpreter `{python}` cannot be started ({error}): install one, with \
                 Dask's `distributed`, or name it with `.python(path)`"
            );
            io::Error::new(error.kind(), words)
        })?;
        let stderr = process.stderr.take();
        let mut gateway = Gateway {
            control: Arc::new(Control::new(ours)),
            process: Mutex::new(process),
            at_once: 0,
        };
        gateway.control.set_patience(Some(READY_LIMIT))?;
        let line = gateway.control.line();
        let line = match line {
            Ok(line) => line,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(io::Error::other("the gateway to Dask does not get ready"));
            }
            Err(error) => return Err(error),
        };
        match line.split_once(' ') {
            Some(("ready", threads)) => {
                let threads = threads.parse().unwrap_or(1).max(1);
                gateway.at_once = settings.asked.unwrap_or(FRAMES_PER_THREAD * threads);
            }
            Some(("error", words)) => return Err(io::Error::other(words.to_owned())),
            _ => {
                let mut words = Vec::new();
                if let Some(mut stderr) = stderr {
                    let _ = stderr.read_to_end(&mut words);
                }
                let words = String::from_utf8_lossy(&words);
                let python = self.python.display();
                let words = format!("`{python}` has ended, and says: {}", words.trim());
                return Err(io::Error::other(words));
            }
        }
        gateway.control.set_patience(None)?;
        Ok(gateway)
    }
}

impl Engine for Dask {
    fn connector(self) -> Connector {
        Connector(Arc::new(self))
    }
}

impl Connect for Dask {
    fn connect(&self, settings: &mut Settings) -> Result<Box<dyn Launcher>, PoolError> {
        check_build()?;
        let refused = |error: io::Error| PoolError::Launcher(error.to_string());
        if !CARRIES {
            return Err(refused(io::Error::other(
                "this system cannot hand one end of a stream to another process, as the gateway to \
                 Dask needs it: use Linux",
            )));
        }
        let gateway = Arc::new(self.start(settings).map_err(refused)?);
        settings.keeper = Some(gateway.clone());
        settings.policy.round_trip = ROUND_TRIP;
        settings.policy.at_once = Some(gateway.at_once);
        settings.policy.patience = Duration::MAX; // an item may wait long in Dask's queue
        settings.policy.told = true;
        Ok(Box::new(gateway))
    }
}

/// The process that connects one pool to the cluster.
#[derive(Debug)]
struct Gateway {
    control: Arc<Control>,
    process: Mutex<Child>,
    /// How many frames that are not brief may be under way.
    at_once: usize,
}

impl Gateway {
    /// Why the gateway serves no more, if it does not.
    fn lost(&self) -> Option<io::Error> {
        let line = self.control.line().ok()?;
        let words = line.strip_prefix("error ");
        let words = words.unwrap_or("the gateway to Dask has ended: it was killed, or has failed");
        // Later calls get the same answer.
        self.control.put_back(&format!("error {words}"));
        Some(io::Error::other(words.to_owned()))
    }
}

impl Launcher for Arc<Gateway> {
    fn prepare(&mut self, _: &Program) -> Result<Capabilities, PoolError> {
        // Each worker has a descriptor here, and one in the gateway, which has the same limit.
        let most = getrlimit(Resource::Nofile)
            .current
            .map_or(usize::MAX, |most| (most / 2) as usize);
        let slots = self.at_once.max(LEAST_WORKERS).min(most).max(1);
        Ok(Capabilities::slots(slots).latency(ROUND_TRIP))
    }

    fn start(&self, _: usize) -> Task<io::Result<Launched>> {
        let open = || {
            let (ours, theirs) = stream()?;
            self.control.open(theirs.into());
            Ok(Launched::stream(ours))
        };
        Task::ready(self.lost().map_or_else(open, Err))
    }

    /// The gateway passes on all that has reached it before it closes a worker's stream.
    fn ended(&self, _: usize, ending: &mut Ending) {
        ending.loses_records = ending.was_reset;
    }
}

impl Keeper for Gateway {
    fn free(&self, id: u64) {
        self.control.free(id);
    }
}

impl Drop for Gateway {
    /// When the gateway's connection is gone, the scheduler removes everything that it had; the
    /// gateway itself has nothing to do.
    fn drop(&mut self) {
        let mut process = self.process.lock();
        let _ = process.kill();
        let _ = process.wait();
    }
}
