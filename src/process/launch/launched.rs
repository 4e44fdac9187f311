//! A worker that has been started, before its link: the end of its stream, and its process.
//!
//! `parent::start_child` starts one as a child of this process, a fork server makes one as such; a
//! [`Launcher`](super::Launcher) makes a
//! [`Launched`] of its own. If nothing takes its process over, the process is killed and reaped.
//!
//! Tests: `tests/process/pool.rs::no_worker_outlives_its_parent`, `tests/process/launcher.rs`.

use std::io;
use std::process::Child;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use crate::reaper::{Orphan, adopt};
use crate::sys::child::{self, Handle, Id, Signal};
use crate::sys::pipe_end::PipeEnd;
use crate::sys::refused::failed;
use crate::sys::sockets;
use trefoil_os::host::process_group::ProcessGroup;

/// The size of each socket's send buffer.
const SOCKET: usize = 1 << 20;

/// A worker that has been started and has not been sent its welcome yet.
#[derive(Debug)]
pub(crate) struct Started {
    /// Our end of its stream, a socket.
    pub(crate) socket: OwnedFd,
    /// Another handle of the worker's end, if it is needed (`sockets::keep`).
    pub(crate) kept: Option<OwnedFd>,
    /// The process to kill and to reap.
    pub(crate) child: Newborn,
    /// The worker's standard output, if it is captured, and its standard error.
    pub(crate) output: Option<PipeEnd>,
    pub(crate) stderr: Option<PipeEnd>,
    /// The worker's number in `worker_pids`; 0: its index, from 1.
    pub(crate) pid: u32,
}

/// A process that is killed and reaped, unless it is taken.
#[derive(Debug)]
pub(crate) struct Newborn(pub(crate) Option<Born>);

/// Who has made a process.
#[derive(Debug)]
pub(crate) enum Born {
    Started(Child),
    /// A fork server, as a child of this process.
    Forked(Id),
}

impl Born {
    /// Its number.
    pub(crate) fn id(&self) -> Result<Id, child::Error> {
        match self {
            Self::Started(started) => child::id(started),
            #[allow(clippy::clone_on_copy)] // it is not a number on every system
            Self::Forked(id) => Ok(id.clone()),
        }
    }

    /// It, and what it starts.
    pub(crate) fn group(&self) -> io::Result<Option<ProcessGroup>> {
        match self {
            Self::Started(started) => ProcessGroup::of(started),
            #[allow(clippy::clone_on_copy)]
            Self::Forked(id) => Ok(ProcessGroup::led_by(id.clone())),
        }
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        match &mut self.0 {
            Some(Born::Started(child)) => {
                if let Ok(Some(group)) = ProcessGroup::of(child) {
                    group.kill();
                }
                let _ = child.kill();
                let _ = child.wait();
            }
            // (It runs no code of the user's yet, and leads no group. It may already have been
            // reaped by other code, and its number be another process's.)
            Some(Born::Forked(id)) => {
                #[allow(clippy::clone_on_copy)]
                if let Ok(process) = Handle::open(id.clone())
                    && process.has_its_number()
                {
                    let _ = process.signal(Signal::KILL);
                    adopt(Orphan::Held(Arc::new(process)));
                }
            }
            None => {}
        }
    }
}

/// The two ends of a stream, with buffers of [`SOCKET`] bytes if the kernel allows.
pub(crate) fn stream() -> io::Result<(sockets::Stream, sockets::Stream)> {
    let (ours, theirs) = sockets::pair().map_err(failed("socketpair"))?;
    for end in [&ours, &theirs] {
        // Larger buffers make both sides wait less for each other. The kernel may allow less.
        let _ = sockopt::set_socket_send_buffer_size(end, SOCKET);
    }
    Ok((ours, theirs))
}

/// A worker that a [`Launcher`](super::Launcher) has started: the stream to it, and the process on
/// this machine that stands for it, if there is one.
///
/// If it is dropped, the process is killed, and the stream ends, which ends the worker.
///
/// ```
/// use std::process::Command;
/// use trefoil::process::launch::Launched;
///
/// /// What a launcher's `start` returns: a command whose standard streams lead to the worker.
/// fn launched(command: Command, job: u32) -> std::io::Result<Launched> {
///     Ok(Launched::command(command)?.pid(job))
/// }
/// ```
#[derive(Debug)]
pub struct Launched(pub(crate) Started);

impl Launched {
    /// A worker at the other end of `socket`, a connected stream socket. To kill the worker, the
    /// pool shuts the stream down, and expects its end within a second.
    ///
    /// If the other end is a Unix socket that is the worker's own, for both directions, nothing
    /// that the worker has sent is lost. Otherwise all that it had when it died and has not
    /// answered counts as begun, unless the launcher [knows better](super::Ending::loses_records).
    pub fn stream(socket: impl Into<OwnedFd>) -> Self {
        Self(Started {
            socket: socket.into(),
            kept: None,
            child: Newborn(None),
            output: None,
            stderr: None,
            pid: 0,
        })
    }

    /// The worker's number in [`worker_pids`](crate::ProcessPool::worker_pids) and in errors.
    /// Default: the process id of the command, or the worker's index, from 1.
    #[must_use]
    pub fn pid(mut self, number: u32) -> Self {
        self.0.pid = number;
        self
    }
}
