//! `mpsc`: trefoil's `channel`, whose receivers there may be several of.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
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
    let sender = Arc::new(sender);
    let receiver = Receiver {
        receiver: Box::pin(receiver),
        senders: Arc::downgrade(&sender),
        capacity,
    };
    (Sender { sender, capacity }, receiver)
}

pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (sender, receiver) = channel::unbounded();
    let sender = Arc::new(sender);
    let senders = Arc::downgrade(&sender);
    let receiver = Box::pin(receiver);
    (
        UnboundedSender(sender),
        UnboundedReceiver { receiver, senders },
    )
}

pub struct Sender<T> {
    sender: Arc<channel::Sender<T>>,
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
        Arc::ptr_eq(&self.sender, &other.sender)
    }

    pub fn capacity(&self) -> usize {
        self.capacity - self.sender.len()
    }

    pub fn max_capacity(&self) -> usize {
        self.capacity
    }

    pub fn strong_count(&self) -> usize {
        Arc::strong_count(&self.sender)
    }

    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender {
            sender: Arc::downgrade(&self.sender),
            capacity: self.capacity,
        }
    }
}

pub struct WeakSender<T> {
    sender: Weak<channel::Sender<T>>,
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

pub struct UnboundedSender<T>(Arc<channel::Sender<T>>);

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
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn strong_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender(Arc::downgrade(&self.0))
    }
}

pub struct WeakUnboundedSender<T>(Weak<channel::Sender<T>>);

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
    ($receiver:ident) => {
        impl<T> $receiver<T> {
            pub async fn recv(&mut self) -> Option<T> {
                self.receiver.recv().await.ok()
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
                try_recv(&self.receiver)
            }

            #[track_caller]
            pub fn blocking_recv(&mut self) -> Option<T> {
                self.receiver.recv_blocking().ok()
            }

            pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.receiver.as_mut().poll_next(cx)
            }

            pub fn close(&mut self) {
                self.receiver.close();
            }

            pub fn is_closed(&self) -> bool {
                self.receiver.is_closed()
            }

            pub fn is_empty(&self) -> bool {
                self.receiver.is_empty()
            }

            pub fn len(&self) -> usize {
                self.receiver.len()
            }

            pub fn sender_strong_count(&self) -> usize {
                self.senders.strong_count()
            }
        }
    };
}

pub struct Receiver<T> {
    /// Pinned, since it is a stream that has to be.
    receiver: Pin<Box<channel::Receiver<T>>>,
    senders: Weak<channel::Sender<T>>,
    capacity: usize,
}

receiver!(Receiver);

impl<T> Receiver<T> {
    pub fn capacity(&self) -> usize {
        self.capacity - self.receiver.len()
    }

    pub fn max_capacity(&self) -> usize {
        self.capacity
    }
}

pub struct UnboundedReceiver<T> {
    receiver: Pin<Box<channel::Receiver<T>>>,
    senders: Weak<channel::Sender<T>>,
}

receiver!(UnboundedReceiver);

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
