//! How an item is sent into a channel between processes, and with which errors.
//!
//! All ways of sending first encode and pack the item, on the caller's thread; [`Packed`] frees its
//! memory if it is not sent.
//!
//! Tests: `tests/process/channel.rs`.

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::pipe::{ChannelPipe, LOOK, PipeError, PipeRecord, Side};
use super::try_send_error::TrySendError;
use crate::process::parent::client::push;
use crate::process::value::chunk::Chunk;
use crate::process::value::codec::codec_error;
use crate::process::value::portable::Portable;
use crate::process::wire::Reader;
use crate::task::{CodecDirection, TaskError, context};
use crate::timer::Ready;

/// The sending end of a [`channel`](super::channel()). Clones send into the same.
///
/// ```
/// use trefoil::process::{channel, channel::Sender};
///
/// # trefoil::init();
/// let (sender, receiver) = channel::<String>(4)?;
/// let worker = trefoil::Process::spawn(sender, |log: Sender<String>| {
///     log.send_blocking("it runs".to_owned()).is_ok()
/// })?;
/// assert_eq!(receiver.recv_blocking()?, "it runs");
/// assert!(worker.join()?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T> {
    pipe: Arc<ChannelPipe>,
    _items: PhantomData<fn(T)>,
}

end! { Sender, Side::Sends }

impl<T: Portable> Sender<T> {
    /// Sends an item; waits while the channel is full.
    ///
    /// Works on any runtime. Cancel safe in the sense that an item whose future is dropped was
    /// not sent. While it waits, one thread of the process waits for all such futures.
    ///
    /// # Errors
    /// [`Closed`](TaskError::Closed) if all receivers are gone, [`Codec`](TaskError::Codec) if the
    /// item cannot be encoded or there is no memory for it, [`Panicked`](TaskError::Panicked) if
    /// its `Serialize` panics. The item is dropped then.
    pub async fn send(&self, item: T) -> Result<(), TaskError> {
        let mut packed = self.pack(&item)?;
        drop(item);
        loop {
            match packed.send() {
                Err(PipeError::Wait) => {
                    let look = Instant::now() + LOOK;
                    Ready::new(self.pipe.interest(), Some(look)).await;
                }
                sent => return sent.map_err(error::<T>),
            }
        }
    }

    /// Sends, blocking this thread: see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send). On a thread that must not block (an event loop's):
    /// [`WouldBlock`](TaskError::WouldBlock) if the channel is full.
    pub fn send_blocking(&self, item: T) -> Result<(), TaskError> {
        let mut packed = self.pack(&item)?;
        drop(item);
        loop {
            match packed.send() {
                Err(PipeError::Wait) if !context::blocking_refused() => {
                    self.pipe.block(Some(Instant::now() + LOOK));
                }
                sent => return sent.map_err(error::<T>),
            }
        }
    }

    /// Sends an item if there is room for it now.
    ///
    /// # Errors
    /// [`TrySendError`], which has the item, if there is none, or for the reasons of
    /// [`send`](Self::send).
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        // Checked before the item is encoded: it may be large, and is often given up if there is no
        // room.
        let refused = self.pipe.refuses().map_or(Ok(()), Err).map_err(error::<T>);
        let packed = refused.and_then(|()| self.pack(&item));
        let sent = packed.and_then(|mut packed| packed.send().map_err(error::<T>));
        sent.map_err(|error| match error {
            TaskError::WouldBlock => TrySendError::Full(item),
            TaskError::Closed => TrySendError::Closed(item),
            error => TrySendError::Unsendable(item, error),
        })
    }

    fn pack(&self, item: &T) -> Result<Packed<'_>, TaskError> {
        let mut chunk = Chunk::default();
        push(&mut chunk, item)?;
        if chunk.has_attachments() {
            let message = "an item of a channel cannot contain descriptors: no ends of channels, no \
                shared memory";
            return Err(error::<T>(PipeError::Broken(message.to_owned())));
        }
        let bytes = Reader(&chunk.bytes).bytes().unwrap_or_default();
        let packed = self.pipe.pack(bytes).map_err(error::<T>)?;
        Ok(Packed {
            pipe: &self.pipe,
            record: Some(packed),
        })
    }
}

#[cold]
fn error<T>(refused: PipeError) -> TaskError {
    match refused {
        PipeError::Wait => TaskError::WouldBlock,
        PipeError::Closed => TaskError::Closed,
        PipeError::Broken(why) => {
            codec_error(type_name::<T>(), CodecDirection::EncodeArgument, why)
        }
    }
}

/// An item that has not been sent.
struct Packed<'a> {
    pipe: &'a ChannelPipe,
    record: Option<PipeRecord>,
}

impl Packed<'_> {
    fn send(&mut self) -> Result<(), PipeError> {
        if let Some(record) = &self.record {
            self.pipe.send(record)?;
        }
        self.record = None;
        Ok(())
    }
}

impl Drop for Packed<'_> {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.pipe.discard(record);
        }
    }
}
