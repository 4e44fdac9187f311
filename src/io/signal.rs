//! Signals of the process, waited for on the loop.
//!
//! All of it is a source like others, whose operation asks whether the signal has come (see
//! `sys::signal`, where the handler is). Nothing is installed before the first `Signal`, and what was
//! there before is put back when the last one has gone.
//!
//! A `select!` in a loop drops a [`ctrl_c`] that has not come and makes another: in between nothing waits, and a Ctrl-C that comes
//! just then must not end the program. So the loop keeps the subscription in the meantime, and gives it to the
//! next `ctrl_c`; at its end the loop drops it.
//!
//! Checked by `tests/event_loop/`.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::source::{Outcome, Source};
use crate::event_loop::{Direction, current};
use crate::sys::signal::Subscription;

/// Waits for one kind of signal.
///
/// From [`new`](Self::new) on the signal does not do what it usually does (end the process, as a
/// rule), but waits here to be received. Signals that come faster than they are received
/// become one. Of several `Signal`s of a kind, on one loop or on many, each receives it. When the
/// last of a kind is dropped, the signal does what it did before; a handler that the
/// program had installed itself is called all the while.
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
pub struct Signal {
    signum: i32,
    source: Source<Arc<Subscription>>,
}

impl Signal {
    /// The terminal is gone; to services: read your settings again.
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
    /// `InvalidInput` for what is no signal, cannot be caught (`SIGKILL`, `SIGSTOP`), or tells
    /// of a fault (`SIGSEGV` and its like). No descriptor is left.
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
        Ok(Self::of(signum, Arc::new(Subscription::new(signum)?)))
    }

    fn of(signum: i32, subscription: Arc<Subscription>) -> Self {
        Self {
            signum,
            source: Source::new(subscription),
        }
    }

    /// Waits until the signal comes, or has come since it was received last.
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

fn taken(subscription: &Arc<Subscription>) -> io::Result<Outcome<()>> {
    if subscription.take() {
        Ok(Outcome::Full(()))
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Waits for Ctrl-C, from this call on (not from the first poll): the next one ends the wait and
/// not the process.
///
/// Once it has come, Ctrl-C does again what it did before. So a second one, while the program
/// puts its things in order, ends it at once. A program that goes on after the first says
/// [`keep`](CtrlC::keep), or has one [`Signal`] of [`Signal::INT`] for all its time.
///
/// A future that is dropped before (by a `select!` in a loop, say) leaves Ctrl-C with the event loop: one that
/// comes then does not end the program, and is there for the loop's next `ctrl_c`. Once the loop
/// has ended, Ctrl-C does what it did before.
///
/// # Errors
///
/// Those of [`Signal::new`] and [`Signal::recv`].
///
/// # Cancel safety
///
/// On a loop, dropping it loses nothing: see above. Elsewhere it loses a Ctrl-C that has come and was
/// not yet seen.
///
/// ```
/// use rustix::process::{Signal, getpid, kill_process};
/// use trefoil::io::ctrl_c;
///
/// trefoil::run(async {
///     let pressed = ctrl_c();
///     kill_process(getpid(), Signal::INT)?; // what the terminal does
///     pressed.await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ctrl_c() -> CtrlC {
    let kept = current::local().and_then(|local| local.keep_ctrl_c(None));
    let subscription = match kept {
        Some(kept) => Ok(kept),
        None => Subscription::new(Signal::INT).map(Arc::new),
    };
    CtrlC {
        signal: Some(subscription.map(|subscription| Signal::of(Signal::INT, subscription))),
        keep: false,
    }
}

/// What [`ctrl_c`] returns.
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct CtrlC {
    /// `None` once it is done.
    signal: Option<io::Result<Signal>>,
    keep: bool,
}

impl CtrlC {
    /// Also when it has come, Ctrl-C stays with the loop: the next one waits for the loop's next [`ctrl_c`], and does not end the
    /// program while this one is seen to. When the loop ends, Ctrl-C does what it did before.
    ///
    /// ```
    /// use rustix::process::{Signal, getpid, kill_process};
    /// use trefoil::io::ctrl_c;
    ///
    /// trefoil::run(async {
    ///     for _ in 0..3 {
    ///         let pressed = ctrl_c().keep();
    ///         kill_process(getpid(), Signal::INT)?; // what the terminal does
    ///         pressed.await?;
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// To the loop that runs here, if one does.
    fn give_to_loop(&self) {
        if let Some(Ok(signal)) = &self.signal
            && let Some(local) = current::local()
            && let Some(before) = local.keep_ctrl_c(Some(signal.source.get_ref().clone()))
        {
            // It may have one to give that ours has given already.
            drop(local.keep_ctrl_c(Some(before)));
        }
    }
}

/// It has not come.
impl Drop for CtrlC {
    fn drop(&mut self) {
        self.give_to_loop();
    }
}

impl Future for CtrlC {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.signal {
            Some(Ok(signal)) => ready!(signal.poll_recv(cx)),
            Some(Err(_)) => Ok(()),
            None => panic!("CtrlC was polled again after it had ended"),
        };
        if self.keep {
            self.give_to_loop();
        }
        match self.signal.take() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(result),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("signum", &self.signum)
            .finish_non_exhaustive()
    }
}
