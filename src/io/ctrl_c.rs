//! What Ctrl-C does while a task waits for it, and afterwards.
//!
//! It is a source like others; its operation asks whether Ctrl-C has come (see `sys::signal`, which
//! has the handler).
//!
//! A `select!` in a loop drops a pending [`ctrl_c()`] and makes another one. A Ctrl-C in between
//! must not end the program, so the event loop keeps the subscription meanwhile, and passes it to
//! the next `ctrl_c`; at its end the loop drops it.
//!
//! Tests: `tests/io/signals.rs::{the_second_ctrl_c_ends_what_the_first_began_to_end,
//! a_ctrl_c_between_two_waits_for_it_goes_to_the_second}`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::source::{Completed, IoSource};
use crate::event_loop::{Direction, entered_loop};
use crate::sys::signal::{INT, Subscription};

/// The operation of a subscription's source: whether Ctrl-C has come.
pub(super) fn come(subscription: &Arc<Subscription>) -> io::Result<Completed<()>> {
    if subscription.has_come() {
        Ok(Completed::Full(()))
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Waits for Ctrl-C, from this call on (not from the first poll): the next Ctrl-C completes this
/// future instead of ending the process.
///
/// After that, Ctrl-C has its previous effect again, unless the loop has kept a subscription
/// (below). So a second one ends the program at once while it shuts down. A program that continues
/// after the first uses [`keep`](CtrlC::keep), or keeps one `Signal` of `Signal::INT`.
///
/// If the future is dropped before a Ctrl-C (by a `select!` in a loop, say), the event loop keeps
/// the subscription: a later Ctrl-C does not end the program, and completes the loop's next
/// `ctrl_c`. Once the loop has ended, Ctrl-C has its previous effect.
///
/// # Errors
///
/// Errors of the system: it has no room for a handler. An error when used off its loop.
///
/// # Cancel safety
///
/// On a loop, dropping it loses nothing: see above. Elsewhere, dropping it loses a Ctrl-C that has
/// arrived and was not yet reported.
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
    let kept = entered_loop::local().and_then(|local| local.keep_until_end(None)?.downcast().ok());
    let subscription = match kept {
        Some(kept) => Ok(kept),
        None => Subscription::new(INT).map(Arc::new),
    };
    CtrlC {
        source: Some(subscription.map(IoSource::new)),
        keep: false,
    }
}

/// Returned by [`ctrl_c()`].
///
/// ```no_run
/// use std::time::Duration;
/// use trefoil::{io, time};
///
/// trefoil::run(async {
///     trefoil::select! {
///         pressed = io::ctrl_c() => pressed,
///         _ = time::sleep(Duration::from_secs(60)) => Ok(()),
///     }
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct CtrlC {
    /// The source; `None` when the future is done.
    source: Option<io::Result<IoSource<Arc<Subscription>>>>,
    keep: bool,
}

impl CtrlC {
    /// The loop keeps the subscription even after a Ctrl-C: the next one completes the loop's next
    /// [`ctrl_c()`], and does not end the program while this one is handled. When the loop ends,
    /// Ctrl-C has its previous effect.
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

    /// Passes the subscription to the loop that runs here, if one does.
    fn give_to_loop(&self) {
        if let Some(Ok(source)) = &self.source
            && let Some(local) = entered_loop::local()
            && let Some(before) = local.keep_until_end(Some(source.get_ref().clone()))
        {
            // The earlier subscription may report a Ctrl-C that this one has already reported.
            drop(local.keep_until_end(Some(before)));
        }
    }
}

/// Keeps the subscription if Ctrl-C has not come.
impl Drop for CtrlC {
    fn drop(&mut self) {
        self.give_to_loop();
    }
}

impl Future for CtrlC {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.source {
            Some(Ok(source)) => ready!(source.poll(cx, Direction::Read, come)),
            Some(Err(_)) => Ok(()),
            None => panic!("CtrlC was polled again after it had ended"),
        };
        if self.keep {
            self.give_to_loop();
        }
        match self.source.take() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(result),
        }
    }
}
