//! A child process, watched through a descriptor (on Linux its pidfd).
//!
//! 1. Right after the start the child gets a descriptor that names it and no other process, even if
//!    the system reuses its number. (The number is not reused before the child is waited for. So it
//!    can belong to another process by then only if the host lets the system discard its children,
//!    or waits for them itself.)
//! 2. Everything else uses that descriptor: waiting for the child's end, reaping it, killing it.
//!    The kernel reports the end on it, whatever the host does with `SIGCHLD`.
//! 3. The status is fetched once and kept. A child that is dropped before that goes to the reaper.
//!
//! If no descriptor is left for step 1, the child still runs, and each method that needs one tries
//! again. Until then, killing the child, and reaping it after a drop, use its number.
//!
//! Tests: `tests/io/children.rs::{a_thousand_children_at_once_with_pipes,
//! a_dropped_child_leaves_no_zombie_wherever_it_is_dropped,
//! a_status_that_other_code_has_collected}`.

#![allow(clippy::clone_on_copy)] // only on Unix is a child's name a number

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Output};
use std::sync::Arc;
use std::task::Poll;

use super::byte_stream::ByteStream;
use super::child_pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::source::IoSource;
use crate::reaper::{self, Orphan, STATUS_IS_LOST};
use crate::sys::child::{self, CALLS, Handle, Id, Signal, is_gone, is_lost};
use crate::sys::fork;
use crate::sys::pipe_end::PipeEnd;
use crate::sys::refused::refused;
use crate::task::Joining;

/// A child process; made by [`Command::spawn`](super::Command::spawn).
///
/// If this is dropped, the process continues, unless its command has
/// [`kill_on_drop`](super::Command::kill_on_drop) set. No zombie remains when it ends, wherever
/// this is dropped, on a loop or off it.
///
/// ```
/// use trefoil::io::Command;
///
/// trefoil::run(async {
///     let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
///     assert_eq!(child.wait().await?.code(), Some(3));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if piped and not taken.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if piped and not taken.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if piped and not taken.
    pub stderr: Option<ChildStderr>,
    pid: u32,
    id: Id,
    state: ChildState,
    kill_on_drop: bool,
    /// The fork generation of the process whose child it is; see `sys/unix/fork.rs`.
    born: u32,
}

#[derive(Debug)]
enum ChildState {
    /// No descriptor was left to watch it.
    Unwatched,
    Watched(IoSource<Arc<Handle>>),
    Ended(ExitStatus),
    /// Other code has fetched its status.
    Lost,
}

impl ChildState {
    /// The state of a child; `None`: it is running.
    fn of(child: &Handle) -> io::Result<Option<Self>> {
        match child.fetch() {
            Ok(status) => Ok(status.map(Self::Ended)),
            Err(error) if is_lost(&error) => Ok(Some(Self::Lost)),
            Err(error) => Err(refused("waitid")(error)),
        }
    }
}

impl Child {
    pub(super) fn new(started: std::process::Child, kill_on_drop: bool) -> io::Result<Self> {
        fork::register_handler();
        let mut child = Self {
            stdin: None,
            stdout: None,
            stderr: None,
            pid: started.id(),
            id: child::id(&started)?,
            state: ChildState::Unwatched,
            kill_on_drop,
            born: fork::generation(),
        };
        // If no descriptor is left, later calls try again.
        let _ = child.register();
        child.stdin = started.stdin.map(ChildStdin::new).transpose()?;
        child.stdout = started.stdout.map(ChildStdout::new).transpose()?;
        child.stderr = started.stderr.map(ChildStderr::new).transpose()?;
        Ok(child)
    }

    /// The child's process id. After the child has been waited for, the system may reuse the
    /// number.
    ///
    /// ```
    /// use trefoil::io::Command;
    ///
    /// let child = Command::new("true").spawn()?;
    /// assert_ne!(child.id(), std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits until the child has ended, and returns its status, the same each time.
    ///
    /// Closes the child's standard input first, as `std` does, so that it cannot wait for input
    /// while this waits for it. Read its output meanwhile, or it waits for room in the pipe: see
    /// [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Errors
    ///
    /// `NotFound` if it has ended, but other code of the program has fetched its status
    /// (`waitpid(-1)`), or the system has discarded it because `SIGCHLD` is ignored. Also when used
    /// off its loop, or if no descriptor was left to watch it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; wait again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     assert!(trefoil::timeout(Duration::from_millis(10), child.wait()).await.is_err());
    ///     child.kill()?;
    ///     assert!(!child.wait().await?.success());
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.register()?;
        let ChildState::Watched(source) = &self.state else {
            return self.status();
        };
        let ended = source.reading(|child| {
            ChildState::of(child)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        self.state = ended.await?;
        self.status()
    }

    /// The child's status, if it has ended; `None` while it is running. Needs no loop.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// ```
    /// use trefoil::io::Command;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill()?;
    /// assert!(!trefoil::run(child.wait())?.success());
    /// assert!(child.try_wait()?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.register()?;
        if let ChildState::Watched(source) = &self.state {
            let Some(state) = ChildState::of(source.get_ref())? else {
                return Ok(None);
            };
            self.state = state;
        }
        self.status().map(Some)
    }

    /// Kills it (`SIGKILL`; on Windows it ends with the code 1). The child has ended when
    /// [`wait`](Self::wait) returns. Does nothing if it has already ended.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, the process has changed its user.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     child.kill()?;
    ///     assert_eq!(child.wait().await?.signal(), Some(9));
    ///     child.kill() // again: nothing happens
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends it the signal with this number: 15 asks most programs to end. Does nothing if it has
    /// ended.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is no signal, or that the C library keeps for itself (32
    /// and 33 with glibc: real-time signals begin at `SIGRTMIN`); the system's.
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use trefoil::io::{Command, Signal};
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     child.send_signal(Signal::TERM)?;
    ///     assert_eq!(child.wait().await?.signal(), Some(Signal::TERM));
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn send_signal(&self, kind: impl Into<super::SignalKind>) -> io::Result<()> {
        self.signal(crate::sys::signal::to_send(kind.into().as_raw())?)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match &self.state {
            ChildState::Unwatched => match self.open() {
                Ok(child) => child.signal(signal),
                Err(error) if is_gone(&error) => Ok(()),
                Err(_) => child::signal_by_id(&self.id, signal),
            },
            ChildState::Watched(source) => source.get_ref().signal(signal),
            ChildState::Ended(_) | ChildState::Lost => Ok(()),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(refused(CALLS[1])(error)),
        }
    }

    /// Closes its input, waits until it has ended, and returns its status and everything that it
    /// wrote to the pipes that were not taken.
    ///
    /// It waits until the *pipes* end, both of them also if reading one fails: a grandchild that
    /// has inherited one delays it.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and of reading the pipes.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future drops the child and its output.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let child = Command::new("echo").arg("abc").stdout(Stdio::piped()).spawn()?;
    ///     let output = child.wait_with_output().await?;
    ///     assert!(output.status.success());
    ///     assert_eq!(output.stdout, b"abc\n");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        // Both are read at once: a child that waits for room in one pipe would never end the other.
        let rest = |source| Joining::of(rest_of(source));
        let mut out = pin!(rest(stdout.as_ref().map(ByteStream::source)));
        let mut err = pin!(rest(stderr.as_ref().map(ByteStream::source)));
        poll_fn(|cx| {
            let ended = [out.as_mut().poll(cx), err.as_mut().poll(cx)];
            match ended {
                [true, true] => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        let (stdout, stderr) = (out.take()?, err.take()?);
        Ok(Output {
            status: self.wait().await?,
            stdout,
            stderr,
        })
    }

    /// Opens the descriptor, unless that is done or there is nothing to watch.
    fn register(&mut self) -> io::Result<()> {
        if let ChildState::Unwatched = self.state {
            self.state = match self.open() {
                Ok(fd) => ChildState::Watched(IoSource::new(Arc::new(fd))),
                // The child does not exist any more, not even as a zombie.
                Err(error) if is_gone(&error) => ChildState::Lost,
                Err(error) => return Err(refused(CALLS[0])(error)),
            };
        }
        Ok(())
    }

    fn open(&self) -> Result<Handle, child::Error> {
        Handle::open(self.id.clone())
    }

    fn status(&self) -> io::Result<ExitStatus> {
        match &self.state {
            ChildState::Ended(status) => Ok(*status),
            _ => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "process {} has ended, but its exit status is lost: {STATUS_IS_LOST}",
                    self.pid
                ),
            )),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.born != fork::generation() {
            return; // this process was forked, and it is its parent's child
        }
        if self.kill_on_drop {
            // The child has ended, or this process may not kill it: there is nothing else to do.
            let _ = self.kill();
        }
        let _ = self.register();
        match std::mem::replace(&mut self.state, ChildState::Lost) {
            ChildState::Watched(source) => reaper::adopt(Orphan::Held(source.get_ref().clone())),
            ChildState::Unwatched => reaper::adopt(Orphan::Numbered(self.id.clone())),
            ChildState::Ended(_) | ChildState::Lost => {}
        }
    }
}

/// Reads everything that comes through this pipe, if there is one.
async fn rest_of(pipe: Option<&IoSource<PipeEnd>>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
