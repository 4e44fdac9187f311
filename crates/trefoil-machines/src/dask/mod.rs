//! Workers on a Dask cluster.
//!
//! **Job.** Dask places workers, and nothing else: a process of the user's own Python (`placer`)
//! submits a task for each, which starts a process of this program on the cluster. That process
//! calls the pool back, and is a worker like any other from then on: Dask sees neither items nor
//! results. The task lasts as long as its worker, so Dask's thread counts as busy.
//!
//! **Ends.** When the pool ends, so do the workers' connections, and with them the workers and
//! their tasks. If this process is killed, the same happens, and Python sees the end of its
//! standard input. If Dask's worker ends or is killed, the standard input of each process that it
//! has started ends, on which that ends its worker.
//!
//! **Secret.** The key of the pool's connections goes through the standard input of `placer`,
//! Dask's scheduler and the standard input of the process there. It is on no command line, in no
//! environment variable, in no file and in no log.
//!
//! Tests:
//! `crates/trefoil-machines/tests/dask/contract.rs::{calls_maps_and_streams_give_what_they_do_here,
//! settings_reach_the_processes_there}`, `test_holder.py`, `test_placer.py`.

mod orders;
mod placer;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, Task};

use crate::common::descriptors;
use crate::common::dial::{EACH, Holding, Key, Listener, hold, random};
use crate::common::listen::listen;
use crate::common::{build_id, program_name};
use orders::Orders;
use placer::{Answer, Line, Look, Placer};

/// The longest limit: later times might not be representable.
const LONGEST_LIMIT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long the placer may take to be connected: Python alone may need seconds to begin.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// What the cluster has room for, and an address of this machine that it reaches; or why there is
/// no cluster.
type Ready = Result<(usize, String), String>;

/// Workers on a [Dask](https://distributed.dask.org) cluster.
///
/// Needs the feature `dask`, Linux, and on this machine a Python interpreter that has Dask's
/// `distributed`, 2024.1 or newer, in the version of the cluster. Dask places the workers and
/// queues them; the pool gives them work. Each worker takes one of the cluster's threads as long
/// as it lives, runs one item at a time, and calls back over TCP: the cluster's machines must
/// reach this one. What passes on these connections is encrypted, and both sides show that they
/// have the pool's key.
///
/// Nothing of this program has to be installed on the cluster: the executable travels once to each
/// of the Dask workers that need it, and is checked there by its SHA-256. Workers come and go with
/// the work, within [`threads`](Self::threads). An item runs at most once unless it has a `retry`,
/// as it does locally. What is different stands in
/// [remote workers](https://docs.rs/trefoil/latest/trefoil/_documentation/remote_workers/).
///
/// [`threads_per_worker`](trefoil::ProcessPoolBuilder::threads_per_worker) is 1 by default, since
/// Dask's workers have a thread for each processor; what the Dask worker's environment says
/// counts more.
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil_machines::Dask;
///
/// trefoil::init();
/// let dask = Dask::connect("tls://scheduler:8786").threads(0..=64);
/// let procs = ProcessPool::builder().launcher(dask).build()?;
/// assert_eq!(procs.map(1..=4, |x: u64| x * x)?, [1, 4, 9, 16]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Dask {
    scheduler: (&'static str, OsString),
    python: PathBuf,
    allows_plaintext: bool,
    retries: u32,
    resources: Vec<(String, f64)>,
    priority: i32,
    least: usize,
    most: Option<usize>,
    idle: Duration,
    patience: Duration,
    listen: Option<String>,
    connected: Option<Arc<Connected>>,
}

impl Dask {
    fn new(how: &'static str, scheduler: impl Into<OsString>) -> Self {
        Self {
            scheduler: (how, scheduler.into()),
            python: "python3".into(),
            allows_plaintext: false,
            retries: 2,
            resources: Vec::new(),
            priority: 0,
            least: 1,
            most: None,
            idle: Duration::from_secs(30),
            patience: Duration::from_secs(300),
            listen: None,
            connected: None,
        }
    }

    /// The cluster whose scheduler is at `address`, such as `tls://scheduler:8786`.
    ///
    /// For `tls://` Dask's own configuration says where keys and certificates are.
    pub fn connect(address: impl Into<String>) -> Self {
        Self::new("scheduler", address.into())
    }

    /// The cluster whose scheduler has written this file (`dask scheduler --scheduler-file`).
    pub fn scheduler_file(path: impl AsRef<Path>) -> Self {
        Self::new("file", path.as_ref())
    }

    /// The cluster that Dask's configuration names: `DASK_SCHEDULER_ADDRESS`, or
    /// `scheduler-address` in its files.
    pub fn from_env() -> Self {
        Self::new("configured", "")
    }

    /// The Python interpreter, which must have `distributed`. Default: `python3`.
    pub fn python(mut self, path: impl AsRef<Path>) -> Self {
        self.python = path.as_ref().to_owned();
        self
    }

    /// Whether another machine's scheduler may be spoken to without TLS. Default: no.
    ///
    /// Such a scheduler runs any code that a process that can reach it sends, and others can read
    /// what it is sent: the key of this pool, and the executable. (What passes between the pool and
    /// its workers is always encrypted, but with that key.)
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allows_plaintext = allow;
        self
    }

    /// How often Dask tries again to start a worker that it could not start: because a machine
    /// lacks what the program needs, for example. Default: 2.
    ///
    /// It has nothing to do with the [`retry`](trefoil::ProcessCall::retry) of a call, which is for
    /// items that have cost a process.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What each worker takes of one of the cluster's resources (`dask worker --resources "GPU=1"`)
    /// as long as it lives. May be called for many. For calls with other needs, make another pool.
    pub fn resource(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
        self.resources.push((name.into(), amount.into()));
        self
    }

    /// Dask's priority of this pool's workers, among all that waits for the cluster's threads: more
    /// is sooner. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// How many workers are asked for, and so how many of the cluster's threads are taken: never
    /// fewer than the first number, and as many as there is work for, up to the second. Default:
    /// `1..`, where as many are the most as the cluster has room for when the pool is built. For a
    /// cluster that will grow, name the second number.
    ///
    /// Workers are asked for when items wait, one for each, or, once it is known how long items
    /// take, one for each 0.3 s of work. One that has been [`idle`](Self::idle) gives its thread
    /// back. With 0 no thread is taken until there is work. Otherwise
    /// [`build`](trefoil::ProcessPoolBuilder::build) waits for the first worker, and says why there
    /// is none. [`workers`](trefoil::ProcessPoolBuilder::workers) takes the place of the second
    /// number; if that is less than the first, there is no pool ([`PoolError::Launcher`]).
    pub fn threads(mut self, workers: impl RangeBounds<usize>) -> Self {
        self.least = match workers.start_bound() {
            Bound::Included(&least) => least,
            Bound::Excluded(&less) => less.saturating_add(1),
            Bound::Unbounded => 0,
        };
        self.most = match workers.end_bound() {
            Bound::Included(&most) => Some(most),
            Bound::Excluded(&more) => Some(more.saturating_sub(1)),
            Bound::Unbounded => None,
        };
        self
    }

    /// How long a worker may have nothing to do until it gives its thread back, if there are more
    /// than the least. Default: 30 s.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit.min(LONGEST_LIMIT);
        self
    }

    /// How long Dask may leave the pool without any worker. Default: 5 minutes. Then `build`, or
    /// what waits to run, ends in an error.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit.min(LONGEST_LIMIT);
        self
    }

    /// Where to listen: an address of this machine that the cluster reaches (`"10.1.2.3"`), with a
    /// port if it must be a certain one (`"10.1.2.3:7000"`). Default: the address from which this
    /// machine reaches the cluster, and any port.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// The first line for the placer.
    fn connects(&self) -> Line {
        let (how, scheduler) = &self.scheduler;
        let mut line = Line::new("connect").with(how, scheduler);
        if self.allows_plaintext {
            line = line.with("plaintext", "1");
        }
        for (name, amount) in &self.resources {
            line = line.with("resource", format!("{name}={amount}"));
        }
        line
    }

    /// The line that says how workers are started.
    fn holds(&self, program: &Program, address: SocketAddr, key: &Key) -> io::Result<Line> {
        let name = program_name().to_string_lossy().into_owned();
        let unique = u32::from_ne_bytes(random()?);
        let invitation = program.entry(begin, &format!("{address} "))?;
        let mut line = Line::new("hold")
            .with("exe", format!("/proc/{}/exe", std::process::id()))
            .with("name", format!("{name}-{unique:08x}"))
            .with("key", key.hex())
            .with("invitation", invitation.to_string())
            .with("retries", self.retries.to_string())
            .with("priority", self.priority.to_string())
            .with("argument", std::env::args_os().next().unwrap_or_default());
        for argument in program.arguments() {
            line = line.with("argument", argument);
        }
        for (name, value) in program.variables() {
            let mut variable = name.to_owned();
            variable.push("=");
            variable.push(value);
            line = line.with("variable", variable);
        }
        // Dask's workers have a thread for each processor, and each may hold one of the pool's.
        for (name, threads) in program.thread_limits(1, 1) {
            line = line.with("default", format!("{name}={threads}"));
        }
        Ok(line)
    }

    /// Why no worker has come for so long.
    fn words(&self) -> String {
        let needs = self.resources.iter();
        let needs: Vec<_> = needs
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect();
        let lacks = if needs.is_empty() {
            String::new()
        } else {
            format!(", or none of its workers has {}", needs.join(", "))
        };
        format!(
            "Dask has not started a worker in {:?}: all of the cluster's threads are busy{lacks}; \
             wait longer with `patience`",
            self.patience
        )
    }

    /// The most workers, where the cluster has room for so many.
    fn most(&self, program: &Program, room: usize) -> Result<usize, String> {
        let (least, workers) = (self.least, program.workers());
        let most = workers.or(self.most).unwrap_or(room.max(1));
        if least <= most {
            return Ok(most);
        }
        let threads = format!("`threads` asks for {least} workers at least");
        Err(match (workers, self.most) {
            (Some(_), _) => format!(
                "{threads}, and `workers({most})` for {most} at most: ask for more with `workers`, \
                 or for fewer with `threads`"
            ),
            (None, Some(_)) => {
                format!("{threads} and {most} at most: the first number is the least")
            }
            (None, None) => format!(
                "{threads}, and the cluster has {room} threads for them: if it will grow, name the \
                 most with `threads({least}..=n)`"
            ),
        })
    }

    /// Starts the process that places workers, which reports once whether it is ready.
    fn start_placer(
        &self,
        orders: &Arc<Mutex<Orders>>,
    ) -> io::Result<(Placer, mpsc::Receiver<Ready>)> {
        let (ready, is_ready) = mpsc::channel();
        let theirs = orders.clone();
        let on_answer = move |answer| match answer {
            Answer::Ready(room, address) => drop(ready.send(Ok((room, address)))),
            Answer::Ended(number, words) => theirs.lock().failed(number, words),
            Answer::Error(words) => {
                theirs.lock().lost(&words);
                let _ = ready.send(Err(words));
            }
        };
        let (theirs, patience, words) = (orders.clone(), self.patience, self.words());
        let look = move || {
            let mut orders = theirs.lock();
            let unwanted = orders.look(patience, &words);
            let is_awaiting = orders.is_waiting();
            Look {
                unwanted,
                is_awaiting,
            }
        };
        let placer = Placer::start(&self.python, self.connects(), on_answer, look)?;
        Ok((placer, is_ready))
    }

    fn connected(&self) -> &Connected {
        self.connected
            .as_ref()
            .expect("a pool prepares it before it starts workers")
    }
}

impl Launcher for Dask {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let refused = |error: io::Error| PoolError::Launcher(error.to_string());
        if !cfg!(target_os = "linux") {
            let words = "workers on Dask are started from Linux only".to_owned();
            return Err(PoolError::Launcher(words));
        }
        build_id(program)?;
        let orders = Arc::new(Mutex::new(Orders::default()));
        let (placer, is_ready) = self.start_placer(&orders).map_err(refused)?;
        let late = |_| "the process that places workers on Dask does not get ready".to_owned();
        let ready = is_ready.recv_timeout(READY_LIMIT).map_err(late);
        let (room, address) = ready.and_then(|ready| ready).map_err(PoolError::Launcher)?;
        let most = self.most(program, room).map_err(PoolError::Launcher)?;
        descriptors::suffice(most, EACH).map_err(PoolError::Launcher)?;
        let listener = listen(self.listen.as_deref().unwrap_or(&address));
        let listener = listener.map_err(PoolError::Launcher)?;
        let key = Key::new()?;
        let arrive = {
            let orders = orders.clone();
            move |arrival| match arrival {
                Ok(arrived) => orders.lock().arrived(arrived),
                Err(words) => orders.lock().fail(words),
            }
        };
        let listener = Listener::new(listener, key.clone(), program.identity(), arrive)?;
        placer.send(self.holds(program, listener.address(), &key)?);
        let connected = Connected {
            orders,
            _listener: listener,
            placer,
            first: Mutex::new(None),
        };
        if self.least > 0 {
            let first = connected.order(0).join().map_err(io::Error::other);
            let first = first.and_then(|first| first).map_err(refused)?;
            *connected.first.lock() = Some(first);
        }
        self.connected = Some(Arc::new(connected));
        Ok(Capabilities::slots(most).elastic(self.least, self.idle))
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let connected = self.connected();
        // (The first slot is the first that is filled.)
        match connected.first.lock().take_if(|_| index == 0) {
            Some(first) => Task::ready(Ok(first)),
            None => connected.order(index),
        }
    }

    fn kill(&self, index: usize) {
        self.connected().orders.lock().kill(index);
    }

    fn ended(&self, index: usize, ending: &mut Ending) {
        let connected = self.connected();
        let number = connected.orders.lock().ended(index, ending);
        if let Some(number) = number {
            connected.placer.cancel(number); // Dask may have begun to start it again
        }
    }
}

/// What a pool has of the cluster.
#[derive(Debug)]
struct Connected {
    orders: Arc<Mutex<Orders>>,
    /// Its drop ends the workers.
    _listener: Listener,
    placer: Placer,
    /// The worker for which `build` has waited.
    first: Mutex<Option<Launched>>,
}

impl Connected {
    fn order(&self, slot: usize) -> Task<io::Result<Launched>> {
        let (task, new) = self.orders.lock().order(slot);
        if let Some(number) = new {
            self.placer.place(number);
        }
        task
    }
}

/// On the cluster: holds a worker. `argument`: the pool's address, and the number of the order. It
/// fails only if no worker could begin: Dask may then try it again.
fn begin(program: &Program, argument: &str) -> i32 {
    let (address, name) = argument.split_once(' ').unwrap_or((argument, ""));
    let holding = Holding {
        address,
        name,
        number: std::process::id(),
        watches_input: true,
    };
    match hold(program, &holding) {
        Ok(_) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "a worker could not begin: {error}");
            1
        }
    }
}
