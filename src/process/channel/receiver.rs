//! How an item is received from a channel between processes, and with which errors.
//!
//! All ways of receiving are `try_recv`, and in between a wait for the pipe: in the kernel for a
//! thread that blocks, in `watch` for a future. An item is taken out only when it is given to a
//! caller.
//!
//! Tests: `tests/process/channel.rs`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pipe::{ChannelPipe, PipeError, Side};
use crate::parking::block_on::refuse;
use crate::process::job::results::undecodable;
use crate::process::value::codec::decode;
use crate::process::value::portable::Portable;
use crate::task::{Late, TaskError, context};
use crate::timer::Ready;

/// The receiving end of a [`channel`](super::channel()). Clones receive from the same: each item is
/// received once.
///
/// ```
/// use trefoil::process::{channel, channel::Receiver};
///
/// # trefoil::init();
/// let (sender, receiver) = channel::<u32>(4)?;
/// let adder = trefoil::Process::spawn(receiver, |numbers: Receiver<u32>| numbers.iter().sum::<u32>())?;
/// for n in 1..=10 {
///     sender.send_blocking(n)?;
/// }
/// drop(sender); // the end of the numbers
/// assert_eq!(adder.join()?, 55);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T> {
    pipe: Arc<ChannelPipe>,
    _items: PhantomData<fn() -> T>,
}

end! { Receiver, Side::Receives }

impl<T: Portable> Receiver<T> {
    /// The next item; waits until there is one.
    ///
    /// Works on any runtime, and is cancel safe: a future that is dropped has taken nothing. While
    /// it waits, one thread of the process waits for all such futures.
    ///
    /// # Errors
    /// [`Closed`](TaskError::Closed) if there is no item and all senders are gone, however they
    /// ended. [`Codec`](TaskError::Codec) if an item cannot be decoded; the channel stays usable.
    /// (A panic of its `Deserialize` is not caught.)
    pub async fn recv(&self) -> Result<T, TaskError> {
        loop {
            match self.try_recv() {
                Err(TaskError::WouldBlock) => Ready::new(self.pipe.interest(), None).await,
                result => return result,
            }
        }
    }

    /// Receives, blocking this thread: see [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv). On a thread that must not block (an event loop's):
    /// [`WouldBlock`](TaskError::WouldBlock) if there is no item.
    pub fn recv_blocking(&self) -> Result<T, TaskError> {
        self.recv_until(None)
    }

    /// Waits for an item for `limit` at most, and otherwise like
    /// [`recv_blocking`](Self::recv_blocking).
    ///
    /// # Errors
    /// As [`recv_blocking`](Self::recv_blocking), and [`TimedOut`](TaskError::TimedOut).
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, TaskError> {
        // A time that is not representable is no limit.
        let received = self.recv_until(Instant::now().checked_add(limit));
        received.map_err(|error| match error {
            TaskError::TimedOut(_) => TaskError::TimedOut(Late::after(limit)),
            error => error,
        })
    }

    fn recv_until(&self, until: Option<Instant>) -> Result<T, TaskError> {
        loop {
            match self.try_recv() {
                Err(TaskError::WouldBlock) if context::blocking_refused() => {
                    return Err(TaskError::WouldBlock);
                }
                Err(TaskError::WouldBlock) if !self.pipe.block(until) => {
                    // An item may have arrived in the last moment.
                    return self.try_recv().map_err(|error| match error {
                        TaskError::WouldBlock => TaskError::timed_out(),
                        error => error,
                    });
                }
                Err(TaskError::WouldBlock) => {}
                result => return result,
            }
        }
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    /// [`WouldBlock`](TaskError::WouldBlock) if there is none; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, TaskError> {
        match self.pipe.receive() {
            Ok(bytes) => decode(&bytes).map_err(undecodable::<T>),
            Err(PipeError::Wait) => Err(TaskError::WouldBlock),
            Err(PipeError::Closed) => Err(TaskError::Closed),
            Err(PipeError::Broken(why)) => Err(undecodable::<T>(why)),
        }
    }

    /// The items as they arrive, blocking this thread for each, until all senders are gone (or an
    /// item cannot be decoded).
    ///
    /// # Panics
    /// Where [`recv_blocking`](Self::recv_blocking) gives [`WouldBlock`](TaskError::WouldBlock): on
    /// the thread of an event loop, if there is no item yet. Write
    /// `while let Ok(item) = receiver.recv().await` there.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self
    }
}

/// Its items as they come: see [`Receiver::iter`].
impl<T: Portable> Iterator for Receiver<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        (&*self).next()
    }
}

/// Its items as they come: see [`Receiver::iter`].
impl<T: Portable> Iterator for &Receiver<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        match self.recv_blocking() {
            Ok(item) => Some(item),
            Err(TaskError::WouldBlock) => refuse("while let Ok(item) = receiver.recv().await"),
            Err(_) => None,
        }
    }
}
