//! Workers on the nodes of a Slurm cluster.
//!
//! **Job.** Slurm starts processes where it finds room, and each of them calls back. The pool
//! listens; a thread submits jobs for the slots that the driver wants to fill, answers new
//! connections (`strangers`, `handshake`), and keeps those that proved to be the pool's. Such a
//! TCP connection is the worker's stream, without anything in between.
//!
//! **Protocol.** A slot that is to be filled, and cannot be yet, is *asked* for, and asked for
//! again now and then; when a worker has come the driver is told. Each worker has two connections:
//! its stream, and one on which its end is told (`holder`). The second carries nothing else, so its
//! silence means something: a machine that is cut off is noticed there, whatever is under way on
//! the stream, and that is shut down. What the worker was sent and had not answered then counts as
//! begun.
//!
//! **Secret.** The key goes to the nodes through standard input: in the batch script, which Slurm
//! shows to this user and its administrators only (`sbatch`), or through `srun`'s. It is on no
//! command line, in no environment, and in no file of ours. With it goes the shell's line that
//! starts the worker, and in that what the user says with `env`.
//!
//! **Ends.** The pool ends: workers are told to leave; what is left of its jobs is cancelled by
//! their name, the files are removed. This process is killed: the connections end, and with them
//! the workers; a job that still waits in Slurm's queue starts some time, finds no pool, and ends.
//! What the workers have printed stays then, and goes after a month, when another pool is built.
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
use super::slurm_jobs::{Jobs, Secret, Way, job_name, own_address};
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

/// How often the driver asks again for a slot that waits. One that it has not asked for so long
/// three times is not wanted.
const AGAIN: Duration = Duration::from_secs(1);

/// No limit is longer: times behind it might not exist.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long a worker waits for its second connection, or for a slot while none is free.
const UNWANTED: Duration = Duration::from_secs(10);

/// How often Slurm is asked what has become of jobs that have not called back: at first, and at
/// last.
const LOOKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long callers are told of a failure, until jobs are submitted again.
const FAILS: Duration = Duration::from_secs(1);

/// How long no connection is accepted after the system has refused one.
const DEAF: Duration = Duration::from_millis(100);

/// How often connections are looked at that should say nothing.
const PULSE: Duration = Duration::from_secs(5);

/// After so many jobs that have ended before they called back, and none that has, none will.
const EARLY: usize = 5;

/// How long what is known of a worker's end may be behind the end of its stream.
const OBITUARY: Duration = Duration::from_millis(50);

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
/// The executable must be on a file system that the nodes share. So must a directory
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
    executable: Option<PathBuf>,
    directory: Option<PathBuf>,
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
            executable: None,
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
        self.idle = limit.min(ENDLESS);
        self
    }

    /// How long Slurm may leave the pool without any worker. Default: 5 minutes. Then `build`, or
    /// what waits to run, ends in an error that has Slurm's reason, and what is queued at Slurm
    /// is cancelled.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit.min(ENDLESS);
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
        self.executable = Some(path.as_ref().to_owned());
        self
    }

    /// Where the pool has its few files, as long as it lives: what workers print. With `sbatch` the
    /// nodes must have the same directory. Default: `trefoil` in `$XDG_CACHE_HOME` or `~/.cache`.
    /// It is made if it is missing. What a pool has left there whose process was killed is removed
    /// when it is a month old and another pool is built.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// The line that starts a worker, as the user's shell on a node reads it, which knows what the
    /// worker is called as `$0`.
    fn start(&self, settings: &Settings, address: SocketAddr) -> Result<Vec<u8>, PoolError> {
        let executable = match &self.executable {
            Some(path) => path.clone(),
            None => std::env::current_exe()?,
        };
        let invitation = dialling(settings.depth, "$$", &address.to_string());
        let mut script = exports(&settings.variables).map_err(PoolError::Engine)?;
        script.extend(format!("export {VARIABLE}=\"{invitation}$0\";").bytes());
        let arguments = std::env::args_os().skip(1);
        for argument in std::iter::once(executable.into_os_string()).chain(arguments) {
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

    /// Where this machine is reached.
    fn bind(&self) -> Result<TcpListener, String> {
        let named = match &self.listen {
            None => own_address().map(|ip| vec![SocketAddr::new(ip, 0)]).ok_or(
                "it is not known by which address the nodes reach this machine: name it with `listen`",
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
            return Err("the nodes are told where to call back: `listen` takes one address of this machine, and not all".to_owned());
        }
        TcpListener::bind(&named[..]).map_err(|error| {
            format!("nothing can listen at {named:?}: {error}; name an address of this machine with `listen`")
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
    fn said(self) -> sealed::Said {
        sealed::Said(Arc::new(self))
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
                    "{nodes}, and `workers({most})` for {most} at most: ask for more with `workers`, or for fewer with `nodes`"
                ),
                None => format!("{nodes} and {most} at most: the first number is the least"),
            }));
        }
        let key = Key::new()?;
        let directory = self.place().map_err(PoolError::Engine)?;
        let program = std::env::current_exe()?;
        let name = job_name(&program, u32::from_ne_bytes(random()?));
        let mut jobs = Jobs {
            way: self.way,
            arguments: self.arguments.clone(),
            secret: Secret::default(),
            name,
            directory,
        };
        jobs.test().map_err(PoolError::Engine)?;
        let listener = self.bind().map_err(PoolError::Engine)?;
        listener.set_nonblocking(true)?;
        let start = self.start(settings, listener.local_addr()?)?;
        jobs.secret = Secret::new(&start, &key);
        jobs.sweep();
        let bell = Bell::new()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            come: Condvar::new(),
            bell,
            key,
            patience: self.patience,
        });
        let ask = |state: &mut State| {
            let until = Instant::now() + self.patience + UNWANTED; // or until the driver asks itself
            state.asked.extend((0..least).map(|slot| (slot, until)));
        };
        ask(&mut shared.state.lock());
        let thread = thread::Builder::new().name("trefoil-slurm".to_owned());
        let theirs = shared.clone();
        let attend = move || Attending::new(theirs, jobs, listener).attend();
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

/// What the pool and the thread share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A worker has come, or none will.
    come: Condvar,
    bell: Bell,
    key: Key,
    patience: Duration,
}

#[derive(Default)]
struct State {
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    /// The slots that wait, and when that was last said.
    asked: HashMap<usize, Instant>,
    /// Those that have dialled once.
    halves: HashMap<u64, Half>,
    ready: VecDeque<Arrived>,
    /// Those that have not called back, and since when that is waited for.
    pending: HashMap<String, Instant>,
    /// By slot.
    present: HashMap<usize, Arrived>,
    /// Why there will be no worker just now.
    failed: Option<(String, Instant)>,
    strangers: Strangers,
    is_over: bool,
}

debug!(impl State, self);

/// One of a worker's connections.
struct Half {
    stream: TcpStream,
    hello: Hello,
    since: Instant,
}

/// A worker that waits to be asked for, or has a slot.
struct Arrived {
    stream: TcpStream,
    tells: TcpStream,
    /// As `scancel` takes it.
    job: String,
    number: u32,
    since: Instant,
    /// Its node is out of reach, so its stream was ended here.
    is_cut: bool,
}

impl Arrived {
    fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.tells.shutdown(Shutdown::Both);
    }
}

impl Shared {
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
        let half = Half {
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
        state.pending.remove(&one.hello.job);
        let number = one.hello.number;
        state.ready.push_back(Arrived {
            // (A client of `srun` has a name of ours.)
            job: match one.hello.job.contains('_') {
                true => one.hello.job,
                false => number.to_string(),
            },
            number,
            stream: one.stream,
            tells: two.stream,
            since,
            is_cut: false,
        });
        drop(state);
        self.tell();
    }

    /// There is news for the driver, or for the thread that builds the pool.
    fn tell(&self) {
        let state = self.state.lock();
        self.come.notify_all();
        if let Some(wake) = &state.wake {
            wake();
        }
    }

    /// There will be no worker just now.
    fn fail(&self, words: String) {
        let mut state = self.state.lock();
        state.failed = Some((words, Instant::now()));
        drop(state);
        self.tell();
    }
}

/// What a pool has of it.
#[derive(Debug)]
struct Connected {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
    elastic: Elastic,
    most: usize,
}

impl Connected {
    /// Waits until the first worker is here, or none will be.
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
        AGAIN
    }

    fn woken_by(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.shared.state.lock().wake = Some(wake);
    }

    fn adjust(&self, policy: &mut Policy) {
        policy.elastic = Some(self.elastic);
    }

    fn obituary(&self, index: usize, reset: bool) -> (Option<Died>, bool) {
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
                    "its connection has ended: Slurm may have ended job {job} (`scancel`, a limit of time or memory), or its node is lost"
                ),
            },
            ..Died::default()
        });
        // (An end that was made here is not the end of what it has said.)
        (Some(died), reset || arrived.is_cut)
    }
}

impl Drop for Connected {
    /// The thread ends what there is.
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a holder says of its worker's end.
fn told(tells: &TcpStream) -> Option<Died> {
    let mut tells = Until::new(tells, OBITUARY); // in all, however slowly bytes come
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

/// The thread that submits, answers and looks after what there is.
struct Attending {
    shared: Arc<Shared>,
    jobs: Jobs,
    listener: TcpListener,
    /// The clients of `srun`.
    clients: HashMap<String, Child>,
    numbers: u64,
    /// When to ask Slurm what has become of the jobs that have not called back, and how long after
    /// that again.
    look: Option<(Instant, Duration)>,
    /// Of those that were not listed at the last look.
    missing: Vec<String>,
    pulse: Instant,
    /// When nothing was asked for first.
    unasked: Option<Instant>,
    /// How many jobs have ended in a row before they called back.
    early: usize,
    /// Until when nothing is submitted, because one of them has.
    rests: Option<Instant>,
}

impl Attending {
    fn new(shared: Arc<Shared>, jobs: Jobs, listener: TcpListener) -> Self {
        Self {
            shared,
            jobs,
            listener,
            clients: HashMap::new(),
            numbers: 0,
            look: None,
            missing: Vec::new(),
            pulse: Instant::now() + PULSE,
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
        let fails = state.failed.as_ref().map(|(_, since)| *since + FAILS);
        let is_calm = state.present.is_empty()
            && state.ready.is_empty()
            && state.halves.is_empty()
            && state.pending.is_empty()
            && state.asked.is_empty();
        drop(state);
        let look = self.look.map(|(at, _)| at);
        let pulse = (!is_calm).then_some(self.pulse);
        let rests = self.rests.filter(|at| now < *at);
        let until = fails
            .into_iter()
            .chain(look)
            .chain(pulse)
            .chain(rests)
            .min();
        let timeout = until.map(|at| at.saturating_duration_since(now));
        let mut fds = [
            PollFd::new(&self.shared.bell, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        poll_patiently(&mut fds, timeout);
        if !fds[0].revents().is_empty() {
            self.shared.bell.silence();
        }
    }

    /// Submits jobs for the slots that wait.
    fn supply(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        if state
            .failed
            .as_ref()
            .is_some_and(|(_, since)| *since + FAILS <= now)
        {
            state.failed = None;
        }
        state.asked.retain(|_, said| now < *said + 3 * AGAIN);
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
                self.look = Some((now + LOOKS[0], LOOKS[0]));
            }
            Err(error) => self
                .shared
                .fail(format!("Slurm takes no more jobs: {error}")),
        }
    }

    /// Clients of `srun`, so many.
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

    /// Whether those that have not called back will.
    fn look(&mut self) {
        let now = Instant::now();
        let Some((at, pause)) = self.look.filter(|(at, _)| *at <= now) else {
            return;
        };
        let state = self.shared.state.lock();
        let pending = state.pending.clone();
        let is_alone = state.ready.is_empty() && state.present.is_empty();
        drop(state);
        let Some(since) = pending.values().min() else {
            self.look = None;
            return;
        };
        let pause = (pause * 2).min(LOOKS[1]);
        self.look = Some((at.max(now) + pause, pause));
        let mut ended = Vec::new();
        for (id, client) in &mut self.clients {
            if pending.contains_key(id) && !matches!(client.try_wait(), Ok(None)) {
                ended.push(id.clone());
            }
        }
        let listed = self.jobs.list();
        if let (Ok(listed), Way::Sbatch) = (&listed, self.jobs.way) {
            let is_listed = |id: &String| listed.iter().any(|job| job.id == *id);
            let missing: Vec<String> = pending
                .keys()
                .filter(|id| !is_listed(id))
                .cloned()
                .collect();
            // (One that has just ended may have called back, and not been answered.)
            ended.extend(
                missing
                    .iter()
                    .filter(|id| self.missing.contains(id))
                    .cloned(),
            );
            self.missing = missing;
        }
        if let Some(first) = ended.first() {
            let words = match self.jobs.last_words(first) {
                Some(words) => why(&words),
                None => format!(
                    "it has left no words: {} must be a directory that the nodes have, too (choose one with `directory`)",
                    self.jobs.directory.display()
                ),
            };
            let words = format!("a job of this pool has ended before it called back: {words}");
            let mut state = self.shared.state.lock();
            for id in &ended {
                state.pending.remove(id);
            }
            let is_served = !state.ready.is_empty() || !state.present.is_empty();
            let others = is_served || !state.pending.is_empty();
            drop(state);
            // One node may be at fault, and the others are not: another job takes its place, soon.
            self.early = if is_served {
                0
            } else {
                self.early + ended.len()
            };
            if others && self.early < EARLY {
                self.rests = Some(now + LOOKS[1]);
                return;
            }
            self.early = 0;
            return self.shared.fail(words);
        }
        if is_alone && now >= *since + self.shared.patience {
            let waits = listed.unwrap_or_default();
            let words = match waits.first() {
                Some(job) => format!(
                    "Slurm has not started a worker in {:?}: job {} is {} ({}); ask for less, or for another partition, with `per_worker`, or wait \
                     longer with `patience`",
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

    /// Ends workers that are not wanted any more, and those that are out of reach.
    fn tidy(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        state.halves.retain(|_, half| now < half.since + UNWANTED);
        if !state.asked.is_empty() {
            self.unasked = None;
        }
        let unasked = *self.unasked.get_or_insert(now);
        if state.asked.is_empty() && now >= unasked + UNWANTED {
            state.ready.retain(|arrived| now < arrived.since + UNWANTED);
        }
        let surplus = state.asked.is_empty() && !state.pending.is_empty();
        if now >= self.pulse {
            self.pulse = now + PULSE;
            for arrived in state.present.values_mut() {
                // (Not `take_error`: it also reports what may pass, such as a route that is missing
                // for now.)
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
        if surplus && now >= unasked + UNWANTED {
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
                    // Perhaps no descriptor is left: the connection that waits would wake this
                    // thread over and over.
                    let mut bell = [PollFd::new(&self.shared.bell, PollFlags::IN)];
                    poll_patiently(&mut bell, Some(DEAF));
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

    /// Leaves nothing.
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
        if some {
            self.jobs.cancel(false);
        }
        self.jobs.clean();
    }
}

/// What to do about the last words of a job that has not called back.
fn why(words: &str) -> String {
    let knows = |some: &str| words.contains(some);
    let way = if knows("another build") {
        "the executable there is another build of the program: put this one there (`executable`)"
    } else if knows("cannot be reached") {
        "its node does not reach this machine: name another address with `listen`, or open the port there"
    } else if knows("GLIBC") || knows("shared librar") {
        "its node lacks libraries of this program: build it for older ones, or statically (`--target x86_64-unknown-linux-musl`)"
    } else if knows("key") {
        "it does not have the pool's key: does something before the program read its standard input?"
    } else if knows("No such file") || knows("not found") || knows("annot open") {
        "a file is missing on its node: the executable and the `directory` must be on a file system that the nodes share"
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
