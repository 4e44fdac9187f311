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

// What is queued, and who waits: `waiting_queue.rs`. Tests: `tests/sync/{sync,refused,wakers}.rs`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::item_queue::{ItemQueue, on};
use super::waiting_queue::{For, Place, Popped, Pushed, Side, WaitingQueue};
use crate::large::is_large;
use crate::loom::Arc;
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, At, LockKind, Made, note_pending, waiting};
use crate::parking::short_wait::look_after;

/// Makes a channel that holds up to `capacity` items.
///
/// A capacity of 0 counts as 1, as in [`process::channel`]: there is no rendezvous channel. (In
/// Python's `queue.Queue(0)` it means no limit: [`unbounded`].) Memory is taken as items
/// come.
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
    let each = size_of::<T>() + size_of::<usize>();
    let bytes = capacity.checked_mul(each);
    assert!(
        bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()),
        "trefoil: no memory could hold a channel of {capacity} items of this size"
    );
    ends(Some(capacity.max(1)))
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
    ends(None)
}

#[track_caller]
fn ends<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let made = Made::here(LockKind::Channel);
    let queue = Arc::new(ItemQueue::new(capacity));
    let sender = Sender {
        queue: Arc::clone(&queue),
        made,
    };
    let receiver = Receiver {
        queue,
        made,
        place: None,
    };
    (sender, receiver)
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
pub struct Sender<T> {
    queue: Arc<ItemQueue<T>>,
    made: Made,
}

/// The receiving end of a channel. Clones receive from the same: each item is received once.
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
    queue: Arc<ItemQueue<T>>,
    made: Made,
    /// As a stream.
    place: Place,
}

/// One that waits; dropped, it gives up.
struct Waits<'a, T> {
    queue: &'a WaitingQueue<T>,
    wanted: For,
    place: Place,
}

impl<'a, T> Waits<'a, T> {
    fn new(queue: &'a WaitingQueue<T>, wanted: For) -> Self {
        Self {
            queue,
            wanted,
            place: None,
        }
    }
}

impl<T> Drop for Waits<'_, T> {
    fn drop(&mut self) {
        self.queue.give_up(self.wanted, &mut self.place);
    }
}

/// Receives, or waits; a waker is cloned only where one waits.
fn pop_or_wait<T>(queue: &WaitingQueue<T>, place: &mut Place, cx: &Context<'_>) -> Popped<T> {
    match queue.pop(place) {
        Popped::Empty(_) => queue.pop_or_wait(place, Some(cx.waker().clone())),
        popped => popped,
    }
}

/// Waits until the item is sent, after a look has found no room; leaves it in `item` if the queue
/// is closed. (That look is the caller's, so that one who finds room makes nothing that waits.)
async fn send<T>(queue: &WaitingQueue<T>, item: &mut Option<T>, at: At) {
    let mut waits = Waits::new(queue, For::Room);
    let sent = poll_fn(|cx| {
        let waker = Some(cx.waker().clone());
        match queue.push_or_wait(item, &mut waits.place, waker) {
            Pushed::Full(_) => Poll::Pending,
            Pushed::Closed | Pushed::Queued => Poll::Ready(()),
        }
    });
    waiting(sent, at).await;
}

#[track_caller]
fn send_blocking<T>(queue: &WaitingQueue<T>, item: T, at: At) -> Result<(), T> {
    let mut item = Some(item);
    let pushed = match queue.push_at_once(&mut item) {
        Pushed::Full(room) => look_after(room, || match queue.push(&mut item) {
            Pushed::Full(_) => None,
            pushed => Some(pushed),
        }),
        pushed => Some(pushed),
    };
    if pushed.is_none() {
        wait_for(send(queue, &mut item, at), "Sender::send");
    }
    item.map_or(Ok(()), Err)
}

fn try_send<T>(queue: &WaitingQueue<T>, item: T) -> Result<(), TrySendError<T>> {
    let mut item = Some(item);
    let pushed = match queue.push(&mut item) {
        Pushed::Full(_) => queue.push_or_wait(&mut item, &mut None, None),
        pushed => pushed,
    };
    match (pushed, item) {
        (Pushed::Full(_), Some(item)) => Err(TrySendError::Full(item)),
        (Pushed::Closed, Some(item)) => Err(TrySendError::Closed(item)),
        _ => Ok(()),
    }
}

async fn closed<T>(queue: &WaitingQueue<T>, at: At) {
    let mut waits = Waits::new(queue, For::End);
    let closed = poll_fn(|cx| {
        if queue.is_closed_or_waits(&mut waits.place, cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    waiting(closed, at).await;
}

/// What a look has found; `None`: nothing.
#[inline]
fn found<T>(popped: Popped<T>) -> Option<Result<T, RecvError>> {
    match popped {
        Popped::Empty(_) => None,
        Popped::Item(item) => Some(Ok(item)),
        Popped::Closed => Some(Err(RecvError)),
    }
}

/// Waits for the next item, after a look has found none: see [`send`].
async fn recv<T>(queue: &WaitingQueue<T>, at: At) -> Result<T, RecvError> {
    let mut waits = Waits::new(queue, For::Item);
    let received = poll_fn(|cx| {
        let place = &mut waits.place;
        let popped = if place.is_some() {
            pop_or_wait(queue, place, cx)
        } else {
            queue.pop_or_wait(place, Some(cx.waker().clone()))
        };
        found(popped).map_or(Poll::Pending, Poll::Ready)
    });
    waiting(received, at).await
}

#[track_caller]
fn recv_blocking<T>(queue: &WaitingQueue<T>, at: At) -> Result<T, RecvError> {
    let received = match queue.pop_at_once() {
        Popped::Empty(came) => look_after(came, || found(queue.pop(&mut None))),
        popped => found(popped),
    };
    match received {
        Some(received) => received,
        None => wait_for(recv(queue, at), "Receiver::recv"), // no closure, for `track_caller`
    }
}

fn try_recv<T>(queue: &WaitingQueue<T>) -> Result<T, TryRecvError> {
    let popped = match queue.pop(&mut None) {
        Popped::Empty(_) => queue.pop_or_wait(&mut None, None),
        popped => popped,
    };
    match popped {
        Popped::Item(item) => Ok(item),
        Popped::Empty(_) => Err(TryRecvError::Empty),
        Popped::Closed => Err(TryRecvError::Closed),
    }
}

impl<T> Sender<T> {
    /// Sends an item; waits while the channel is full.
    ///
    /// Cancel safe in the sense that an item whose future is dropped was not sent.
    ///
    /// # Errors
    /// The item, if the channel is closed.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        if const { is_large::<T>() } {
            let (queue, mut item) = (self.queue.boxes(), Some(Box::new(item)));
            if let Pushed::Full(_) = queue.push(&mut item) {
                send(queue, &mut item, self.at()).await;
            }
            return item.map_or(Ok(()), |item| Err(SendError(*item)));
        }
        let (queue, mut item) = (self.queue.items(), Some(item));
        if let Pushed::Full(_) = queue.push(&mut item) {
            send(queue, &mut item, self.at()).await;
        }
        item.map_or(Ok(()), |item| Err(SendError(item)))
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
        if const { is_large::<T>() } {
            let sent = send_blocking(self.queue.boxes(), Box::new(item), self.at());
            return sent.map_err(|item| SendError(*item));
        }
        send_blocking(self.queue.items(), item, self.at()).map_err(SendError)
    }

    /// Sends an item if there is room for it now.
    ///
    /// # Errors
    /// The item, if the channel is full or closed.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        if const { is_large::<T>() } {
            return try_send(self.queue.boxes(), Box::new(item)).map_err(|error| match error {
                TrySendError::Full(item) => TrySendError::Full(*item),
                TrySendError::Closed(item) => TrySendError::Closed(*item),
            });
        }
        try_send(self.queue.items(), item)
    }

    /// Waits until the channel is closed, as it is when its receivers are gone.
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        on!(self.queue, queue => closed(queue, self.at()).await);
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

    fn at(&self) -> At {
        (self.made.lock(self), Access::Turn)
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
        if const { is_large::<T>() } {
            let queue = self.queue.boxes();
            return match found(queue.pop(&mut None)) {
                Some(received) => received.map(|item| *item),
                None => Ok(*recv(queue, self.at()).await?),
            };
        }
        let queue = self.queue.items();
        match found(queue.pop(&mut None)) {
            Some(received) => received,
            None => recv(queue, self.at()).await,
        }
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
        if const { is_large::<T>() } {
            return Ok(*recv_blocking(self.queue.boxes(), self.at())?);
        }
        recv_blocking(self.queue.items(), self.at())
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    /// [`TryRecvError`]: there is none now, or there will be none.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        if const { is_large::<T>() } {
            return Ok(*try_recv(self.queue.boxes())?);
        }
        try_recv(self.queue.items())
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
    ($end:ident) => {
        impl<T> $end<T> {
            /// Closes the channel: nothing can be sent any more, what is queued can still be
            /// received. False: it was closed.
            pub fn close(&self) -> bool {
                on!(self.queue, queue => queue.close())
            }

            /// Whether the channel was closed, or all handles of one side are gone.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                on!(self.queue, queue => queue.is_closed())
            }

            /// Whether nothing is queued.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room for an item.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.capacity().is_some_and(|capacity| self.len() >= capacity)
            }

            /// The number of items that are queued.
            #[must_use]
            pub fn len(&self) -> usize {
                on!(self.queue, queue => queue.len())
            }

            /// The number of items that the channel holds; `None`: any number.
            #[must_use]
            pub fn capacity(&self) -> Option<usize> {
                on!(self.queue, queue => queue.capacity())
            }
        }

        debug!(impl<T> $end<T>, self, queued = self.len(), closed = self.is_closed());
    };
}

end!(Sender);
end!(Receiver);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        on!(self.queue, queue => queue.add_end(Side::Senders));
        Self {
            queue: Arc::clone(&self.queue),
            made: self.made,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        on!(self.queue, queue => queue.remove_end(Side::Senders));
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        on!(self.queue, queue => queue.add_end(Side::Receivers));
        Self {
            queue: Arc::clone(&self.queue),
            made: self.made,
            place: None,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        on!(self.queue, queue => queue.give_up(For::Item, &mut self.place));
        on!(self.queue, queue => queue.remove_end(Side::Receivers));
    }
}

/// Ends when the channel is closed and every item has been received.
impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Self { queue, place, .. } = &mut *self;
        let popped = if const { is_large::<T>() } {
            pop_or_wait(queue.boxes(), place, cx).map(|item| *item)
        } else {
            pop_or_wait(queue.items(), place, cx)
        };
        match popped {
            Popped::Item(item) => Poll::Ready(Some(item)),
            Popped::Closed => Poll::Ready(None),
            Popped::Empty(_) => {
                note_pending(cx.waker(), self.at().0);
                Poll::Pending
            }
        }
    }
}

impl<T> FusedStream for Receiver<T> {
    fn is_terminated(&self) -> bool {
        self.is_closed() && self.is_empty()
    }
}

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
