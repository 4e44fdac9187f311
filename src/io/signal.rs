//! Signals of the process, waited for on the loop.
//!
//! All of it is a source like others, whose operation asks whether the signal has come (see
//! `sys::signal`, where the handler is). No handler is installed before the first `Signal`, and the
//! previous one is restored when the last `Signal` is dropped.
//!
//! Checked by `tests/io/`.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::interrupt::taken;
use super::source::Source;
use crate::event_loop::Direction;
use crate::sys::signal::Subscription;

/// Waits for one kind of signal.
///
/// From [`new`](Self::new) on the signal no longer has its usual effect (mostly, ending the
/// process), but can be received here. Signals that come faster than they are received become one.
/// Several `Signal`s of a kind, on one loop or on many, each receive it. When the last of a kind is
/// dropped, the signal has its previous effect; a handler that the program had installed is called
/// meanwhile, too.
///
/// ```
/// use rustix::process::{getpid, kill_process};
/// use trefoil::io::Signal;
///
/// trefoil::run(async {
///     let hangup = Signal::new(Signal::HUP)?;
///     kill_process(getpid(), rustix::process::Signal::HUP)?;
///     hangup.recv().await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Signal {
    source: Source<Arc<Subscription>>,
}

impl Signal {
    /// The terminal is gone; for services: reload the settings.
    pub const HUP: i32 = libc::SIGHUP;
    /// Ctrl-C.
    pub const INT: i32 = libc::SIGINT;
    /// Ctrl-\.
    pub const QUIT: i32 = libc::SIGQUIT;
    /// Free to use.
    pub const USR1: i32 = libc::SIGUSR1;
    /// Free to use.
    pub const USR2: i32 = libc::SIGUSR2;
    /// A pipe whose other end is closed. Rust programs ignore it.
    pub const PIPE: i32 = libc::SIGPIPE;
    /// A timer of the process.
    pub const ALRM: i32 = libc::SIGALRM;
    /// Please end.
    pub const TERM: i32 = libc::SIGTERM;
    /// A child has ended or stopped.
    pub const CHLD: i32 = libc::SIGCHLD;
    /// Go on, after a stop.
    pub const CONT: i32 = libc::SIGCONT;
    /// Ctrl-Z.
    pub const TSTP: i32 = libc::SIGTSTP;
    /// The terminal has another size.
    pub const WINCH: i32 = libc::SIGWINCH;

    /// Catches the signal with this number from now on. Needs no loop yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is not a signal, cannot be caught (`SIGKILL`, `SIGSTOP`),
    /// or reports a fault (`SIGSEGV` and similar). Also if no descriptor is left.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::Signal;
    ///
    /// let window = Signal::new(Signal::WINCH)?;
    /// assert_eq!(Signal::new(9).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(signum: i32) -> io::Result<Self> {
        let subscription = Arc::new(Subscription::new(signum)?);
        let source = Source::new(subscription);
        Ok(Self { source })
    }

    /// Waits until the signal comes; completes at once if it has come since it was last received.
    ///
    /// # Errors
    ///
    /// Off its loop; no descriptor or memory is left to wait with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no signal.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::io::Signal;
    ///
    /// trefoil::run(async {
    ///     let signal = Signal::new(Signal::USR2)?;
    ///     let received = trefoil::timeout(Duration::from_millis(5), signal.recv()).await;
    ///     assert!(received.is_err());
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn recv(&self) -> io::Result<()> {
        self.source.operate(Direction::Read, taken).await
    }

    /// [`recv`](Self::recv) for a future written by hand; the latest caller is woken.
    ///
    /// # Errors
    ///
    /// As `recv`.
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use trefoil::io::Signal;
    ///
    /// trefoil::run(async {
    ///     let signal = Signal::new(Signal::USR2)?;
    ///     poll_fn(|cx| {
    ///         assert!(signal.poll_recv(cx).is_pending());
    ///         std::task::Poll::Ready(())
    ///     })
    ///     .await;
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll(cx, Direction::Read, taken)
    }
}
