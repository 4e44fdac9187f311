//! Starts a worker: a process that serves, a stream of bytes to it, and its child process on this
//! machine, if there is one.
//!
//! **Job.** The interface between the driver and the machines that workers run on. `here` starts
//! one as a child of this process. An engine ([`Launch`]) starts them elsewhere. Then they are
//! *plain* workers: the driver has nothing but their stream. The child of this process, if there is
//! one, is only a client (`ssh`).
//!
//! **Contract of an engine.** The stream is a socket here, whatever it is at the worker. When its
//! other end closes, the worker is gone. To kill a worker the driver kills the child and its group,
//! or shuts the stream down where there is none; the process at the other end must then end the
//! worker and everything that the worker has started, and must do the same when this process ends,
//! in whatever way. A stream without a child may end with
//! [`Record::Died`](crate::process::wire::Record::Died), which says how the worker ended.
//!
//! Tests: `tests/process/pool.rs` (here), `tests/machines/` (elsewhere).

use std::fmt;
use std::io;
use std::process::Child;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::sockopt;

#[cfg(feature = "__machines")]
use crate::process::sched::Policy;
#[cfg(feature = "__machines")]
use crate::process::wire::Died;
use crate::sys::pipe_end::PipeEnd;
use crate::sys::refused::refused;
use crate::sys::sockets;
use crate::task::WorkerExit;

/// The size of the socket's buffer.
const SOCKET: usize = 1 << 20;

/// Starts workers on other machines. It has been set up, and belongs to one pool.
pub(crate) trait Launch: fmt::Debug + Send + Sync {
    /// The default number of workers.
    fn slots(&self) -> usize;

    /// Whether worker `index` may be started now; those in `starting` have not said hello yet. If
    /// not, the driver asks again soon.
    fn may_start(&self, index: usize, starting: &[usize]) -> bool;

    /// Starts worker `index`. It runs on the driver's thread, so it must not wait for other
    /// machines.
    fn start(&self, index: usize) -> io::Result<Started>;

    /// The name of the machine on which worker `index` was just started, if several may be there.
    fn machine(&self, _index: usize) -> Option<String> {
        None
    }

    /// After what time the driver asks `may_start` again. The engine can wake the driver earlier.
    fn again(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// Called before the first `may_start`. The engine calls `wake` when further workers may be
    /// started; then the driver asks again.
    #[cfg(feature = "__machines")]
    fn woken_by(&self, _wake: Box<dyn Fn() + Send + Sync>) {}

    /// Changes what is particular to its workers: how long a frame and its results travel, how much
    /// longer the answer to a cancellation may take (the grace period), how long a worker may be
    /// silent, whether workers come and go with the load, and whether it places frames itself.
    #[cfg(feature = "__machines")]
    fn adjust(&self, _policy: &mut Policy) {}

    /// The stream of worker `index`, which has no child here, has ended; `reset`: by an error and
    /// not by an end of the stream. Returns how the worker ended, if that is known, and whether its
    /// last records may be lost, so that all items that it had count as begun.
    #[cfg(feature = "__machines")]
    fn obituary(&self, _index: usize, _reset: bool) -> (Option<Died>, bool) {
        (None, false)
    }

    /// Frees the result that it keeps as `id`. It must not block.
    fn free(&self, _id: u64) {}

    /// The child for worker `index` has ended as `exit` says: changes `exit` to how the worker
    /// itself ended. Returns whether the worker's last records may be lost, so that all items that
    /// it had count as begun.
    fn ended(&self, _index: usize, _exit: &mut WorkerExit) -> bool {
        false
    }
}

/// A worker that has been started and has not got its welcome yet.
#[derive(Debug)]
pub(crate) struct Started {
    /// Our end of its stream, a socket.
    pub(crate) socket: OwnedFd,
    /// Another handle of the worker's end, if it is needed (`sockets::keep`).
    pub(crate) kept: Option<OwnedFd>,
    /// The process to kill and to reap.
    pub(crate) child: Option<Child>,
    /// Its standard output, if that is captured, and its standard error.
    pub(crate) output: Option<PipeEnd>,
    pub(crate) words: Option<PipeEnd>,
    /// Its number in `worker_pids`; not 0.
    pub(crate) pid: u32,
}

impl Started {
    /// A worker whose `child` has the other end of `socket`.
    #[cfg(feature = "ssh")]
    pub(crate) fn of_child(socket: impl Into<OwnedFd>, mut child: Child) -> io::Result<Self> {
        Ok(Self {
            socket: socket.into(),
            kept: None,
            pid: child.id(),
            output: child.stdout.take().map(PipeEnd::reader).transpose()?,
            words: child.stderr.take().map(PipeEnd::reader).transpose()?,
            child: Some(child),
        })
    }
}

/// The two ends of a stream, with buffers of [`SOCKET`] bytes if the kernel allows.
pub(crate) fn stream() -> io::Result<(sockets::Stream, sockets::Stream)> {
    let (ours, theirs) = sockets::pair().map_err(refused("socketpair"))?;
    for end in [&ours, &theirs] {
        // Larger buffers make both sides wait less for each other. The kernel may allow less.
        let _ = sockopt::set_socket_send_buffer_size(end, SOCKET);
    }
    Ok((ours, theirs))
}
