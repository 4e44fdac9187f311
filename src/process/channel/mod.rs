//! A channel between processes.
//!
//! [`process::channel`](crate::process::channel()) makes a [`Sender`] and a [`Receiver`]. Both can
//! be cloned, and either end can be sent in the argument or the result of a call, so any two
//! processes of the program can communicate while they run.
//!
//! ```
//! use trefoil::ProcessPool;
//! use trefoil::process::{channel, channel::Sender};
//!
//! # trefoil::init();
//! let procs = ProcessPool::with_workers(1)?;
//! let (sender, receiver) = channel(16)?; // at most 16 items wait
//! let count = procs.spawn(sender, |sender: Sender<u64>| {
//!     for n in 0..10 {
//!         sender.send_blocking(n).unwrap();
//!     }
//! });
//! let items: Vec<u64> = receiver.into_iter().collect(); // until the last sender is gone
//! assert_eq!(items.len(), 10);
//! count.join()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Each item arrives at most once, and completely; those of one sender arrive in order. When all
//! peers are gone, including killed ones, sending and receiving fail (a receiver first returns the
//! remaining items).

/// Implements what both ends have in common: clones share an end, and it can be sent to other
/// processes.
macro_rules! end {
    ($name:ident, $side:path) => {
        impl<T> $name<T> {
            pub(super) fn new(pipe: std::sync::Arc<ChannelPipe>) -> Self {
                Self {
                    pipe,
                    _items: std::marker::PhantomData,
                }
            }

            /// How many items the channel holds at most.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.pipe.capacity()
            }

            /// How many items have been sent and not received, now.
            #[must_use]
            pub fn len(&self) -> usize {
                self.pipe.length()
            }

            /// No item waits to be received, now.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self::new(self.pipe.clone())
            }
        }

        debug!(impl<T> $name<T>, self, len = self.len(), capacity = self.capacity());

        /// Works only inside an argument or a result of a call into another process; elsewhere it
        /// is an error.
        impl<T> serde::Serialize for $name<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let names = self.pipe.load().map_err(serde::ser::Error::custom)?;
                names.serialize(serializer)
            }
        }

        /// Works only in an argument or a result of a call into another process; elsewhere it is an
        /// error.
        impl<'de, T> serde::Deserialize<'de> for $name<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let names = serde::Deserialize::deserialize(deserializer)?;
                let pipe = ChannelPipe::unload($side, names).map_err(serde::de::Error::custom)?;
                Ok(Self::new(pipe))
            }
        }
    };
}
pub(crate) mod pair;
mod pipe;
mod receiver;
mod sender;
mod try_send_error;

#[doc(hidden)] // the documented path is `process::channel`
pub use pair::channel;
pub use receiver::Receiver;
pub use sender::Sender;
pub use try_send_error::TrySendError;
