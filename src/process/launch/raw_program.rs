//! What a launcher must run: this program again, with an invitation to be a worker, or to call a
//! function.
//!
//! **Invariants.**
//! - **W59** The offset in an invitation was made by [`Program::entry`], from a function of the one
//!   type that [`enter`] calls. An invitation is read only by the same copy of this crate in the
//!   same image (W6), and only from the environment of a process with its caller's rights. Nothing
//!   checks the offset itself, except that it lies in the image's code: whoever sets the variable
//!   is trusted not to forge it, as with `LD_PRELOAD`, which runs any code as well.
//!
//! Tests: `tests/process/launcher.rs`.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::process::launch::thread_limits::{names, share};
use crate::process::limits::workers_by_default;
use crate::process::wire::invitation::{self, VARIABLE};
use trefoil_os::host::executable;
use trefoil_os::host::image::image;

/// What a [`Launcher`](super::Launcher) must run: this program, with an
/// [invitation](Self::invitation) in its environment.
///
/// [`Launcher`](super::Launcher) has an example.
#[derive(Clone, Debug)]
pub struct Program {
    /// The depth of the pool's process (`entry`).
    pub(crate) depth: u32,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The number of workers that the user has set.
    pub(crate) workers: Option<usize>,
    /// How many workers fewer there are if the user has not set their number.
    pub(crate) left_free: usize,
    /// The workers share the processors (`thread_limits`).
    pub(crate) shares: bool,
    /// The workers' standard output is discarded.
    pub(crate) discards: bool,
}

/// Where a worker finds its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerStream {
    /// Standard input and output. [`init`](crate::init) moves them to other descriptors, and makes
    /// standard input empty and standard output another handle of standard error (with
    /// [`WorkerStdout::Null`](crate::WorkerStdout::Null), of `/dev/null`). So what tasks print
    /// cannot get into the stream; what is printed before `init` does, and breaks it.
    Stdio,
    /// These two descriptors, from 3: the worker reads from the first and writes to the second.
    /// They may be the same socket.
    Descriptors(i32, i32),
}

/// The environment variable that makes a process of this program a worker, or calls an
/// [entry](Program::entry). `{}` prints `NAME=value`; neither has a character that is special in a
/// shell, except what is in an entry's argument.
///
/// It counts only for the build of the program that has made it: another build, or another program
/// that calls `init`, ends with an error.
///
/// ```
/// use std::process::Command;
/// use trefoil::process::launch::{Program, WorkerStream};
///
/// /// What a launcher's `start` runs, in a container for example.
/// fn command(program: &Program) -> std::io::Result<Command> {
///     let invitation = program.invitation(WorkerStream::Stdio);
///     let mut command = Command::new(program.path()?);
///     command.args(program.arguments()).env(invitation.name(), invitation.value());
///     Ok(command)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Invitation {
    value: String,
}

impl Invitation {
    /// The variable's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        VARIABLE
    }

    /// The variable's value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}={}", self.value)
    }
}

impl Program {
    /// The path of the program's file on this machine.
    ///
    /// # Errors
    /// If the file was removed or replaced since the program was started.
    pub fn path(&self) -> io::Result<PathBuf> {
        executable::named()
    }

    /// The program's file, opened for reading: what a launcher copies to where it is missing. It is
    /// the file that this process runs, even if it was removed (on Linux).
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> io::Result<File> {
        File::open(executable::path()?)
    }

    /// The arguments that a worker must get, without the program's name: those of this process.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        std::env::args_os().skip(1).collect()
    }

    /// The variables that the user has set for the workers
    /// ([`env`](crate::ProcessPoolBuilder::env), and a number for
    /// [`threads_per_worker`](crate::ProcessPoolBuilder::threads_per_worker)), without the
    /// invitation.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let variables = self.variables.iter();
        variables.map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The number of workers that the user has [set](crate::ProcessPoolBuilder::workers), if any:
    /// for a launcher whose preparations depend on it.
    #[must_use]
    pub fn workers(&self) -> Option<usize> {
        self.workers
    }

    /// The number of workers of the pool on `slots` processors: what the user has
    /// [set](crate::ProcessPoolBuilder::workers), or one for each of them but those that are
    /// [left free](crate::ProcessPoolBuilder::leave_free).
    #[must_use]
    pub fn width(&self, slots: usize) -> usize {
        let default = || workers_by_default(slots, self.left_free);
        self.workers.unwrap_or_else(default)
    }

    /// The variables that limit the threads of libraries in a worker, on a machine where `workers`
    /// of them share so many `processors`: for a launcher to set where the worker's environment
    /// would not have them. None if the user has set
    /// [`threads_per_worker`](crate::ProcessPoolBuilder::threads_per_worker), because a number is
    /// among the [`variables`](Self::variables); and without those that the user has set by `env`.
    ///
    /// ```
    /// use trefoil::process::launch::Program;
    ///
    /// // Two workers on a machine with eight processors.
    /// fn variables(program: &Program) -> Vec<String> {
    ///     let limits = program.thread_limits(8, 2);
    ///     limits.map(|(name, threads)| format!("{name}={threads}")).collect() // "OMP_NUM_THREADS=4"
    /// }
    /// ```
    pub fn thread_limits(
        &self,
        processors: usize,
        workers: usize,
    ) -> impl Iterator<Item = (&'static str, usize)> {
        let threads = share(processors, workers);
        let names = if self.shares {
            names(&self.variables)
        } else {
            Vec::new()
        };
        names.into_iter().map(move |name| (name, threads))
    }

    /// What makes a process of this program a worker with this stream.
    #[must_use]
    pub fn invitation(&self, stream: WorkerStream) -> Invitation {
        let ends = match stream {
            WorkerStream::Stdio => [0, 1],
            WorkerStream::Descriptors(hears, says) => [hears, says],
        };
        let value = invitation::elsewhere(self.depth, ends, self.discards);
        Invitation { value }
    }

    /// What makes [`init`](crate::init) call `f` with `argument` in a process of this program, and
    /// exit with the code that it returns: for a process that must stand between the pool and a
    /// worker on another machine. It gets a `Program` with which it can start that worker. No part
    /// of `main` behind `init` runs.
    ///
    /// `argument` comes last in the invitation, as it is, so that a shell can put something into
    /// it.
    ///
    /// # Errors
    /// If `f` is not part of this program, but of a library that was loaded at run time.
    pub fn entry(&self, f: fn(&Self, &str) -> i32, argument: &str) -> io::Result<Invitation> {
        let message = "the function is not part of this program, but of a library loaded at run \
            time, where another process would not find it";
        let offset = image().offset_of(f as usize);
        let offset = offset.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        let value = invitation::entry(self.depth, offset, self.discards, argument);
        Ok(Invitation { value })
    }

    /// Identifies this copy of the crate in this build of this program: equal in two processes
    /// exactly if calls can be sent from one to the other.
    #[must_use]
    pub fn identity(&self) -> &'static str {
        image().name()
    }

    /// Identifies the build, wherever its file is copied, in hexadecimal digits. `None`: the linker
    /// has left out the build id (`-C link-arg=-Wl,--build-id` in `RUSTFLAGS` demands one), so only
    /// the very file that this process runs is known.
    #[must_use]
    pub fn build_id(&self) -> Option<&'static str> {
        let image = image();
        image.is_named_by_content().then(|| image.build())
    }
}

/// Calls the function at `offset`. `None`: there is none.
pub(crate) fn enter(offset: u64, program: &Program, argument: &str) -> Option<i32> {
    let address = std::ptr::with_exposed_provenance::<()>(image().address_at(offset)?);
    // SAFETY: W59: it is the address of a function of this type in this image, unless whoever set
    // this process's environment forged it, who is trusted.
    let entry = unsafe { std::mem::transmute::<*const (), fn(&Program, &str) -> i32>(address) };
    Some(entry(program, argument))
}
