//! A worker whose stream is the standard input and output of a command.
//!
//! Tests: `tests/process/launcher.rs`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fd::OwnedFd;

use super::launched::{Born, Launched, Newborn, Started, stream};
use crate::sys::pipe_end::PipeEnd;
use trefoil_os::host::inheritance::only_standard_streams;

impl Launched {
    /// Starts `command`, whose standard input and output become the worker's stream. It leads its
    /// own process group, and inherits no descriptor besides its three standard streams, whoever
    /// has opened it. What it writes to standard error is passed on, and the end of it
    /// is in the [error](crate::WorkerExit::stderr_tail) of an item that dies with the worker.
    ///
    /// The worker is gone when its stream has ended. So the command may be the worker itself, or
    /// something that stays until the worker ends, as `ssh` and `docker run` do. When it ends, what
    /// is left of its group is killed, and the worker with it; except that one which ends with code
    /// 0 may leave a worker that it has given a session of its own (`setsid --fork`). To kill the
    /// worker, the pool kills the group and shuts the stream down.
    ///
    /// # Errors
    /// What the system says; for a program that is missing, its name.
    pub fn command(command: Command) -> io::Result<Self> {
        Self::with_input(command, &[])
    }

    /// [`command`](Self::command), which finds `input` in its standard input before the stream
    /// begins.
    ///
    /// # Errors
    /// Those of `command`; and if `input` does not fit into the stream's buffer, of which 64 KiB
    /// are certain.
    pub fn with_input(command: Command, input: &[u8]) -> io::Result<Self> {
        Self::start(command, input, None)
    }

    /// [`with_input`](Self::with_input), of a command that inherits one more descriptor, under the
    /// number that it has here: a file or a socket that has no name, such as a filter of system
    /// calls, or a listener.
    ///
    /// ```
    /// use std::io;
    /// use std::os::fd::{AsRawFd, OwnedFd};
    /// use std::process::Command;
    /// use trefoil::process::launch::Launched;
    ///
    /// /// A worker behind `bwrap`, which reads its filter from a descriptor.
    /// fn filtered(mut bwrap: Command, filter: OwnedFd) -> io::Result<Launched> {
    ///     bwrap.args(["--seccomp", &filter.as_raw_fd().to_string()]);
    ///     Launched::start(bwrap, &[], Some(filter))
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `with_input`.
    pub fn start(mut command: Command, input: &[u8], also: Option<OwnedFd>) -> io::Result<Self> {
        let (mut ours, theirs) = stream()?;
        ours.set_nonblocking(true)?;
        ours.write_all(input)?;
        ours.set_nonblocking(false)?;
        let theirs = OwnedFd::from(theirs);
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs)
            .stderr(Stdio::piped())
            .process_group(0);
        only_standard_streams(&mut command, also)?;
        let child = command.spawn();
        let mut child = child.map_err(|error| not_found(command.get_program(), error))?;
        drop(command); // with its copies of the child's end
        let pid = child.id();
        let stderr = child.stderr.take();
        let child = Newborn(Some(Born::Started(child)));
        Ok(Self(Started {
            child,
            stderr: stderr.map(PipeEnd::reader).transpose()?,
            pid,
            ..Self::stream(ours).0
        }))
    }
}

/// Why a launcher's command could not be started: names the program, which the system's error does
/// not.
fn not_found(program: &OsStr, error: io::Error) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "is not installed here, or not on PATH",
        _ => "cannot be executed",
    };
    let message = format!("`{}` {message}: {error}", program.display());
    io::Error::new(error.kind(), message)
}
