//! `Sandbox`: what the user allows.
//!
//! Tests: `tests/sandbox/sandbox.rs`, `tests/sandbox/attacks.rs::the_table_of_attacks`.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, Task};

use crate::system::{Places, Restrictions};

/// Workers that can compute, and do little else: for code, or input, that you do not trust. The
/// kernel restricts each of them before its first instruction, by [Landlock] and by filters of
/// system calls; this needs no other program, no namespaces and no rights. It needs Linux 5.13 or
/// newer, with Landlock, on x86-64 or ARM64; elsewhere `build` returns an error.
///
/// | A worker | finds |
/// |---|---|
/// | reads a file or a folder | "permission denied", except for its own executable, the loader and the libraries that this program has loaded, `/dev/null` and the like, its own files in `/proc`, and what is [`read`](Self::read). A link leads to no other file |
/// | writes to one | the same, except for its own temporary folder (`TMPDIR`, empty, removed with it) and what it may [`write`](Self::write). There, too, it makes no symbolic links, pipes, sockets, devices or set-user-id files, and changes no mode, owner, time, attribute or flag |
/// | opens a connection | that it can make no socket, of whatever kind, but connected pairs. With [`allow_network`](Self::allow_network): TCP and UDP only |
/// | uses a descriptor or the environment of this process | three standard streams; and of this process's variables `PATH`, those of the language and of the loader, and `TREFOIL_*`. What [`env`](trefoil::ProcessPoolBuilder::env) sets it has |
/// | starts a process or executes a program | that it can only make threads. With [`allow_exec`](Self::allow_exec): that program, in the same sandbox, in the worker's process group |
/// | signals or traces another process, reads its memory, its descriptors or its files in `/proc`, changes its limits or its priority | that it is not allowed |
/// | makes a namespace, mounts; uses keys, `io_uring`, `bpf`, `perf`, `userfaultfd`, System V's memory, `memfd_create`; gains rights by a set-user-id program | that such calls fail |
/// | makes a call that is newer than this crate, or is rare | that there is no such call, and that a rare request of `ioctl` is not allowed ([`allow_syscall`](Self::allow_syscall)); a call of a 32-bit program ends it |
/// | survives this process | that the kernel kills it with this process, also by `SIGKILL` |
///
/// Where user namespaces can be made, the workers of a pool are in one, too, with a network that
/// has nothing, and in a mount namespace in which everything is read-only but what they may write
/// to (and which does not see what is mounted later). Nothing of the table depends on that.
///
/// It can see the names, sizes and times of files whose folder this user may enter, and which
/// processes there are: `stat` is not restricted. It can lock (`flock`) what it may read. Its time
/// is limited by [`timeout`](trefoil::ProcessCall::timeout); its memory, its threads and its
/// processor time by [`Limits::sandbox`](crate::Limits::sandbox).
/// ([`memory_limit`](trefoil::ProcessPoolBuilder::memory_limit) is for mistakes: code that means to
/// can raise it.) What it writes to its temporary folder is limited by the disk alone. An item may
/// leave something behind for the next one of its worker, unless there is none
/// ([`max_tasks_per_worker(1)`](trefoil::ProcessPoolBuilder::max_tasks_per_worker)). The kernel is
/// shared, so a sandbox does not stop an attack on an error in it, or through the processor's
/// caches.
///
/// `build` asks the kernel what it can enforce, and tries it. What is missing is an error that says
/// what, unless [`best_effort`](Self::best_effort) allows that.
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil_sandbox::Sandbox;
///
/// # trefoil::init();
/// # let landlock = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or("landlock".into());
/// # if !cfg!(target_os = "linux") || !landlock.contains("landlock") { return Ok(()); }
/// let sandbox = Sandbox::new().read("/etc/hostname");
/// let procs = ProcessPool::builder().workers(2).launcher(sandbox).build()?;
/// let read = |path: String| std::fs::read(path).is_ok();
/// assert!(!procs.spawn("/etc/passwd".to_owned(), read).join()?);
/// assert!(procs.spawn("/etc/hostname".to_owned(), read).join()?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// [Landlock]: https://landlock.io
#[derive(Debug, Default)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Sandbox {
    wishes: Wishes,
    ready: Option<(Places, Restrictions)>,
}

/// What the user allows.
#[derive(Debug, Default)]
#[cfg_attr(
    not(all(
        target_os = "linux",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )),
    allow(dead_code)
)]
pub(crate) struct Wishes {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    pub(crate) executed: Vec<PathBuf>,
    pub(crate) network: bool,
    pub(crate) calls: BTreeSet<core::ffi::c_long>,
    pub(crate) may_miss: bool,
}

impl Sandbox {
    /// A sandbox that allows what the table [above](Sandbox) says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Workers may read this file, or all that is in this folder. It must exist when the pool is
    /// built: the rule holds for the file that has this name then.
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.wishes.read.push(path.into());
        self
    }

    /// Workers may read and write this file, or all that is in this folder: they make, rename and
    /// remove regular files and folders there. It must exist when the pool is built.
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.wishes.write.push(path.into());
        self
    }

    /// Workers may use this machine's network, by TCP and UDP.
    ///
    /// To look up names, a worker must [read](Self::read) `/etc/resolv.conf`, `/etc/hosts`,
    /// `/etc/nsswitch.conf`, and the libraries that the C library loads for that.
    pub fn allow_network(mut self) -> Self {
        self.wishes.network = true;
        self
    }

    /// Workers may start this program, or those in this folder, and so make processes. They are in
    /// the same sandbox. Of one program its loader and its libraries are found, and may be read;
    /// what else it reads must be [allowed](Self::read), and for a script its interpreter, too.
    ///
    /// What it starts ends with the worker, but may outlive this process if that is killed by
    /// `SIGKILL`: [`Limits`](crate::Limits) of the next pool find it.
    pub fn allow_exec(mut self, path: impl Into<PathBuf>) -> Self {
        self.wishes.executed.push(path.into());
        self
    }

    /// Workers may make this system call (`libc::SYS_…`), with any arguments. That may open the
    /// sandbox: ask what the call can do first.
    pub fn allow_syscall(mut self, number: impl Into<core::ffi::c_long>) -> Self {
        self.wishes.calls.insert(number.into());
        self
    }

    /// What the kernel cannot enforce is no error: the pool's
    /// [statistics](trefoil::ProcessStats::unenforced) say what it is.
    pub fn best_effort(mut self) -> Self {
        self.wishes.may_miss = true;
        self
    }

    pub(crate) fn restrictions(
        &self,
        program: &Program,
        places: &Places,
    ) -> Result<(Restrictions, Vec<String>), PoolError> {
        let made = Restrictions::new(&self.wishes, program, places.folders());
        made.map_err(|why| missing_sandbox(&why))
    }
}

fn missing_sandbox(why: &str) -> PoolError {
    PoolError::Launcher(format!("there is no sandbox: {why}"))
}

impl Launcher for Sandbox {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let places = Places::new(true, None);
        let (places, _) = places.map_err(|why| missing_sandbox(&why))?;
        let (restrictions, missing) = self.restrictions(program, &places)?;
        self.ready = Some((places, restrictions));
        Ok(Capabilities::slots(crate::processors()).unenforced(missing))
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let Some((places, restrictions)) = &self.ready else {
            return Task::ready(Err(crate::not_prepared()));
        };
        Task::ready(places.start(index, |folder| {
            let (command, restriction) = restrictions.command(folder)?;
            Ok((command, Some(restriction)))
        }))
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
    }
}
