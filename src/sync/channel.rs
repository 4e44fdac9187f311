//! Queues between threads and tasks, blocking or async at either end.
//!
//! Multi-producer and multi-consumer; closed when all handles of one side are dropped. Items that
//! are queued when the last receiver is dropped are dropped with it, so whoever waits for a reply
//! to one learns that none will come. Both ends are `Clone`. `send` and `recv` are futures,
//! `send_blocking` and `recv_blocking` wait, `try_send` and `try_recv` do neither; a receiver is a
//! `Stream`, and a `for` loop over it blocks.
//!
//! ```
//! use trefoil::sync::channel;
//!
//! let (sender, receiver) = channel::bounded(2);
//! let producer = std::thread::spawn(move || {
//!     for n in 0..5 {
//!         sender.send_blocking(n).unwrap(); // waits while two are queued
//!     }
//! });
//! let sum: i32 = trefoil::run(async move {
//!     let mut sum = 0;
//!     while let Ok(n) = receiver.recv().await {
//!         sum += n;
//!     }
//!     sum
//! });
//! producer.join().unwrap();
//! assert_eq!(sum, 10);
//! ```

// `async-channel`'s, with this crate's waits (see `mutex.rs`). Tests: `tests/sync/sync.rs`,
// `tests/sync/refused.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, At, LockKind, Made, note_pending, waiting};

/// Makes a channel that holds up to `capacity` items.
///
/// A capacity of 0 counts as 1, as in [`process::channel`]: there is no
/// rendezvous channel. (In Python's `queue.Queue(0)` it means no limit: [`unbounded`].) The memory
/// for all items is taken at once.
///
/// # Panics
/// If so many items, with a word for each, have more than `isize::MAX` bytes (`usize::MAX` items,
/// for example): no memory could hold them.
///
/// [`process::channel`]: crate::process::channel()
///
/// ```
/// use trefoil::sync::channel;
///
/// let (sender, receiver) = channel::bounded(0);
/// sender.try_send(1).unwrap();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
#[must_use]
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(async_channel::bounded(capacity.max(1)))
}

/// Makes a channel that holds any number of items.
///
/// ```
/// let (sender, receiver) = trefoil::sync::channel::unbounded();
/// for n in 0..1000 {
///     sender.try_send(n).expect("it is never full");
/// }
/// assert_eq!(receiver.len(), 1000);
/// ```
#[must_use]
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(async_channel::unbounded())
}

#[track_caller]
fn ends<T>(
    (sender, inside): (async_channel::Sender<T>, async_channel::Receiver<T>),
) -> (Sender<T>, Receiver<T>) {
    let made = Made::here(LockKind::Channel);
    let receiver = Receiver {
        inside,
        made,
        shared: Some(Arc::new(())),
    };
    (Sender(sender, made), receiver)
}

/// The sending end of a channel. Clones send into the same.
///
/// ```
/// use trefoil::sync::channel;
///
/// let (sender, receiver) = channel::bounded(8);
/// let other = sender.clone();
/// let thread = std::thread::spawn(move || other.send_blocking("from a thread").unwrap());
/// trefoil::run(async { sender.send("from a loop").await }).unwrap();
/// thread.join().unwrap();
/// assert_eq!(receiver.len(), 2);
/// ```
pub struct Sender<T>(async_channel::Sender<T>, Made);

pin_project_lite::pin_project! {
    /// The receiving end of a channel. Clones receive from the same: each item is received once.
    ///
    /// As a `Stream` it must be pinned: `let mut receiver = std::pin::pin!(receiver)`.
    ///
    /// ```
    /// use trefoil::sync::channel;
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// sender.send_blocking(1).unwrap();
    /// sender.send_blocking(2).unwrap();
    /// drop(sender); // what was sent is received nevertheless
    /// assert_eq!(receiver.recv_blocking(), Ok(1));
    /// assert_eq!(trefoil::run(receiver.recv()), Ok(2));
    /// assert!(receiver.recv_blocking().is_err());
    /// ```
    pub struct Receiver<T> {
        #[pin]
        inside: async_channel::Receiver<T>,
        made: Made,
        // Every receiver has a clone; `Arc::into_inner` decides which of them is the last. `None`
        // only while it is dropped.
        shared: Option<Arc<()>>,
    }

    impl<T> PinnedDrop for Receiver<T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.shared.take().and_then(Arc::into_inner).is_some() {
                drain(&this.inside);
            }
        }
    }
}

/// Closes the channel and drops its items.
#[cold]
fn drain<T>(inside: &async_channel::Receiver<T>) {
    inside.close();
    let queued = Queued(inside);
    while queued.0.try_recv().is_ok() {}
}

/// Drops the items that are left when the destructor of another has panicked.
struct Queued<'a, T>(&'a async_channel::Receiver<T>);

impl<T> Drop for Queued<'_, T> {
    fn drop(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// A [`Sender`] that does not keep the channel open.
///
/// ```
/// let (sender, receiver) = trefoil::sync::channel::bounded(1);
/// let weak = sender.downgrade();
/// weak.upgrade().expect("it is open").send_blocking(1).unwrap();
/// drop(sender);
/// assert!(weak.upgrade().is_none() && receiver.recv_blocking() == Ok(1));
/// ```
pub struct WeakSender<T>(async_channel::WeakSender<T>, Made);

impl<T> Sender<T> {
    /// Sends an item; waits while the channel is full.
    ///
    /// Cancel safe in the sense that an item whose future is dropped was not sent.
    ///
    /// # Errors
    /// The item, if the channel is closed.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        let sent = waiting(self.0.send(item), self.at()).await;
        sent.map_err(|error| SendError(error.0))
    }

    /// Sends, blocking this thread: see [`send`](Self::send).
    ///
    /// # Errors
    /// The item, if the channel is closed.
    ///
    /// # Panics
    /// On an event loop's thread, if the channel is full: [there](crate::sync#blocking) use
    /// `send(..).await`.
    #[track_caller]
    pub fn send_blocking(&self, item: T) -> Result<(), SendError<T>> {
        match self.try_send(item) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(item)) => Err(SendError(item)),
            Err(TrySendError::Full(item)) => wait_for(self.send(item), "Sender::send"),
        }
    }

    /// Sends an item if there is room for it now.
    ///
    /// # Errors
    /// The item, if the channel is full or closed.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(item).map_err(|error| match error {
            async_channel::TrySendError::Full(item) => TrySendError::Full(item),
            async_channel::TrySendError::Closed(item) => TrySendError::Closed(item),
        })
    }

    /// Waits until the channel is closed, as it is when its receivers are gone.
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        waiting(self.0.closed(), self.at()).await;
    }

    /// Waits until the channel is closed, blocking this thread: see [`closed`](Self::closed).
    ///
    /// # Panics
    /// On an event loop's thread, if the channel is open: [there](crate::sync#blocking) use
    /// `closed().await`.
    #[track_caller]
    pub fn closed_blocking(&self) {
        wait_for(self.closed(), "Sender::closed");
    }

    /// A handle on the channel's sending side that does not keep the channel open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade(), self.1)
    }

    /// Whether both send into the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    fn at(&self) -> At {
        (self.1.lock(self), Access::Turn)
    }
}

impl<T> Receiver<T> {
    /// The next item; waits until there is one.
    ///
    /// Cancel safe: a future that is dropped has taken nothing.
    ///
    /// # Errors
    /// [`RecvError`]: the channel is closed, and every item has been received.
    pub async fn recv(&self) -> Result<T, RecvError> {
        let received = waiting(self.inside.recv(), self.at()).await;
        received.map_err(|_| RecvError)
    }

    /// The next item; `None`: the channel is closed, and every item has been received. This is
    /// [`recv`](Self::recv) under the name that all streams of this crate have, and as cancel safe.
    ///
    /// ```
    /// use trefoil::sync::channel;
    ///
    /// trefoil::run(async {
    ///     let (sender, receiver) = channel::bounded(2);
    ///     sender.send(1).await.unwrap();
    ///     sender.send(2).await.unwrap();
    ///     drop(sender);
    ///     let mut sum = 0;
    ///     while let Some(number) = receiver.next().await {
    ///         sum += number;
    ///     }
    ///     assert_eq!(sum, 3);
    /// });
    /// ```
    pub async fn next(&self) -> Option<T> {
        self.recv().await.ok()
    }

    /// Receives, blocking this thread: see [`recv`](Self::recv).
    ///
    /// # Errors
    /// [`RecvError`], as `recv`.
    ///
    /// # Panics
    /// On an event loop's thread, if it has to wait: [there](crate::sync#blocking) use
    /// `recv().await`.
    #[track_caller]
    pub fn recv_blocking(&self) -> Result<T, RecvError> {
        match self.try_recv() {
            Ok(item) => Ok(item),
            Err(TryRecvError::Closed) => Err(RecvError),
            Err(TryRecvError::Empty) => wait_for(self.recv(), "Receiver::recv"),
        }
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    /// [`TryRecvError`]: there is none now, or there will be none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inside.try_recv().map_err(|error| match error {
            async_channel::TryRecvError::Empty => TryRecvError::Empty,
            async_channel::TryRecvError::Closed => TryRecvError::Closed,
        })
    }

    /// The items as they come, until the channel is closed and empty: a blocking iterator, which
    /// waits as [`recv_blocking`](Self::recv_blocking) does, and panics where that does. A `for`
    /// loop over the receiver, or over a reference to it, is the same.
    ///
    /// ```
    /// let (sender, receiver) = trefoil::sync::channel::unbounded();
    /// (1..=3).for_each(|n| sender.try_send(n).unwrap());
    /// drop(sender);
    /// assert_eq!(receiver.iter().sum::<i32>(), 6);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// Whether both receive from the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.inside.same_channel(&other.inside)
    }

    fn at(&self) -> At {
        (self.made.lock(self), Access::Turn)
    }
}

/// The items of a channel as they come: [`Receiver::iter`].
///
/// ```
/// let (sender, receiver) = trefoil::sync::channel::unbounded();
/// sender.send_blocking(1).unwrap();
/// sender.send_blocking(2).unwrap();
/// drop(sender); // else it waits for more
/// assert_eq!(receiver.iter().sum::<i32>(), 3);
/// ```
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv_blocking().ok()
    }
}

/// The items of a channel as they come, with its receiver: see [`Receiver::iter`].
///
/// ```
/// let (sender, receiver) = trefoil::sync::channel::unbounded();
/// sender.send_blocking(1).unwrap();
/// drop(sender);
/// for item in receiver {
///     assert_eq!(item, 1);
/// }
/// ```
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv_blocking().ok()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// What both ends have.
macro_rules! end {
    ($end:ident, $field:tt) => {
        impl<T> $end<T> {
            /// Closes the channel: nothing can be sent any more, what is queued can still be
            /// received. False: it was closed.
            pub fn close(&self) -> bool {
                self.$field.close()
            }

            /// Whether the channel was closed, or all handles of one side are gone.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.$field.is_closed()
            }

            /// Whether nothing is queued.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.$field.is_empty()
            }

            /// Whether there is no room for an item.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.$field.is_full()
            }

            /// The number of items that are queued.
            #[must_use]
            pub fn len(&self) -> usize {
                self.$field.len()
            }

            /// The number of items that the channel holds; `None`: any number.
            #[must_use]
            pub fn capacity(&self) -> Option<usize> {
                self.$field.capacity()
            }

            /// The number of receivers.
            #[must_use]
            pub fn receiver_count(&self) -> usize {
                self.$field.receiver_count()
            }

            /// The number of senders.
            #[must_use]
            pub fn sender_count(&self) -> usize {
                self.$field.sender_count()
            }
        }

        debug!(impl<T> $end<T>, self, queued = self.len(), closed = self.is_closed());
    };
}

end!(Sender, 0);
end!(Receiver, inside);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            inside: self.inside.clone(),
            made: self.made,
            shared: self.shared.clone(),
        }
    }
}

/// Ends when the channel is closed and every item has been received.
impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let at = self.at().0;
        let polled = self.project().inside.poll_next(cx);
        if polled.is_pending() {
            note_pending(cx.waker(), at);
        }
        polled
    }
}

impl<T> FusedStream for Receiver<T> {
    fn is_terminated(&self) -> bool {
        self.inside.is_terminated()
    }
}

impl<T> WeakSender<T> {
    /// A sender, unless the channel is closed.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        Some(Sender(self.0.upgrade()?, self.1))
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

debug!(impl<T> WeakSender<T>, self);

/// The channel is closed; contains the item.
///
/// ```
/// let (sender, receiver) = trefoil::sync::channel::bounded(1);
/// drop(receiver);
/// assert_eq!(sender.send_blocking("kept").unwrap_err().into_inner(), "kept");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> SendError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        self.0
    }
}

debug!(impl<T> SendError<T>, self);

impl_error!(impl<T> SendError<T>, self, f, f.write_str(CLOSED));

const CLOSED: &str = "sending into a closed channel";

/// Why [`Sender::try_send`] has not sent the item, which it contains.
///
/// ```
/// let (sender, _receiver) = trefoil::sync::channel::bounded(1);
/// sender.try_send(1).unwrap();
/// let error = sender.try_send(2).unwrap_err();
/// assert!(error.is_full() && error.into_inner() == 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room for it now.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }

    /// Whether the channel is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the channel is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

debug!(impl<T> TrySendError<T>, self, full = self.is_full());

impl_error!(impl<T> TrySendError<T>, self, f, f.write_str(match self {
    Self::Full(_) => "sending into a full channel",
    Self::Closed(_) => CLOSED,
}));

/// The channel is closed, and every item has been received.
///
/// ```
/// use trefoil::sync::channel::{self, RecvError};
///
/// let (sender, receiver) = channel::bounded::<u32>(1);
/// drop(sender);
/// assert_eq!(receiver.recv_blocking(), Err(RecvError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl_error!(impl RecvError, self, f, f.write_str(EMPTY_AND_CLOSED));

const EMPTY_AND_CLOSED: &str = "receiving from an empty and closed channel";

/// Why [`Receiver::try_recv`] returned no item.
///
/// ```
/// use trefoil::sync::channel::{self, TryRecvError};
///
/// let (_sender, receiver) = channel::bounded::<u32>(1);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is none now.
    Empty,
    /// See [`RecvError`].
    Closed,
}

impl TryRecvError {
    /// Whether there is only no item now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the channel is closed, and every item has been received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl_error!(
    impl TryRecvError,
    self,
    f,
    f.write_str(match self {
        Self::Empty => "receiving from an empty channel",
        Self::Closed => EMPTY_AND_CLOSED,
    })
);
