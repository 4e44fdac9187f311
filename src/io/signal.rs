//! Waits for signals of the process on the loop.
//!
//! A `Signal` is a source like others; its operation asks whether the signal has come (see
//! `sys::signal`, which has the handler). No handler is installed before the first `Signal`, and
//! the previous one is restored when the last `Signal` is dropped. (`ctrl_c.rs` keeps one for as
//! long as its loop.)
//!
//! Which signals are refused, and how often one is reported: `sys/unix/signal.rs`.
//!
//! Tests: `tests/io/signals.rs::{each_receives_each_and_many_become_one,
//! on_several_loops_and_off_its_own}`.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::ctrl_c::come;
use super::source::IoSource;
use crate::event_loop::Direction;
use crate::sys::signal::Subscription;

/// Waits for one kind of signal.
///
/// From [`new`](Self::new) on the signal no longer has its usual effect (in most cases, ending the
/// process), but can be received here. Signals that come faster than they are received become one.
/// Several `Signal`s of a kind, on one loop or on many, each receive it. When the last of a kind is
/// dropped, the signal has its previous effect; a handler that the program had installed is called
/// meanwhile, too.
///
/// That previous effect also applies to a signal that was sent by then, but that the system has not
/// yet delivered to a thread of this process. So a program that drops its last
/// `Signal::new(Signal::TERM)` while such a signal comes is ended by it, whether or not it would
/// have received it. If that must not happen, keep one `Signal` of the kind until the program ends.
///
/// A forked child makes `Signal`s of its own: those that it has inherited wake nothing there.
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
    source: IoSource<Arc<Subscription>>,
}

impl Signal {
    /// The terminal is gone; services reload their settings.
    pub const HUP: i32 = libc::SIGHUP;
    /// Ctrl-C.
    pub const INT: i32 = libc::SIGINT;
    /// Ctrl-\.
    pub const QUIT: i32 = libc::SIGQUIT;
    /// For the program's own use.
    pub const USR1: i32 = libc::SIGUSR1;
    /// For the program's own use.
    pub const USR2: i32 = libc::SIGUSR2;
    /// A pipe's other end is closed. Rust programs ignore it.
    pub const PIPE: i32 = libc::SIGPIPE;
    /// A timer of the process has expired.
    pub const ALRM: i32 = libc::SIGALRM;
    /// A request to end.
    pub const TERM: i32 = libc::SIGTERM;
    /// A child has ended or stopped.
    pub const CHLD: i32 = libc::SIGCHLD;
    /// Continue after a stop.
    pub const CONT: i32 = libc::SIGCONT;
    /// Ctrl-Z.
    pub const TSTP: i32 = libc::SIGTSTP;
    /// The terminal's size has changed.
    pub const WINCH: i32 = libc::SIGWINCH;

    /// Catches this kind of signal from now on. It needs no loop yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is not a signal, that the C library keeps for itself (32
    /// and 33 with glibc: real-time signals begin at `SIGRTMIN`), that cannot be caught (`SIGKILL`,
    /// `SIGSTOP`), or that reports a fault (`SIGSEGV` and similar). Also if no descriptor is left.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::Signal;
    ///
    /// let window = Signal::new(Signal::WINCH)?;
    /// assert_eq!(Signal::new(9).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(kind: impl Into<SignalKind>) -> io::Result<Self> {
        let subscription = Arc::new(Subscription::new(kind.into().as_raw())?);
        let source = IoSource::new(subscription);
        Ok(Self { source })
    }

    /// Waits until the signal comes; completes at once if it has come since it was last received.
    ///
    /// # Errors
    ///
    /// When used off its loop, or if no descriptor or memory is left to wait with.
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
        self.source.operate(Direction::Read, come).await
    }

    /// [`recv`](Self::recv) for a future written by hand; only the latest caller is woken.
    ///
    /// # Errors
    ///
    /// Those of `recv`.
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
        self.source.poll(cx, Direction::Read, come)
    }
}

/// Which signal: [`Signal::new`](super::Signal::new) and
/// [`Child::send_signal`](super::Child::send_signal) take one. It is made from the signal's number,
/// so [`Signal::TERM`](super::Signal::TERM) and `libc::SIGTERM` do as well.
///
/// ```
/// use trefoil::io::{Signal, SignalKind};
///
/// let kind = SignalKind::from(Signal::TERM);
/// assert_eq!(kind.as_raw(), 15);
/// assert_eq!(kind, 15.into());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The signal's number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl From<i32> for SignalKind {
    /// Any number: what takes the kind checks that it is a signal.
    fn from(number: i32) -> Self {
        Self(number)
    }
}
