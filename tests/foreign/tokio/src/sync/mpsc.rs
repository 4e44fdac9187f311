//! `mpsc`: trefoil's `channel`, whose receivers there may be several of.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use trefoil::sync::channel;

pub mod error {
    pub use trefoil::sync::channel::{SendError, TrySendError};

    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum TryRecvError {
        Empty,
        Disconnected,
    }
}

pub use crate::absent::{OwnedPermit, Permit, PermitIterator};
use error::{SendError, TryRecvError, TrySendError};

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "receiving on an empty channel",
            Self::Disconnected => "receiving on a closed channel",
        })
    }
}

impl std::error::Error for TryRecvError {}

pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(capacity);
    (
        Sender { sender, capacity },
        Receiver {
            receiver: Box::pin(receiver),
            capacity,
        },
    )
}

pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (sender, receiver) = channel::unbounded();
    (
        UnboundedSender(sender),
        UnboundedReceiver(Box::pin(receiver)),
    )
}

pub struct Sender<T> {
    sender: channel::Sender<T>,
    capacity: usize,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            capacity: self.capacity,
        }
    }
}

impl<T> Sender<T> {
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.sender.send(value).await
    }

    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(value)
    }

    #[track_caller]
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        self.sender.send_blocking(value)
    }

    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub fn same_channel(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }

    pub fn capacity(&self) -> usize {
        self.capacity - self.sender.len()
    }

    pub fn max_capacity(&self) -> usize {
        self.capacity
    }

    pub fn strong_count(&self) -> usize {
        self.sender.sender_count()
    }

    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            sender: self.sender.downgrade(),
            capacity: self.capacity,
        }
    }
}

pub struct WeakSender<T> {
    sender: channel::WeakSender<T>,
    capacity: usize,
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            capacity: self.capacity,
        }
    }
}

impl<T> WeakSender<T> {
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.sender.upgrade().map(|sender| Sender {
            sender,
            capacity: self.capacity,
        })
    }
}

pub struct UnboundedSender<T>(channel::Sender<T>);

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> UnboundedSender<T> {
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0
            .try_send(value)
            .map_err(|error| SendError(error.into_inner()))
    }

    pub async fn closed(&self) {
        self.0.closed().await;
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub fn same_channel(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    pub fn strong_count(&self) -> usize {
        self.0.sender_count()
    }

    pub fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender(self.0.downgrade())
    }
}

pub struct WeakUnboundedSender<T>(channel::WeakSender<T>);

impl<T> Clone for WeakUnboundedSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> WeakUnboundedSender<T> {
    pub fn upgrade(&self) -> Option<UnboundedSender<T>> {
        self.0.upgrade().map(UnboundedSender)
    }
}

fn try_recv<T>(receiver: &channel::Receiver<T>) -> Result<T, TryRecvError> {
    receiver.try_recv().map_err(|error| match error {
        channel::TryRecvError::Empty => TryRecvError::Empty,
        channel::TryRecvError::Closed => TryRecvError::Disconnected,
    })
}

/// What both receivers have.
macro_rules! receiver {
    ($receiver:ident, $field:tt) => {
        impl<T> $receiver<T> {
            pub async fn recv(&mut self) -> Option<T> {
                self.$field.recv().await.ok()
            }

            /// As docs/FROM_TOKIO.md has it.
            pub async fn recv_many(&mut self, items: &mut Vec<T>, limit: usize) -> usize {
                if limit == 0 {
                    return 0;
                }
                let before = items.len();
                items.extend(self.recv().await);
                while items.len() - before < limit {
                    let Ok(item) = self.try_recv() else { break };
                    items.push(item);
                }
                items.len() - before
            }

            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                try_recv(&self.$field)
            }

            #[track_caller]
            pub fn blocking_recv(&mut self) -> Option<T> {
                self.$field.recv_blocking().ok()
            }

            pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.$field.as_mut().poll_next(cx)
            }

            pub fn close(&mut self) {
                self.$field.close();
            }

            pub fn is_closed(&self) -> bool {
                self.$field.is_closed()
            }

            pub fn is_empty(&self) -> bool {
                self.$field.is_empty()
            }

            pub fn len(&self) -> usize {
                self.$field.len()
            }

            pub fn sender_strong_count(&self) -> usize {
                self.$field.sender_count()
            }
        }
    };
}

pub struct Receiver<T> {
    /// Pinned, since it is a stream that has to be.
    receiver: Pin<Box<channel::Receiver<T>>>,
    capacity: usize,
}

receiver!(Receiver, receiver);

impl<T> Receiver<T> {
    pub fn capacity(&self) -> usize {
        self.capacity - self.receiver.len()
    }

    pub fn max_capacity(&self) -> usize {
        self.capacity
    }
}

pub struct UnboundedReceiver<T>(Pin<Box<channel::Receiver<T>>>);

receiver!(UnboundedReceiver, 0);

/// Of any `T`.
macro_rules! debug {
    ($($name:ident)*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug!(Sender WeakSender UnboundedSender WeakUnboundedSender Receiver UnboundedReceiver);
