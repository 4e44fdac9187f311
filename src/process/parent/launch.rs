//! Starts a worker: a stream of bytes to a process that serves, and what there is of it on this
//! machine.
//!
//! **Job.** The seam between the driver and the machines that workers run on. `here` starts one as
//! a child of this process. An engine ([`Launch`]) starts them elsewhere, and then they are *plain*
//! workers, nothing but their stream: what is a child of this process is a client of something
//! (`ssh`), or there is none.
//!
//! **Contract of an engine.** The stream is a socket here, whatever it is at the worker. When its
//! other end closes, the worker is gone. To kill a worker the driver kills the child and its group,
//! or shuts the stream down where there is none; whoever has the other end must then see to it that
//! the worker ends, and what it has started; and the same when this process is gone in whatever
//! way. A stream without a child may end with [`Record::Died`](crate::process::wire::Record::Died),
//! which says how the worker ended.
//!
//! Tests: `tests/process/pool.rs` (here), `tests/machines/` (elsewhere).

use std::fmt;
use std::io;
use std::process::Child;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::sockopt;

#[cfg(feature = "__machines")]
use crate::process::sched::Elastic;
#[cfg(feature = "__machines")]
use crate::process::wire::Died;
use crate::sys::pipe_end::PipeEnd;
use crate::sys::refused::refused;
use crate::sys::sockets;
use crate::task::WorkerExit;

/// How many bytes should be on their way at once.
const SOCKET: usize = 1 << 20;

/// Starts workers elsewhere. It has been set up, and belongs to one pool.
pub(crate) trait Launch: fmt::Debug + Send + Sync {
    /// How many workers there are if nothing else is said.
    fn slots(&self) -> usize;

    /// Worker `index` may be started now, while those of `starting` have yet to say hello.
    /// Otherwise the driver asks again soon.
    fn may_start(&self, index: usize, starting: &[usize]) -> bool;

    /// Starts worker `index`. On the driver's thread: it does not wait for other machines.
    fn start(&self, index: usize) -> io::Result<Started>;

    /// When to ask again where a worker may not be started; sooner, if the engine wakes the driver.
    fn again(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// Workers have come that may be started, and `wake` makes the driver ask for them: before the
    /// first `may_start`.
    #[cfg(feature = "__machines")]
    fn woken_by(&self, _wake: Box<dyn Fn() + Send + Sync>) {}

    /// How many workers there are at least, and how long others may be idle, if they come and go
    /// with the work.
    #[cfg(feature = "__machines")]
    fn elastic(&self) -> Option<Elastic> {
        None
    }

    /// The stream of worker `index` has ended, of which there is no child here, with a `reset` in
    /// the place of an end: how the worker has ended, if that is known, and whether what it
    /// said last may be lost, so that all that it had counts as begun.
    #[cfg(feature = "__machines")]
    fn obituary(&self, _index: usize, _reset: bool) -> (Option<Died>, bool) {
        (None, false)
    }

    /// How long worker `index` may take until it says hello, beside what a local one may.
    fn patience(&self) -> Duration;

    /// How long a frame is on its way, and its results: frames are cut so that this does not count.
    #[cfg(feature = "__machines")]
    fn round_trip(&self) -> Duration {
        Duration::ZERO
    }

    /// How long what is said to a worker and its answer may be on their way, beside what they take
    /// on one machine: so much longer is a cancelled item's grace here.
    #[cfg(feature = "__machines")]
    fn way(&self) -> Duration {
        self.round_trip()
    }

    /// How long a worker that was asked how far it got may say nothing, until it is taken for
    /// stopped. (Bytes count as taken when they are on their way.)
    #[cfg(feature = "__machines")]
    fn silence(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// It places frames itself: it is told what the caller has said of them (`Frame::Terms`), keeps
    /// results that are to stay with it, and runs a frame near those that the frame needs.
    fn is_told(&self) -> bool {
        false
    }

    /// The result that it keeps as `id` is not needed any more. It does not wait.
    fn free(&self, id: u64) {
        let _ = id;
    }

    /// The child that there was for worker `index` has ended as `exit` says: makes of it how the
    /// worker has. True: what the worker has said may be lost, so all that it had counts as
    /// begun.
    fn ended(&self, index: usize, exit: &mut WorkerExit) -> bool;
}

/// What the driver has of a worker that has been started, and not been welcomed.
#[derive(Debug)]
pub(crate) struct Started {
    /// Our end of its stream, a socket.
    pub(crate) socket: OwnedFd,
    /// What to kill, and to reap.
    pub(crate) child: Option<Child>,
    /// Its standard output, if that is captured, and error.
    pub(crate) output: Option<PipeEnd>,
    pub(crate) words: Option<PipeEnd>,
    /// What it is called by in `worker_pids`; not 0.
    pub(crate) pid: u32,
}

impl Started {
    /// `child` has the other end of `socket`.
    #[cfg(feature = "ssh")]
    pub(crate) fn of_child(socket: impl Into<OwnedFd>, mut child: Child) -> io::Result<Self> {
        Ok(Self {
            socket: socket.into(),
            pid: child.id(),
            output: child.stdout.take().map(PipeEnd::reader).transpose()?,
            words: child.stderr.take().map(PipeEnd::reader).transpose()?,
            child: Some(child),
        })
    }
}

/// Two ends of a stream, with as much room as the kernel allows.
pub(crate) fn stream() -> io::Result<(sockets::Stream, sockets::Stream)> {
    let (ours, theirs) = sockets::pair().map_err(refused("socketpair"))?;
    for end in [&ours, &theirs] {
        // Less waiting for one another; the kernel gives what it allows.
        let _ = sockopt::set_socket_send_buffer_size(end, SOCKET);
    }
    Ok((ours, theirs))
}
