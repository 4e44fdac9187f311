//! `Limits`: what a worker may use of the machine, together with all that it starts.
//!
//! Tests: `tests/sandbox/limits.rs`.

use std::io;
use std::path::PathBuf;

use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, Task};

use crate::sandbox::Sandbox;
use crate::system::{Places, Restrictions};
#[cfg(unix)]
use crate::wrapped::Wrapped;

/// Workers whose memory, processes and processor time the kernel limits: for each worker together
/// with all that it starts, whatever kind of memory it is. Each is in a control group of its own
/// (cgroup version 2, Linux 5.14 or newer) from before its first instruction, and so are its
/// descendants, which are killed with it.
///
/// - If the memory of a worker's group runs out, the kernel kills all of the group, and the item's
///   error is [`out_of_memory`](trefoil::WorkerExit::out_of_memory). Other workers are not
///   concerned.
/// - At the limit of processes no more can be made: a fork, or a thread, is an error in the item.
/// - A worker at its quota of processor time waits; with a share it gets less than others do, while
///   they need it.
///
/// It needs a group that this user may write to: the program's own, if it was delegated
/// (`systemd-run --user --scope -p Delegate=yes PROGRAM`; a unit with `Delegate=yes`; a container
/// whose group is writable), or one that is [named](Self::group). If the program's own group has
/// processes, they are moved to a group in it, `trefoil.program`. Where a limit cannot be kept,
/// `build` returns an error that says why, unless [`best_effort`](Self::best_effort) allows that.
///
/// A worker's group is removed with it, and the pool's with the pool. The next pool in the same
/// group removes those of pools whose process was killed, and kills what is in them.
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil_sandbox::{Limits, Sandbox};
///
/// trefoil::init();
/// let limits = Limits::new().memory(256 << 20).swap(0).processes(20).cpu(0.5);
/// let limits = limits.sandbox(Sandbox::new());
/// let procs = ProcessPool::builder().workers(4).launcher(limits).build()?;
/// let much = procs.spawn(1 << 30, |bytes: usize| vec![1_u8; bytes].len()).join();
/// assert!(matches!(much, Err(trefoil::TaskError::WorkerDied(exit)) if exit.out_of_memory()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Limits {
    wanted: Wanted,
    kind: Kind,
    ready: Option<(Places, Option<Restrictions>)>,
}

/// Which workers are limited.
#[derive(Debug, Default)]
enum Kind {
    #[default]
    Plain,
    Sandbox(Box<Sandbox>),
    #[cfg(unix)]
    Wrapped(Box<Wrapped>),
}

/// How much processor time a worker may use.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cpu {
    /// In proportion to other groups, while they need it: from 1 to 10,000; a group has 100 unless
    /// somebody says otherwise.
    Share(u32),
    /// So many processors at most, on average over a tenth of a second: 0.5 is half of one. At
    /// least 0.01.
    Quota(f64),
}

impl From<f64> for Cpu {
    /// A quota.
    fn from(processors: f64) -> Self {
        Self::Quota(processors)
    }
}

#[derive(Debug, Default)]
#[cfg_attr(
    not(all(
        target_os = "linux",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )),
    allow(dead_code)
)]
pub(crate) struct Wanted {
    memory: Option<u64>,
    swap: Option<u64>,
    processes: Option<u64>,
    cpu: Option<Cpu>,
    pub(crate) group: Option<PathBuf>,
    pub(crate) may_miss: bool,
}

#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
impl Wanted {
    /// What is written to the files of a leaf.
    pub(crate) fn settings(&self) -> Result<Vec<crate::system::Setting>, String> {
        /// Of `cpu.max`, in microseconds.
        const PERIOD: f64 = 100_000.0;
        let mut all = Vec::new();
        let mut set = |controller, file, value: String| {
            all.push(crate::system::Setting {
                controller,
                file,
                value,
            });
        };
        if let Some(bytes) = self.memory {
            set("memory", "memory.max", bytes.to_string());
            set("memory", "memory.oom.group", "1".to_owned());
        }
        if let Some(bytes) = self.swap {
            set("memory", "memory.swap.max", bytes.to_string());
        }
        if let Some(most) = self.processes {
            if most < 2 {
                return Err(format!(
                    "a worker has two threads of its own, so a limit of {most} processes is too low"
                ));
            }
            set("pids", "pids.max", most.to_string());
        }
        match self.cpu {
            None => {}
            Some(Cpu::Share(share)) if (1..=10_000).contains(&share) => {
                set("cpu", "cpu.weight", share.to_string());
            }
            Some(Cpu::Share(share)) => {
                return Err(format!(
                    "a share of processor time is from 1 to 10,000, not {share}"
                ));
            }
            Some(Cpu::Quota(quota)) if (0.01..1e6).contains(&quota) => {
                let time = (quota * PERIOD).round() as u64;
                set("cpu", "cpu.max", format!("{time} {PERIOD}"));
            }
            Some(Cpu::Quota(quota)) => {
                let message = "a quota of processor time is a number of processors, from 0.01";
                return Err(format!("{message}, not {quota}"));
            }
        }
        Ok(all)
    }
}

impl Limits {
    /// No limits: workers in groups of their own, whose descendants end with them.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of memory a worker and its descendants may have, of whatever kind: what they
    /// allocate and share, files in memory, what the kernel keeps for them. It includes the program
    /// itself, so leave it some megabytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.wanted.memory = Some(bytes);
        self
    }

    /// How many bytes of it may be moved to swap besides: with 0 the memory limit is the whole.
    pub fn swap(mut self, bytes: u64) -> Self {
        self.wanted.swap = Some(bytes);
        self
    }

    /// How many processes and threads there may be, the worker's own two threads among them; so at
    /// least 2.
    pub fn processes(mut self, most: u64) -> Self {
        self.wanted.processes = Some(most);
        self
    }

    /// How much processor time: a [share or a quota](Cpu). A number is a quota.
    pub fn cpu(mut self, cpu: impl Into<Cpu>) -> Self {
        self.wanted.cpu = Some(cpu.into());
        self
    }

    /// The group in which groups are made: its folder, below `/sys/fs/cgroup`. Its controllers must
    /// be free to be switched on, so it must have no processes. Default: the group of this process.
    pub fn group(mut self, folder: impl Into<PathBuf>) -> Self {
        self.wanted.group = Some(folder.into());
        self
    }

    /// The workers are in this sandbox, too.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.kind = Kind::Sandbox(Box::new(sandbox));
        self
    }

    /// The workers are started by this command line. (What the daemon of a container engine starts
    /// is no descendant of the command, and not limited by this.)
    #[cfg(unix)]
    pub fn wrapped(mut self, wrapped: Wrapped) -> Self {
        self.kind = Kind::Wrapped(Box::new(wrapped));
        self
    }

    /// A limit that cannot be kept here is no error: the pool's
    /// [statistics](trefoil::ProcessStats::unenforced) say which it is, and why.
    pub fn best_effort(mut self) -> Self {
        self.wanted.may_miss = true;
        self
    }
}

impl Launcher for Limits {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let places = Places::new(matches!(self.kind, Kind::Sandbox(_)), Some(&self.wanted));
        let (places, mut missing) = places
            .map_err(|why| PoolError::Launcher(format!("workers cannot be limited: {why}")))?;
        let mut restrictions = None;
        match &mut self.kind {
            Kind::Plain => {
                // (Workers as they are: by a command line that has nothing but the program.)
                #[cfg(unix)]
                {
                    let mut plain = Wrapped::new(["{exe}"]);
                    let _own = plain.prepare(program)?;
                    self.kind = Kind::Wrapped(Box::new(plain));
                }
            }
            Kind::Sandbox(sandbox) => {
                let (made, some) = sandbox.restrictions(program, &places)?;
                restrictions = Some(made);
                missing.extend(some);
            }
            #[cfg(unix)]
            Kind::Wrapped(wrapped) => drop(wrapped.prepare(program)?),
        }
        self.ready = Some((places, restrictions));
        Ok(Capabilities::slots(crate::processors()).unenforced(missing))
    }

    #[cfg(unix)]
    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let Some((places, restrictions)) = &self.ready else {
            return Task::ready(Err(crate::not_prepared()));
        };
        Task::ready(
            places.start(index, |folder| match (&self.kind, restrictions) {
                (Kind::Wrapped(wrapped), _) => Ok((wrapped.command(&[])?, None)),
                (_, Some(restrictions)) => {
                    let (command, restriction) = restrictions.command(folder)?;
                    Ok((command, Some(restriction)))
                }
                _ => Err(crate::not_prepared()),
            }),
        )
    }

    #[cfg(not(unix))]
    fn start(&self, _index: usize) -> Task<io::Result<Launched>> {
        Task::ready(Err(crate::not_prepared()))
    }

    fn kill(&self, index: usize) {
        if let Some((places, _)) = &self.ready {
            places.kill(index);
        }
    }

    fn ended(&self, index: usize, ending: &mut Ending) {
        if let Some((places, _)) = &self.ready {
            places.ended(index, ending);
        }
        #[cfg(unix)]
        if let Kind::Wrapped(wrapped) = &self.kind {
            wrapped.ended(index, ending);
        }
    }
}
