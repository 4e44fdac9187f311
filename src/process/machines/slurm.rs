//! Workers on the nodes of a Slurm cluster.
//!
//! **Job.** Slurm starts processes where it finds room, and each of them connects to the pool,
//! which listens. A thread ([`Attending`]) submits jobs for the slots that the driver wants to
//! fill, answers new connections (`strangers`, `handshake`), and keeps those that have the pool's
//! key. Such a TCP connection is the worker's stream, with nothing in between.
//!
//! **Protocol.** The driver *asks* for each slot that it wants to fill, and repeats that every
//! second until a worker has connected; then it is woken. Each worker has two connections: its
//! stream, and one that reports the worker's exit (`holder`). The second carries nothing else, so
//! the kernel's keep-alive finds a node that is cut off, whatever is in transit on the stream. The
//! pool then shuts the stream down, and everything that the worker was sent and has not answered
//! counts as begun.
//!
//! **Secret.** The key goes to the nodes through standard input: in the batch script, which Slurm
//! shows only to this user and its administrators (`sbatch`), or through `srun`'s standard input.
//! It is on no command line, in no environment variable and in no file of ours. The shell line that
//! starts the worker goes the same way, with the variables that the user sets with `env`.
//!
//! **Ends.** When the pool ends, it ends the workers' connections and the copies that are under way,
//! cancels what is left of its jobs by their name, and removes its files. If this process is killed,
//! its connections end, and with them the workers, and so do the copies; a job that is still in
//! Slurm's queue starts some time, finds no pool, and exits. The files with the workers' output stay
//! then; a pool that is built a month later removes them.
//!
//! **Executable.** The nodes share it, or have copies of it (`slurm_copy`). Then this thread finds
//! out which jobs run and have not called back, and sends them one.
//!
//! Tests: `tests/slurm/`, and below.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::handshake::{self, Hello, Key, Until, random};
use super::shell::{exports, line, quoted};
use super::slurm_copy::{Copies, NodeCopy, Sent, id, trouble};
use super::slurm_jobs::{Jobs, Listed, Secret, Way, job_name, own_address};
use super::strangers::Strangers;
use super::{Connect, Engine, sealed};
use crate::loom::{Condvar, Mutex, thread};
use crate::process::PoolError;
use crate::process::parent::launch::{Launch, Started};
use crate::process::parent::settings::{Settings, WorkerStdout};
use crate::process::sched::{Elastic, Policy};
use crate::process::wire::invitation::{VARIABLE, dialling};
use crate::process::wire::{Died, Record};
use crate::sys::bell::Bell;
use crate::sys::image::image;
use crate::sys::poll::poll_patiently;
use crate::sys::sockets::far;

/// How often the driver repeats a request for a slot. A request that it has not repeated for three
/// times as long is dropped.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// The longest limit: later times might not be representable.
const LONGEST_LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long a worker may wait for its second connection, or for a slot that wants it.
const UNUSED_LIMIT: Duration = Duration::from_secs(10);

/// How often `squeue` is asked about jobs that have not connected: at first, and at most.
const SQUEUE_INTERVALS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long callers get the last failure, until jobs are submitted again.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// How long no connection is accepted after `accept` has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the connections that should carry nothing are checked for errors.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The pool fails after this many jobs ended before they connected, while none has connected.
const MOST_EARLY_ENDS: usize = 5;

/// How long the report of a worker's exit may come after the end of its stream.
const EXIT_REPORT_DELAY: Duration = Duration::from_millis(50);

/// Workers on the nodes of a [Slurm](https://slurm.schedmd.com) cluster.
///
/// Needs the feature `slurm`, and Slurm's commands on this machine. Slurm places the workers,
/// queues them, limits and accounts for what they use; the pool gives them work. Each worker is a
/// job of Slurm's (with `sbatch`, a task of an array), runs one item at a time, and calls back over
/// TCP: the nodes must reach this machine. Both sides show that they have the
/// pool's key; what follows is neither encrypted nor protected from changes.
///
/// Workers come and go with the work, within [`nodes`](Self::nodes). An item runs at most once
/// unless it has a `retry`, as it does locally. What is different stands in
/// [MACHINES](crate::_documentation::machines).
///
/// The executable must be on a file system that the nodes share, or be copied to them
/// ([`copy_executable`](Self::copy_executable)). If it is shared, a directory must be, too
/// ([`directory`](Self::directory)), where [`sbatch`](Self::sbatch) puts what workers print.
///
/// ```no_run
/// use trefoil::{ProcessPool, Slurm};
///
/// trefoil::init();
/// let slurm = Slurm::sbatch().per_worker(["-c4", "--mem=8G"]).nodes(0..=64);
/// let procs = ProcessPool::builder().on(slurm).build()?;
/// let squares = procs.map(0..1000, |n: u64| n * n)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a pool is built on it"]
pub struct Slurm {
    way: Way,
    arguments: Vec<OsString>,
    nodes: RangeInclusive<usize>,
    idle: Duration,
    patience: Duration,
    listen: Option<String>,
    executable: Place,
    directory: Option<PathBuf>,
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
        }
    }

    /// Workers are batch jobs: many are submitted at once, as an array.
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

    /// How many workers there are: never fewer than the first number, and as many as there is work
    /// for, up to the second. Default: `1..=1`. Slurm puts several on one node if they fit.
    ///
    /// Workers are asked for when items wait, one for each, or, once it is known how long items
    /// take, one for each 0.3 s of work. One that has been [`idle`](Self::idle) leaves. With 0
    /// nothing is asked of Slurm until there is work. Otherwise
    /// [`build`](crate::ProcessPoolBuilder::build) waits for the first worker, and says why there
    /// is none. [`workers`](crate::ProcessPoolBuilder::workers) takes the place of the second
    /// number; if that is less than the first, there is no pool
    /// ([`PoolError::Engine`]).
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
    /// there (`"/tmp"`). All users may be able to write to that: in it, a directory is made that
    /// belongs to this user. A copy is known by its SHA-256, which is compared each time before it
    /// is started. One that no pool has used for a month is removed when another is made.
    ///
    /// What workers print under [`sbatch`](Self::sbatch) is thrown away, unless a
    /// [`directory`](Self::directory) that the nodes share is named for it. Of this and
    /// [`executable`](Self::executable) the last one counts.
    ///
    /// ```no_run
    /// use trefoil::{ProcessPool, Slurm};
    ///
    /// trefoil::init();
    /// let slurm = Slurm::sbatch().copy_executable("/tmp").nodes(0..=64);
    /// let procs = ProcessPool::builder().on(slurm).build()?;
    /// assert_eq!(procs.spawn(6, |n: u64| n * 7).join()?, 42);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_executable(mut self, directory: impl AsRef<Path>) -> Self {
        self.executable = Place::Copied(directory.as_ref().to_owned());
        self
    }

    /// Where the pool has its few files, as long as it lives: what workers print. With `sbatch` the
    /// nodes must have the same directory (if the executable is copied, only if one is named).
    /// Default: `trefoil` in `$XDG_CACHE_HOME` or `~/.cache`. It is made if it is missing. What a
    /// pool has left there whose process was killed is removed when it is a month old and another
    /// pool is built.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// The shell line that starts a worker on a node. The shell has the job's name as `$0`.
    fn start(
        &self,
        settings: &Settings,
        address: SocketAddr,
        copy: Option<&NodeCopy>,
    ) -> Result<Vec<u8>, PoolError> {
        let word = |path: &Path| quoted(path.as_os_str());
        let (mut script, executable) = match (&self.executable, copy) {
            (_, Some(copy)) => copy.script(self.way),
            (Place::At(path), _) => (Vec::new(), word(path)),
            _ => (Vec::new(), word(&std::env::current_exe()?)),
        };
        let invitation = dialling(settings.depth, "$$", &address.to_string());
        // The client of `srun` has a name of ours, to which the step's is added.
        let job = match self.way {
            Way::Sbatch => id(Way::Sbatch).to_owned(),
            Way::Srun => format!("$0@{}", id(Way::Srun)),
        };
        script.extend(exports(&settings.variables).map_err(PoolError::Engine)?);
        script.extend(format!("export {VARIABLE}=\"{invitation}{job}\"; ").bytes());
        script.extend(executable);
        for argument in std::env::args_os().skip(1) {
            script.push(b' ');
            script.extend(quoted(&argument));
        }
        script.extend(match settings.stdout {
            WorkerStdout::Null => &b" >/dev/null"[..],
            WorkerStdout::Inherit | WorkerStdout::Capture => b" >&2",
        });
        script.extend(b"; exit $?");
        Ok(line(&script))
    }

    /// Listens at the address by which the nodes reach this machine.
    fn bind(&self) -> Result<TcpListener, String> {
        let named = match &self.listen {
            None => own_address().map(|ip| vec![SocketAddr::new(ip, 0)]).ok_or(
                "it is not known by which address the nodes reach this machine: name it with \
                 `listen`",
            )?,
            Some(text) => {
                let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
                let found = match bare {
                    Ok(ip) => Ok(vec![SocketAddr::new(ip, 0)]),
                    Err(_) => {
                        let with_port = text.to_socket_addrs();
                        let found = with_port.or_else(|_| (&**text, 0).to_socket_addrs());
                        found.map(Iterator::collect)
                    }
                };
                found.map_err(|error| format!("`{text}` is no address to listen at: {error}"))?
            }
        };
        if named.iter().any(|address| address.ip().is_unspecified()) {
            return Err(
                "the nodes are told where to call back: `listen` takes one address of this \
                machine, and not all"
                    .to_owned(),
            );
        }
        TcpListener::bind(&named[..]).map_err(|error| {
            format!(
                "nothing can listen at {named:?}: {error}; name an address of this machine \
                with `listen`"
            )
        })
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

impl Engine for Slurm {
    fn connector(self) -> sealed::Connector {
        sealed::Connector(Arc::new(self))
    }
}

impl Connect for Slurm {
    fn connect(&self, settings: &Settings) -> Result<Arc<dyn Launch>, PoolError> {
        let least = *self.nodes.start();
        let most = settings.asked.unwrap_or(*self.nodes.end());
        if least > most {
            let nodes = format!(
                "`nodes({:?})` asks for {least} workers at least",
                self.nodes
            );
            return Err(PoolError::Engine(match settings.asked {
                Some(_) => format!(
                    "{nodes}, and `workers({most})` for {most} at most: ask for more with \
                     `workers`, or for fewer with `nodes`"
                ),
                None => format!("{nodes} and {most} at most: the first number is the least"),
            }));
        }
        let key = Key::new()?;
        let directory = self.place().map_err(PoolError::Engine)?;
        let copy = match &self.executable {
            Place::Copied(directory) => Some(NodeCopy::new(directory)),
            _ => None,
        };
        let copy = copy.transpose().map_err(PoolError::Engine)?;
        let program = std::env::current_exe()?;
        let name = job_name(&program, u32::from_ne_bytes(random()?));
        let mut jobs = Jobs {
            way: self.way,
            arguments: self.arguments.clone(),
            secret: Secret::default(),
            name,
            directory,
            is_shared: copy.is_none() || self.directory.is_some(),
        };
        jobs.test().map_err(PoolError::Engine)?;
        let listener = self.bind().map_err(PoolError::Engine)?;
        listener.set_nonblocking(true)?;
        let start = self.start(settings, listener.local_addr()?, copy.as_ref())?;
        jobs.secret = Secret::new(&start, &key);
        jobs.sweep();
        let bell = Bell::new()?;
        let shared = Arc::new(SlurmState {
            state: Mutex::default(),
            come: Condvar::new(),
            bell,
            key,
            patience: self.patience,
        });
        let ask = |state: &mut State| {
            // or until the driver asks itself
            let until = Instant::now() + self.patience + UNUSED_LIMIT;
            state.asked.extend((0..least).map(|slot| (slot, until)));
        };
        ask(&mut shared.state.lock());
        let thread = thread::Builder::new().name("trefoil-slurm".to_owned());
        let theirs = shared.clone();
        let attend = move || Attending::new(theirs, jobs, copy, listener).attend();
        let thread = thread.spawn(attend)?;
        let connected = Connected {
            shared,
            thread: Some(thread),
            elastic: Elastic {
                least,
                idle: self.idle,
            },
            most,
        };
        if least > 0 {
            connected.first().map_err(PoolError::Engine)?;
        }
        Ok(Arc::new(connected))
    }
}

/// The state that the pool and the thread share.
#[derive(Debug)]
struct SlurmState {
    state: Mutex<State>,
    /// A worker has connected, or the pool has failed.
    come: Condvar,
    bell: Bell,
    key: Key,
    patience: Duration,
}

#[derive(Default)]
struct State {
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    /// The slots that the driver has requested, and when it last did.
    asked: HashMap<usize, Instant>,
    /// The workers with only one connection so far, by their tickets.
    halves: HashMap<u64, FirstConnection>,
    ready: VecDeque<Arrived>,
    /// The jobs that have not connected, and when they were submitted.
    pending: HashMap<String, Instant>,
    /// The workers that have slots, by slot.
    present: HashMap<usize, Arrived>,
    /// Why the pool gets no workers at present, and since when.
    failed: Option<(String, Instant)>,
    strangers: Strangers,
    is_over: bool,
}

debug!(impl State, self);

impl State {
    /// The workers that have called back.
    fn here(&self) -> impl Iterator<Item = &Arrived> {
        self.ready.iter().chain(self.present.values())
    }
}

/// The first of a worker's two connections.
struct FirstConnection {
    stream: TcpStream,
    hello: Hello,
    since: Instant,
}

/// A worker with both connections, which waits for a slot or has one.
struct Arrived {
    stream: TcpStream,
    tells: TcpStream,
    /// The id of the job, or of its step, in `scancel`'s syntax.
    job: String,
    number: u32,
    since: Instant,
    /// Its node is out of reach, so the pool has shut its stream down.
    is_cut: bool,
}

impl Arrived {
    fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.tells.shutdown(Shutdown::Both);
    }
}

impl SlurmState {
    /// Answers a new connection, on a thread of its own.
    fn answer(&self, number: u64, stream: Arc<TcpStream>) {
        let judge = |hello: &Hello| match hello.copy == image().name() {
            true => Ok(()),
            false => Err("the executable there is another build of the program".to_owned()),
        };
        let prepared = stream.set_nonblocking(false);
        let heard = prepared
            .map_err(Into::into)
            .and_then(|()| handshake::answer(&stream, &self.key, handshake::LIMIT, judge));
        let heard = heard.ok();
        let heard = heard.filter(|hello| far(&stream, !hello.is_stream).is_ok());
        let mut state = self.state.lock();
        let stays = state.strangers.leave(number) && !state.is_over;
        let Some((hello, stream)) = heard.filter(|_| stays).zip(Arc::into_inner(stream)) else {
            return; // it says itself why
        };
        let since = Instant::now();
        let half = FirstConnection {
            stream,
            hello,
            since,
        };
        let Some(other) = state.halves.remove(&half.hello.ticket) else {
            state.halves.insert(half.hello.ticket, half);
            return;
        };
        if other.hello.is_stream == half.hello.is_stream {
            return;
        }
        let (one, two) = match half.hello.is_stream {
            true => (half, other),
            false => (other, half),
        };
        let job = &one.hello.job;
        let (name, step) = job.split_once('@').unwrap_or((job, job));
        state.pending.remove(name);
        state.ready.push_back(Arrived {
            job: step.to_owned(),
            number: one.hello.number,
            stream: one.stream,
            tells: two.stream,
            since,
            is_cut: false,
        });
        drop(state);
        self.tell();
    }

    /// Wakes the driver, and the thread that builds the pool.
    fn tell(&self) {
        let state = self.state.lock();
        self.come.notify_all();
        if let Some(wake) = &state.wake {
            wake();
        }
    }

    /// Records that no worker can be had at present, and why.
    fn fail(&self, words: String) {
        let mut state = self.state.lock();
        state.failed = Some((words, Instant::now()));
        drop(state);
        self.tell();
    }
}

/// The pool's side of the engine.
#[derive(Debug)]
struct Connected {
    shared: Arc<SlurmState>,
    thread: Option<thread::JoinHandle<()>>,
    elastic: Elastic,
    most: usize,
}

impl Connected {
    /// Waits until the first worker has connected, or the pool has failed.
    fn first(&self) -> Result<(), String> {
        let mut state = self.shared.state.lock();
        loop {
            if !state.ready.is_empty() {
                return Ok(());
            }
            if let Some((words, _)) = &state.failed {
                return Err(words.clone());
            }
            state = self.shared.come.wait(state);
        }
    }
}

impl Launch for Connected {
    fn slots(&self) -> usize {
        self.most
    }

    fn may_start(&self, index: usize, _: &[usize]) -> bool {
        let mut state = self.shared.state.lock();
        if !state.ready.is_empty() || state.failed.is_some() {
            return true;
        }
        let is_new = state.asked.insert(index, Instant::now()).is_none();
        drop(state);
        if is_new {
            self.shared.bell.ring();
        }
        false
    }

    fn start(&self, index: usize) -> io::Result<Started> {
        let mut state = self.shared.state.lock();
        state.asked.remove(&index);
        let Some(arrived) = state.ready.pop_front() else {
            let failed = state.failed.as_ref().map(|(words, _)| words.clone());
            return Err(io::Error::other(failed.unwrap_or_default()));
        };
        let socket = arrived.stream.try_clone()?;
        let number = match arrived.number {
            0 => u32::try_from(index + 1).unwrap_or(u32::MAX),
            number => number,
        };
        state.present.insert(index, arrived);
        Ok(Started {
            socket: socket.into(),
            kept: None,
            child: None,
            output: None,
            words: None,
            pid: number,
        })
    }

    fn machine(&self, index: usize) -> Option<String> {
        let state = self.shared.state.lock();
        let address = state.present.get(&index)?.stream.peer_addr();
        Some(address.ok()?.ip().to_string())
    }

    fn again(&self) -> Duration {
        REQUEST_INTERVAL
    }

    fn woken_by(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.shared.state.lock().wake = Some(wake);
    }

    fn adjust(&self, policy: &mut Policy) {
        policy.elastic = Some(self.elastic);
    }

    fn exit_report(&self, index: usize, reset: bool) -> (Option<Died>, bool) {
        let Some(arrived) = self.shared.state.lock().present.remove(&index) else {
            return (None, reset);
        };
        let told = told(&arrived.tells);
        arrived.end();
        let job = &arrived.job;
        let died = told.unwrap_or_else(|| Died {
            note: match arrived.is_cut {
                true => format!("the node of job {job} does not answer any more"),
                false => format!(
                    "its connection has ended: Slurm may have ended job {job} (`scancel`, a limit \
                     of time or memory), or its node is lost"
                ),
            },
            ..Died::default()
        });
        // (If the pool itself shut the stream down, output of the worker may be lost.)
        (Some(died), reset || arrived.is_cut)
    }
}

impl Drop for Connected {
    /// The thread ends the workers and the jobs.
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the holder's report of its worker's exit.
fn told(tells: &TcpStream) -> Option<Died> {
    let mut tells = Until::new(tells, EXIT_REPORT_DELAY); // in all, however slowly bytes come
    let mut words = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Ok(Some((Record::Died(died), _))) = Record::decode(&words) {
            return Some(died);
        }
        match tells.read(&mut buffer) {
            Ok(count) if count > 0 && words.len() < buffer.len() => {
                words.extend_from_slice(&buffer[..count]);
            }
            _ => return None,
        }
    }
}

/// The thread that submits jobs, answers connections, and checks both.
struct Attending {
    shared: Arc<SlurmState>,
    jobs: Jobs,
    copies: Option<Copies>,
    /// Why a copy could not be sent, last.
    not_sent: Option<String>,
    listener: TcpListener,
    /// The clients of `srun`.
    clients: HashMap<String, Child>,
    numbers: u64,
    /// When to ask `squeue` next about the jobs that have not connected, and the pause before that.
    look: Option<(Instant, Duration)>,
    /// Jobs that `squeue` did not list last time.
    missing: Vec<String>,
    next_check: Instant,
    /// Since when the driver has requested no worker.
    unasked: Option<Instant>,
    /// How many jobs in a row have ended before they connected.
    early: usize,
    /// Until when nothing is submitted, because a job ended before it connected.
    rests: Option<Instant>,
}

impl Attending {
    fn new(
        shared: Arc<SlurmState>,
        jobs: Jobs,
        copy: Option<NodeCopy>,
        listener: TcpListener,
    ) -> Self {
        Self {
            shared,
            jobs,
            copies: copy.map(Copies::new),
            not_sent: None,
            listener,
            clients: HashMap::new(),
            numbers: 0,
            look: None,
            missing: Vec::new(),
            next_check: Instant::now() + CHECK_INTERVAL,
            unasked: None,
            early: 0,
            rests: None,
        }
    }

    fn attend(mut self) {
        while !self.shared.state.lock().is_over {
            self.supply();
            self.look();
            self.tidy();
            self.sleep();
            self.accept();
        }
        self.finish();
    }

    fn sleep(&self) {
        let state = self.shared.state.lock();
        let now = Instant::now();
        let fails = state
            .failed
            .as_ref()
            .map(|(_, since)| *since + FAILURE_PAUSE);
        let is_calm = state.present.is_empty()
            && state.ready.is_empty()
            && state.halves.is_empty()
            && state.pending.is_empty()
            && state.asked.is_empty();
        drop(state);
        let look = self.look.map(|(at, _)| at);
        let next_check = (!is_calm).then_some(self.next_check);
        let rests = self.rests.filter(|at| now < *at);
        let until = fails
            .into_iter()
            .chain(look)
            .chain(next_check)
            .chain(rests)
            .min();
        let timeout = until.map(|at| at.saturating_duration_since(now));
        let mut fds = vec![
            PollFd::new(&self.shared.bell, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        fds.extend(self.copies.iter().flat_map(Copies::ends));
        poll_patiently(&mut fds, timeout);
        if !fds[0].revents().is_empty() {
            self.shared.bell.silence();
        }
    }

    /// Submits jobs for the slots that the driver has requested.
    fn supply(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        if state
            .failed
            .as_ref()
            .is_some_and(|(_, since)| *since + FAILURE_PAUSE <= now)
        {
            state.failed = None;
        }
        state
            .asked
            .retain(|_, said| now < *said + 3 * REQUEST_INTERVAL);
        let there = state.ready.len() + state.pending.len();
        let more = state.asked.len().saturating_sub(there);
        let failed = state.failed.is_some();
        drop(state);
        if more == 0 || failed || self.rests.is_some_and(|at| now < at) {
            return;
        }
        self.rests = None;
        let submitted = match self.jobs.way {
            Way::Sbatch => self.jobs.submit(more),
            Way::Srun => self.start(more),
        };
        match submitted {
            Ok(ids) => {
                let mut state = self.shared.state.lock();
                state.pending.extend(ids.into_iter().map(|id| (id, now)));
                self.look = Some((now + SQUEUE_INTERVALS[0], SQUEUE_INTERVALS[0]));
            }
            Err(error) => self
                .shared
                .fail(format!("Slurm takes no more jobs: {error}")),
        }
    }

    /// Starts `many` clients of `srun`.
    fn start(&mut self, many: usize) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for _ in 0..many {
            let id = format!("s{}", self.numbers);
            self.numbers += 1;
            let client = self.jobs.start(&id)?;
            self.clients.insert(id.clone(), client);
            ids.push(id);
        }
        Ok(ids)
    }

    /// Finds out whether the jobs that have not connected still can.
    fn look(&mut self) {
        let now = Instant::now();
        let mut unsent = Vec::new();
        for (id, sent) in self.copies.iter_mut().flat_map(Copies::ended) {
            match sent {
                Sent::Yes => {}
                Sent::NotWaiting => {
                    let soon = now + SQUEUE_INTERVALS[0]; // it may wait for one in a moment
                    self.look = self.look.map(|(at, pause)| (at.min(soon), pause));
                }
                Sent::No(words) => unsent.push((id, words)),
            }
        }
        // (Without a next time no job is pending, and so none that a failed copy could concern.)
        let is_time = |at: Instant| at <= now || !unsent.is_empty();
        let Some((at, pause)) = self.look.filter(|(at, _)| is_time(*at)) else {
            return;
        };
        let state = self.shared.state.lock();
        let pending = state.pending.clone();
        let here: Vec<String> = state.here().map(|arrived| arrived.job.clone()).collect();
        drop(state);
        let is_alone = here.is_empty();
        let Some(since) = pending.values().min() else {
            self.look = None;
            return;
        };
        let pause = (pause * 2).min(SQUEUE_INTERVALS[1]);
        self.look = Some((at.max(now) + pause, pause));
        let mut ended = Vec::new();
        for (id, client) in &mut self.clients {
            if pending.contains_key(id) && !matches!(client.try_wait(), Ok(None)) {
                ended.push(id.clone());
            }
        }
        for (id, words) in unsent {
            if here.contains(&id) {
                continue; // another job has got one there
            }
            self.jobs.cancel_one(&id);
            self.not_sent = Some(words);
            ended.extend(pending.contains_key(&id).then_some(id));
        }
        let listed = self.jobs.list();
        self.send(listed.as_deref().unwrap_or_default());
        if let (Ok(listed), Way::Sbatch) = (&listed, self.jobs.way) {
            let is_listed = |id: &String| listed.iter().any(|job| job.id == *id);
            let missing: Vec<String> = pending
                .keys()
                .filter(|id| !is_listed(id))
                .cloned()
                .collect();
            // (A job that ended just now may have connected, and not been answered yet: it must be
            // missing twice.)
            ended.extend(
                missing
                    .iter()
                    .filter(|id| self.missing.contains(id))
                    .cloned(),
            );
            self.missing = missing;
        }
        if let Some(first) = ended.first() {
            let words = self.last_words(first);
            let words = format!("a job of this pool has ended before it called back: {words}");
            let mut state = self.shared.state.lock();
            for id in &ended {
                state.pending.remove(id);
            }
            let is_served = !state.ready.is_empty() || !state.present.is_empty();
            let others = is_served || !state.pending.is_empty();
            drop(state);
            // The fault may be that node's only: after a pause, another job replaces this one.
            self.early = if is_served {
                0
            } else {
                self.early + ended.len()
            };
            if others && self.early < MOST_EARLY_ENDS {
                self.rests = Some(now + SQUEUE_INTERVALS[1]);
                return;
            }
            self.early = 0;
            return self.shared.fail(words);
        }
        if is_alone && now >= *since + self.shared.patience {
            let waits = listed.unwrap_or_default();
            let words = match waits.first() {
                Some(job) => format!(
                    "Slurm has not started a worker in {:?}: job {} is {} ({}); ask for less, or \
                     for another partition, with `per_worker`, or wait longer with `patience`",
                    self.shared.patience, job.id, job.state, job.reason
                ),
                None => format!("no worker has called back in {:?}", self.shared.patience),
            };
            self.jobs.cancel(false);
            self.shared.state.lock().pending.clear();
            self.end_clients();
            self.shared.fail(words);
        }
    }

    /// Sends the executable to nodes that may lack it.
    fn send(&mut self, listed: &[Listed]) {
        let Some(copies) = &mut self.copies else {
            return;
        };
        for job in self.jobs.running(listed) {
            let state = self.shared.state.lock();
            let is_here = state.here().any(|arrived| arrived.job == job.id);
            drop(state);
            if !is_here {
                copies.begin(&job.id, &job.node);
            }
        }
    }

    /// Why a job has ended before it called back.
    fn last_words(&mut self, id: &str) -> String {
        if let Some(words) = self.not_sent.take() {
            return words;
        }
        let said = self.jobs.last_words(id);
        if self.copies.is_some() {
            let ended = match self.jobs.way {
                Way::Sbatch => self.jobs.ended(id),
                Way::Srun => None,
            };
            let (code, node) = ended.unzip();
            let on = node
                .map(|node| format!(" (job {id} on {node})"))
                .unwrap_or_default();
            if let Some(words) = trouble(code, said.as_deref().unwrap_or_default()) {
                return format!("{words}{on}");
            }
            if let (None, Some(code)) = (&said, code) {
                return format!(
                    "its exit code is {code}, and what it said is not kept where the executable is \
                     copied: `Slurm::srun()` shows it, or a `directory` that the nodes share{on}"
                );
            }
        }
        match said {
            Some(words) => why(&words),
            None => format!(
                "it has left no words: {} must be a directory that the nodes have, too (choose \
                 one with `directory`)",
                self.jobs.directory.display()
            ),
        }
    }

    /// Ends workers that no slot wants, and those whose nodes are out of reach.
    fn tidy(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        state
            .halves
            .retain(|_, half| now < half.since + UNUSED_LIMIT);
        if !state.asked.is_empty() {
            self.unasked = None;
        }
        let unasked = *self.unasked.get_or_insert(now);
        if state.asked.is_empty() && now >= unasked + UNUSED_LIMIT {
            state
                .ready
                .retain(|arrived| now < arrived.since + UNUSED_LIMIT);
        }
        let surplus = state.asked.is_empty() && !state.pending.is_empty();
        if now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            for arrived in state.present.values_mut() {
                // (Not `take_error`: it also reports errors that may pass, such as a temporarily
                // missing route.)
                let mut tells = [PollFd::new(&arrived.tells, PollFlags::empty())];
                poll_patiently(&mut tells, Some(Duration::ZERO));
                let is_lost = !tells[0].revents().is_empty();
                if is_lost && !arrived.is_cut {
                    arrived.is_cut = true;
                    arrived.end();
                }
            }
        }
        drop(state);
        if surplus && now >= unasked + UNUSED_LIMIT {
            self.jobs.cancel(true);
            if let (Ok(listed), Way::Sbatch) = (self.jobs.list(), self.jobs.way) {
                let is_listed = |id: &String| listed.iter().any(|job| job.id == *id);
                let mut state = self.shared.state.lock();
                state.pending.retain(|id, _| is_listed(id));
            }
            self.unasked = Some(now);
        }
        let pending = &self.shared.state.lock().pending;
        self.clients
            .retain(|id, client| pending.contains_key(id) || matches!(client.try_wait(), Ok(None)));
    }

    fn accept(&self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Perhaps no descriptor is left. Polling the listener would return at once,
                    // again and again.
                    let mut bell = [PollFd::new(&self.shared.bell, PollFlags::IN)];
                    poll_patiently(&mut bell, Some(ACCEPT_PAUSE));
                    return;
                }
            };
            let (number, stream) = self.shared.state.lock().strangers.admit(stream);
            let shared = self.shared.clone();
            let answering = thread::Builder::new().name("trefoil-answer".to_owned());
            if answering
                .spawn(move || shared.answer(number, stream))
                .is_err()
            {
                self.shared.state.lock().strangers.leave(number);
            }
        }
    }

    fn end_clients(&mut self) {
        for client in self.clients.values_mut() {
            drop(client.stdin.take()); // which ends it
        }
        for (_, mut client) in self.clients.drain() {
            let _ = client.wait();
        }
    }

    /// Ends all workers and jobs, and removes the files.
    fn finish(mut self) {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        let some =
            !state.pending.is_empty() || !state.present.is_empty() || !state.ready.is_empty();
        state.ready.iter().for_each(Arrived::end);
        state.present.values().for_each(Arrived::end);
        let rest = std::mem::take(&mut *state);
        state.is_over = true; // for connections in their handshake
        drop(state);
        drop(rest);
        self.end_clients();
        if let Some(copies) = self.copies.take() {
            copies.end();
        }
        if some {
            self.jobs.cancel(false);
        }
        self.jobs.clean();
    }
}

/// What to do about a job that ended before it connected; `words` is the last line that it wrote.
fn why(words: &str) -> String {
    let knows = |some: &str| words.contains(some);
    let way = if knows("another build") {
        "the executable there is another build of the program: put this one there (`executable`)"
    } else if knows("cannot be reached") {
        "its node does not reach this machine: name another address with `listen`, or open the \
         port there"
    } else if knows("GLIBC") || knows("shared librar") {
        "its node lacks libraries of this program: build it for older ones, or statically \
         (`--target x86_64-unknown-linux-musl`)"
    } else if knows("key") {
        "it does not have the pool's key: does something before the program read its standard \
         input?"
    } else if knows("No such file") || knows("not found") || knows("annot open") {
        "a file is missing on its node: the executable and the `directory` must be on a file \
         system that the nodes share (where there is none, `copy_executable`)"
    } else {
        "does `main` begin with `trefoil::init()`?"
    };
    format!("{way} ({words})")
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one() {
        let listens = |text: &str| Slurm::sbatch().listen(text).bind();
        for right in ["127.0.0.1", "127.0.0.1:0", "localhost"] {
            let listener = listens(right).unwrap();
            assert!(listener.local_addr().unwrap().ip().is_loopback(), "{right}");
        }
        for (wrong, word) in [
            ("0.0.0.0", "one address"),
            ("no such host", "is no address"),
            ("192.0.2.1", "listen"),
        ] {
            let words = listens(wrong).unwrap_err();
            assert!(words.contains(word), "{words}");
        }
    }

    #[test]
    fn last_words_say_what_to_do() {
        let words = why(
            "trefoil: a worker could not begin: the pool at 10.0.0.1:7: it does not have the key",
        );
        assert!(words.contains("standard input"), "{words}");
        assert!(why("/bin/x: No such file or directory").contains("share"));
        assert!(why("hello").contains("`trefoil::init()`"));
    }
}
