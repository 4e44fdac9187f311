//! Workers on the nodes of a Slurm cluster.
//!
//! **Job.** Slurm starts processes where it finds room, and each of them dials back to the pool,
//! over one encrypted connection (`common::dial`). A thread (`attend`) submits jobs for the slots
//! that the driver wants to fill; another accepts the workers (`state`) and forwards their streams.
//!
//! **Secret.** The key goes to the nodes through standard input: in the batch script, which Slurm
//! shows only to this user and its administrators (`sbatch`), or through `srun`'s standard input.
//! It is on no command line, in no environment variable and in no file of ours. The shell line that
//! starts the worker goes the same way, with the variables that the user sets with `env`.
//!
//! **Ends.** When the pool ends, it ends the workers' connections and the copies under way, cancels
//! what is left of its jobs by their name, and removes its files. If this process is killed, its
//! connections end, and with them the workers; so do the copies, and a shell that waits for that
//! cancels the jobs and removes the files (`guard`). A job that was just being submitted finds no
//! pool, and exits. The output of `srun`'s clients, and of such a job, stays; a pool that is built
//! a month later removes it.
//!
//! **Executable.** The nodes share it, or have copies of it (`node_copy`). Then that thread finds
//! out which jobs run and have not called back, and sends them one.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/contract.rs::{calls_run_on_the_nodes,
//! the_example_runs_on_a_cluster}`.

mod attend;
mod guard;
mod jobs;
mod launch;
mod node_copy;
mod sending;
mod state;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::common::bell::Bell;
use crate::common::build_id;
use crate::common::descriptors;
use crate::common::dial::{EACH, Holding, Key, Listener, hold, random};
use crate::common::listen::listen;
use crate::common::shell::{defaults, exports, line, quoted};
use attend::Attending;
use jobs::{Jobs, Secret, Way, job_name, own_address};
use launch::Connected;
use node_copy::{NodeCopy, id};
use state::SlurmState;
use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, Task};

/// The longest limit: later times might not be representable.
const LONGEST_LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Workers on the nodes of a [Slurm](https://slurm.schedmd.com) cluster.
///
/// Needs the feature `slurm`, and Slurm's commands on this machine. Slurm places the workers,
/// queues them, limits and accounts for what they use; the pool gives them work. Each worker is a
/// Slurm job (with `sbatch`, a task of an array), runs one item at a time, and calls back over
/// TCP: the nodes must reach this machine. The connection is encrypted and authenticated in both
/// directions, with a key that the pool draws and Slurm passes to the nodes
/// ([Noise](https://noiseprotocol.org), `NNpsk0`). A node that is cut off is noticed after twenty
/// seconds, and its item fails.
///
/// A worker's [`threads_per_worker`](trefoil::ProcessPoolBuilder::threads_per_worker) is by default
/// the number of processors that its job has.
///
/// Workers come and go with the work, within [`nodes`](Self::nodes). An item runs at most once
/// unless it has a `retry`, as it does locally. What is different stands in
/// [remote workers](https://docs.rs/trefoil/latest/trefoil/_documentation/remote_workers/).
///
/// The executable must be on a file system that the nodes share, or be copied to them
/// ([`copy_executable`](Self::copy_executable)). If it is shared, a directory must be, too
/// ([`directory`](Self::directory)), where [`sbatch`](Self::sbatch) puts what workers print.
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil_machines::Slurm;
///
/// trefoil::init();
/// let slurm = Slurm::sbatch().per_worker(["-c4", "--mem=8G"]).nodes(0..=64);
/// let procs = ProcessPool::builder().launcher(slurm).build()?;
/// let squares = procs.map(0..1000, |n: u64| n * n)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Slurm {
    way: Way,
    arguments: Vec<OsString>,
    nodes: RangeInclusive<usize>,
    idle: Duration,
    patience: Duration,
    listen: Option<String>,
    executable: Place,
    directory: Option<PathBuf>,
    connected: Option<Arc<Connected>>,
}

/// Where the executable is on the nodes.
#[derive(Clone, Debug)]
enum Place {
    /// Where it is here.
    Same,
    At(PathBuf),
    /// In copies in this directory.
    Copied(PathBuf),
}

impl Slurm {
    fn new(way: Way) -> Self {
        Self {
            way,
            arguments: Vec::new(),
            nodes: 1..=1,
            idle: Duration::from_secs(30),
            patience: Duration::from_secs(300),
            listen: None,
            executable: Place::Same,
            directory: None,
            connected: None,
        }
    }

    /// Workers are batch jobs: many are submitted at once, as an array. On this machine they have
    /// one process for all, a shell that cancels them, and removes what they have printed, if this
    /// process is killed.
    pub fn sbatch() -> Self {
        Self::new(Way::Sbatch)
    }

    /// Workers are started by `srun`, one client on this machine for each: inside of an allocation
    /// (`salloc`, a batch script) they are steps of it.
    pub fn srun() -> Self {
        Self::new(Way::Srun)
    }

    /// What is passed to `sbatch` or `srun` for each worker: what it needs, and where it may run
    /// (`["-c4", "--mem=8G", "--partition=short"]`). May be called more than once. It comes
    /// after the pool's own arguments.
    pub fn per_worker<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// How many workers are asked for: never fewer than the first number, and as many as there is
    /// work for, up to the second. Default: `1..=1`. Slurm puts several on one node if they fit.
    ///
    /// Workers are asked for when items wait, one for each, or, once it is known how long items
    /// take, one for each 0.3 s of work. One that has been [`idle`](Self::idle) leaves. With 0
    /// no job is submitted until there is work. Otherwise
    /// [`build`](trefoil::ProcessPoolBuilder::build) waits for the first worker, and says why there
    /// is none. [`workers`](trefoil::ProcessPoolBuilder::workers) takes the place of the second
    /// number; if that is less than the first, there is no pool
    /// ([`PoolError::Launcher`]).
    pub fn nodes(mut self, workers: RangeInclusive<usize>) -> Self {
        self.nodes = workers;
        self
    }

    /// How long a worker may have nothing to do until it leaves, if there are more than the least.
    /// Default: 30 s.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit.min(LONGEST_LIMIT);
        self
    }

    /// How long Slurm may leave the pool without any worker. Default: 5 minutes. Then `build`, or
    /// what waits to run, ends in an error that has Slurm's reason, and what is queued at Slurm
    /// is cancelled.
    ///
    /// A job that runs and has not called back for a fifth of this (but at least ten seconds) is
    /// replaced by another, unless the executable is copied to its node.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit.min(LONGEST_LIMIT);
        self
    }

    /// Where to listen: an address of this machine that the nodes reach (`"10.1.2.3"`), with a port
    /// if it must be a certain one (`"10.1.2.3:7000"`). Default: the address from which Slurm's
    /// controller is reached, and any port.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Where the executable is on the nodes. Default: where it is here. Another build of the
    /// program is refused.
    pub fn executable(mut self, path: impl AsRef<Path>) -> Self {
        self.executable = Place::At(path.as_ref().to_owned());
        self
    }

    /// Copies the executable to the nodes: for a cluster that has no shared file system. It goes
    /// with Slurm's `sbcast` to each node that has a worker and no copy yet, into this directory
    /// there (`"/tmp"`). All users may be able to write to that, if it has the sticky bit, as
    /// `/tmp` has: in it, a directory is made that belongs to this user. A copy is known by its
    /// SHA-256, which is compared each time before it is started. One that no pool has used for a
    /// month is removed when another is made.
    ///
    /// What workers print under [`sbatch`](Self::sbatch) is thrown away, unless a
    /// [`directory`](Self::directory) that the nodes share is named for it. Of this and
    /// [`executable`](Self::executable) the last one counts.
    ///
    /// ```no_run
    /// use trefoil::ProcessPool;
    /// use trefoil_machines::Slurm;
    ///
    /// trefoil::init();
    /// let slurm = Slurm::sbatch().copy_executable("/tmp").nodes(0..=64);
    /// let procs = ProcessPool::builder().launcher(slurm).build()?;
    /// assert_eq!(procs.spawn(6, |n: u64| n * 7).join()?, 42);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_executable(mut self, directory: impl AsRef<Path>) -> Self {
        self.executable = Place::Copied(directory.as_ref().to_owned());
        self
    }

    /// Where the pool has its few files, as long as it lives: what workers print. With `sbatch` the
    /// nodes must have the same directory (if the executable is copied, only if one is named).
    /// Default: `trefoil` in `$XDG_CACHE_HOME` or `~/.cache`. It is made if it is missing.
    ///
    /// If this process is killed, the files of batch jobs are removed with the jobs. Those of
    /// `srun`, and what a job has left that was just beginning then, are removed when they are a
    /// month old and another pool is built.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// The shell line that starts a worker on a node. The shell has the job's name as `$0`.
    fn start_line(
        &self,
        program: &Program,
        address: SocketAddr,
        copy: Option<&NodeCopy>,
    ) -> Result<Vec<u8>, PoolError> {
        let word = |path: &Path| quoted(path.as_os_str());
        let (mut script, executable) = match (&self.executable, copy) {
            (_, Some(copy)) => copy.script(self.way),
            (Place::At(path), _) => (Vec::new(), word(path.as_path())),
            _ => (Vec::new(), word(&std::env::current_exe()?)),
        };
        // The client of `srun` has a name of ours, to which the step's is added.
        let job = match self.way {
            Way::Sbatch => id(Way::Sbatch).to_owned(),
            Way::Srun => format!("$0@{}", id(Way::Srun)),
        };
        // A worker is alone in its job, which has so many processors.
        let limits = program.thread_limits(1, 1).map(|(name, _)| name);
        script.extend(defaults(limits, "${SLURM_CPUS_ON_NODE:-1}").bytes());
        script.extend(exports(program.variables()).map_err(PoolError::Launcher)?);
        let invitation = program.entry(hold_worker, &format!("{address} {job}"))?;
        let (name, value) = (invitation.name(), invitation.value());
        script.extend(format!("export {name}=\"{value}\"; ").bytes());
        script.extend(executable);
        for argument in program.arguments() {
            script.push(b' ');
            script.extend(quoted(&argument));
        }
        script.extend(b" >&2; exit $?");
        Ok(line(&script))
    }

    /// Listens at the address by which the nodes reach this machine.
    fn bind(&self) -> Result<TcpListener, String> {
        let found = match &self.listen {
            Some(named) => Some(named.clone()),
            None => own_address().map(|ip| ip.to_string()),
        };
        let unknown = "it is not known by which address the nodes reach this machine: name it with \
            `listen`";
        listen(&found.ok_or(unknown)?)
    }

    fn connected(&self) -> &Connected {
        self.connected
            .as_ref()
            .expect("a pool prepares it before it starts workers")
    }

    fn place(&self) -> Result<PathBuf, String> {
        let cache = || {
            let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
            let home = || set("HOME").map(|home| Path::new(&home).join(".cache"));
            set("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
        };
        let given = self.directory.clone();
        let directory = given.or_else(|| Some(cache()?.join("trefoil")));
        let directory = directory.ok_or("there is no home directory: name one with `directory`")?;
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        let whole = made.and_then(|()| std::path::absolute(&directory));
        whole.map_err(|error| {
            format!(
                "{} cannot be used ({error}): choose another directory with `directory`",
                directory.display()
            )
        })
    }
}

impl Launcher for Slurm {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        build_id(program)?;
        let least = *self.nodes.start();
        let most = program.workers().unwrap_or(*self.nodes.end());
        if least > most {
            let nodes = format!(
                "`nodes({:?})` asks for {least} workers at least",
                self.nodes
            );
            return Err(PoolError::Launcher(match program.workers() {
                Some(_) => format!(
                    "{nodes}, and `workers({most})` for {most} at most: ask for more with \
                     `workers`, or for fewer with `nodes`"
                ),
                None => format!("{nodes} and {most} at most: the first number is the least"),
            }));
        }
        let each = match self.way {
            Way::Sbatch => EACH,
            Way::Srun => EACH + 1, // what holds its client
        };
        descriptors::suffice(most, each).map_err(PoolError::Launcher)?;
        let key = Key::new()?;
        let directory = self.place().map_err(PoolError::Launcher)?;
        let copy = match &self.executable {
            Place::Copied(directory) => Some(NodeCopy::new(program, directory)),
            _ => None,
        };
        let copy = copy.transpose().map_err(PoolError::Launcher)?;
        let name = job_name(&std::env::current_exe()?, u32::from_ne_bytes(random()?));
        let mut jobs = Jobs {
            way: self.way,
            arguments: self.arguments.clone(),
            secret: Secret::default(),
            name,
            directory,
            is_shared: copy.is_none() || self.directory.is_some(),
        };
        jobs.test().map_err(PoolError::Launcher)?;
        let shared = Arc::new(SlurmState {
            state: Mutex::default(),
            come: Condvar::new(),
            bell: Bell::new()?,
            patience: self.patience,
        });
        let theirs = shared.clone();
        let listener = self.bind().map_err(PoolError::Launcher)?;
        let arrive = move |arrival| match arrival {
            Ok(arrived) => theirs.arrive(arrived),
            Err(words) => theirs.fail(words),
        };
        let listener = Listener::new(listener, key.clone(), program.identity(), arrive)?;
        let start = self.start_line(program, listener.address(), copy.as_ref())?;
        jobs.secret = Secret::new(&start, &key);
        jobs.sweep();
        shared.lock().awaited = least; // until the driver asks itself
        let thread = thread::Builder::new().name("trefoil-slurm".to_owned());
        let theirs = shared.clone();
        let thread = thread.spawn(move || Attending::new(theirs, jobs, copy).attend())?;
        let connected = Connected {
            shared,
            thread: Some(thread),
            _listener: listener,
        };
        if least > 0 {
            connected.first().map_err(PoolError::Launcher)?;
        }
        self.connected = Some(Arc::new(connected));
        Ok(Capabilities::slots(most).elastic(least, self.idle))
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        self.connected().start(index)
    }

    fn ended(&self, index: usize, ending: &mut Ending) {
        self.connected().ended(index, ending);
    }

    fn kill(&self, index: usize) {
        self.connected().kill(index);
    }
}

/// On a node: holds a worker. `argument`: the pool's address, and the name of the job.
fn hold_worker(program: &Program, argument: &str) -> i32 {
    let (address, name) = argument.split_once(' ').unwrap_or((argument, ""));
    let number = std::env::var("SLURM_JOB_ID").ok();
    let holding = Holding {
        address,
        name,
        number: number.and_then(|number| number.parse().ok()).unwrap_or(0),
        watches_input: false,
    };
    hold(program, &holding).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "trefoil: a worker could not begin: {error}");
        1
    })
}
