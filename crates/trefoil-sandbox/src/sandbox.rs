//! What workers in bubblewrap's sandbox may read, write and reach.
//!
//! The command line is that of a [`Wrapped`]. `prepare` makes it, and finds out whether it leads
//! into a sandbox (`probe`).
//!
//! Tests: `tests/sandbox/sandbox.rs`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::AsRawFd;
use rustix::process::{Resource, getrlimit};
use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, Task};

use crate::call_filter::filter;
use crate::probe::{Allowed, probe};
use crate::wrapped::{Wrapped, find};

/// The size of each folder in memory, unless the user sets one.
const TMP: u64 = 64 << 20;

/// What holds for every sandbox. `--die-with-parent` kills the first process of the pid namespace,
/// and so all that is in it, when `bwrap` ends. The files of `/proc/sys` ask for the user's number
/// and for no capability, so a root could write to them. (No `--disable-userns`, which needs
/// version 0.8 and a user namespace, that not every sandbox has: the filter of system calls does
/// that.)
const ALONE: &str = "--unshare-all --die-with-parent --new-session --cap-drop ALL --ro-bind / / \
                     --dev /dev --proc /proc --remount-ro /proc --setenv TMPDIR /tmp";

/// The folders in memory that workers may write to.
const SCRATCH: [&str; 2] = ["/tmp", "/dev/shm"];

/// Limits the processes inside, where the kernel counts those of this sandbox alone. Shells differ
/// in the option's name.
const LIMITED: &str = r#"ulimit -u "$0" 2>/dev/null || ulimit -p "$0" || exit; exec "$@""#;

/// Workers that can compute, and do little else: for code, or input, that you do not trust. It
/// needs Linux (on x86, ARM, RISC-V or `LoongArch`); [bubblewrap] (`bwrap`), a small program that
/// most distributions have, and that may be installed already; and a kernel that lets this user
/// make namespaces.
///
/// | A worker | finds |
/// |---|---|
/// | opens a connection | no network, not even this machine's; and no Unix socket, wherever its file is, also with [`network`](Self::network): it can only make connected pairs |
/// | writes to a file | that every file system is read-only, `/proc` included, except its own empty `/tmp` and `/dev/shm` and what is [`writable`](Self::writable) |
/// | fills `/tmp` | that it is full at [`tmp_limit`](Self::tmp_limit), and so is `/dev/shm` |
/// | reads from the home | that `/home`, `/root`, `/run` and the user's home are empty, except for the folders that lead to that home, and for the program's file, which is read-only. The working directory is no exception: a worker begins there if it exists in the sandbox, otherwise in the home or in `/` |
/// | uses a descriptor of this process | that there is none besides its three standard streams |
/// | makes a namespace, to have capabilities in it | that such calls fail, in its children, too; so do those that mount, those for the user's keys, for System V's shared memory and for `io_uring`, those of programs for another kind of processor, and those that are newer than this crate |
/// | reads the memory of another process, or signals one | no process outside its sandbox: it does not see them, nor those of other workers |
/// | forks without end | that no more than [`processes`](Self::processes) can exist, unless the user is root |
/// | leaves processes behind | that all of them are killed with it: after a timeout, at the end of the pool, and if this process is killed, whatever sessions they have made |
/// | runs a set-user-id program | that it gains nothing; a root in the sandbox has no capabilities |
///
/// A worker can read all other files that this user can read, and the environment of this process:
/// [hide](Self::hidden) what is secret. A read-only file system does not stop it from writing to a
/// FIFO that lies outside `/run`, `/tmp` and the home, and that this user may write to: hide those,
/// too.
///
/// The private memory of each process in it is limited by
/// [`memory_limit`](trefoil::ProcessPoolBuilder::memory_limit), its time by
/// [`timeout`](trefoil::ProcessCall::timeout). What it writes to `/tmp` is kept in memory until it
/// ends, and counts towards [`tmp_limit`](Self::tmp_limit) instead. Nothing here limits all of its
/// processes together, nor memory that has only a descriptor (`memfd_create`, of which
/// [`Shared`](trefoil::Shared) is made) and what the kernel needs for it (pipes, names of empty
/// files): for that, put this program into a control group. The kernel is shared, so a sandbox does
/// not stop an attack on an error in it.
///
/// `build` starts `bwrap` once, and asks the kernel what confines a process behind it. So a `bwrap`
/// that ignores its options is an error, and so is one that hangs, after 20 seconds.
///
/// The programs in the sandbox are those of this machine, and this executable is always there. A
/// library that it loads from the home must be [`readable`](Self::readable).
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil_sandbox::Sandbox;
///
/// # trefoil::init();
/// # let bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"];
/// # let tried = std::process::Command::new(bwrap[0]).args(&bwrap[1..]).output();
/// # if !tried.is_ok_and(|tried| tried.status.success()) { return Ok(()); }
/// let sandbox = Sandbox::new().hidden("/etc/passwd");
/// let procs = ProcessPool::builder().workers(2).launcher(sandbox).build()?;
/// let read = procs.spawn((), |()| std::fs::read("/etc/passwd").is_ok()).join()?;
/// let written = procs.spawn((), |()| std::fs::write("/etc/new", "").is_ok()).join()?;
/// assert!(!read && !written);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// [bubblewrap]: https://github.com/containers/bubblewrap
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Sandbox {
    program: PathBuf,
    network: bool,
    processes: u64,
    tmp_limit: u64,
    paths: Vec<(PathAccess, PathBuf)>,
    wrapped: Wrapped,
}

#[derive(Clone, Copy, Debug)]
enum PathAccess {
    Writable,
    Readable,
    Hidden,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// A sandbox with the defaults of the table [above](Sandbox).
    pub fn new() -> Self {
        Self {
            program: "bwrap".into(),
            network: false,
            processes: 1000,
            tmp_limit: TMP,
            paths: Vec::new(),
            wrapped: Wrapped::of(Vec::new()),
        }
    }

    /// Workers may write to this file or folder, which must exist. What is said of a path holds for
    /// all below it, and replaces what was said before.
    pub fn writable(self, path: impl Into<PathBuf>) -> Self {
        self.path(PathAccess::Writable, path.into())
    }

    /// Workers may read this file or folder, which must exist: for what is in the home or in
    /// `/tmp`, as the working directory may be (`"."`).
    pub fn readable(self, path: impl Into<PathBuf>) -> Self {
        self.path(PathAccess::Readable, path.into())
    }

    /// Workers find an empty folder here, or a file that they cannot open. It must exist.
    pub fn hidden(self, path: impl Into<PathBuf>) -> Self {
        self.path(PathAccess::Hidden, path.into())
    }

    fn path(mut self, access: PathAccess, path: PathBuf) -> Self {
        self.paths.push((access, path));
        self
    }

    /// Whether workers have this machine's network, without its Unix sockets. Default: no.
    pub fn network(mut self, shared: bool) -> Self {
        self.network = shared;
        self
    }

    /// How many processes and threads there may be in each sandbox, the worker's own among them.
    /// Default: 1000. It does not hold for root, whose processes the kernel does not limit.
    pub fn processes(mut self, most: u64) -> Self {
        self.processes = most;
        self
    }

    /// How many bytes a worker may write to `/tmp`, and as many to `/dev/shm`: they are kept in
    /// memory. More is the error "no space left on device". At least a page. Default: 64 MiB.
    pub fn tmp_limit(mut self, bytes: u64) -> Self {
        self.tmp_limit = bytes;
        self
    }

    /// Where bubblewrap is, version 0.7 or newer. Default: `bwrap`, on `PATH`.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// The command line, without what runs in the sandbox.
    fn words(&self, bwrap: &Path, exe: &Path) -> io::Result<Vec<OsString>> {
        let mut paths = Vec::new();
        for (access, path) in &self.paths {
            let real = path.canonicalize().map_err(|error| {
                io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
            })?;
            paths.push((*access, real));
        }
        let empty = empty_folders(&paths);
        // (`bwrap` would end without an explanation.)
        std::env::current_dir().map_err(|error| {
            let what = "the working directory of this process, which workers begin in";
            let message = format!("{what}: {error}. Change to one that exists");
            io::Error::new(error.kind(), message)
        })?;

        let mut words = vec![OsString::from(bwrap)];
        let mut say = |some: &[&str]| some.iter().for_each(|word| words.push(word.into()));
        ALONE.split(' ').for_each(|word| say(&[word]));
        if self.network {
            say(&["--share-net"]);
        }
        let size = self.tmp_limit.clamp(4096, isize::MAX as u64).to_string();
        for folder in SCRATCH {
            say(&["--size", &size, "--tmpfs", folder]);
        }
        let mut add = |option: &str, operands: &[&Path]| {
            words.push(option.into());
            operands.iter().for_each(|path| words.push((*path).into()));
        };
        // The names of the user's keys.
        let keys = Path::new("/proc/keys");
        if keys.exists() {
            add("--ro-bind", &[Path::new("/dev/null"), keys]);
        }
        empty.iter().for_each(|folder| add("--tmpfs", &[folder]));
        let resolved = Path::new("/run/systemd/resolve"); // where `/etc/resolv.conf` may point
        if self.network {
            add("--ro-bind-try", &[resolved, resolved]);
        }
        for (access, path) in &paths {
            match access {
                PathAccess::Writable => add("--bind", &[path, path]),
                PathAccess::Readable => add("--ro-bind", &[path, path]),
                PathAccess::Hidden if path.is_dir() => add("--tmpfs", &[path]),
                PathAccess::Hidden => add("--ro-bind", &[Path::new("/dev/null"), path]),
            }
        }
        add("--ro-bind", &[exe, exe]);
        empty
            .iter()
            .for_each(|folder| add("--remount-ro", &[folder]));
        add("--remount-ro", &[Path::new("/dev")]);
        for (at, (access, path)) in paths.iter().enumerate() {
            let is_covered = paths[at + 1..]
                .iter()
                .any(|(_, later)| path.starts_with(later));
            if matches!(access, PathAccess::Hidden) && path.is_dir() && !is_covered {
                add("--remount-ro", &[path]);
            }
        }
        let most = getrlimit(Resource::Nproc).maximum;
        let most = most.map_or(self.processes, |most| most.min(self.processes));
        for word in ["/bin/sh", "-c", LIMITED, &most.to_string()] {
            words.push(word.into());
        }
        Ok(words)
    }
}

/// The folders that are empty in a sandbox, outer ones first. What the user says about one, or
/// about one around it, counts alone.
fn empty_folders(said: &[(PathAccess, PathBuf)]) -> Vec<PathBuf> {
    let mut folders = vec!["/run".into(), "/home".into(), "/root".into()];
    folders.extend(std::env::home_dir().and_then(|home| home.canonicalize().ok()));
    folders.retain(|folder: &PathBuf| {
        let is_said = said.iter().any(|(_, path)| folder.starts_with(path));
        let has_scratch = SCRATCH.iter().any(|own| Path::new(own).starts_with(folder));
        folder.is_dir() && !is_said && !has_scratch
    });
    folders.sort();
    folders.dedup();
    folders
}

impl Launcher for Sandbox {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let refused =
            |message: String| PoolError::Launcher(format!("there is no sandbox: {message}"));
        let bwrap = find(self.program.as_os_str()).ok_or_else(|| {
            refused(format!(
                "it needs bubblewrap, and `{}` is not installed here, or not on PATH: install the \
                 package `bubblewrap`, or name its path (`Sandbox::program`)",
                self.program.display()
            ))
        })?;
        let words = self.words(&bwrap, &program.path()?);
        let mut words = words.map_err(|error| refused(error.to_string()))?;
        let allowed = Allowed {
            network: self.network,
            root: self.paths.iter().any(|(access, path)| {
                matches!(access, PathAccess::Writable)
                    && path.canonicalize().is_ok_and(|path| path == Path::new("/"))
            }),
        };
        let tried = filter().and_then(|filter| probe(&words, filter, allowed));
        tried.map_err(|error| refused(format!("`{}`: {error}", bwrap.display())))?;
        words.push("{exe}".into());
        self.wrapped = Wrapped::of(words);
        self.wrapped.prepare(program)
    }

    fn start(&self, _index: usize) -> Task<io::Result<Launched>> {
        Task::ready(filter().and_then(|filter| {
            let first = ["--seccomp".into(), filter.as_raw_fd().to_string().into()];
            Launched::start(self.wrapped.command(&first)?, &[], Some(filter))
        }))
    }

    fn ended(&self, index: usize, ending: &mut Ending) {
        self.wrapped.ended(index, ending);
    }
}
