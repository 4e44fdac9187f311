//! A channel that delivers every value to every receiver; a slow receiver loses the oldest.
//!
//! For messages to all of many receivers: a line in a chat, an order to stop. If each value is for
//! one receiver, use a [`channel`](super::channel); if only the newest value counts, a
//! [`watch`](super::watch).
//!
//! ```
//! use trefoil::sync::broadcast;
//!
//! let (sender, mut ada) = broadcast::channel(16);
//! let mut ben = sender.subscribe();
//! sender.send("the door is open")?;
//! assert_eq!(ada.recv_blocking(), Ok("the door is open"));
//! assert_eq!(trefoil::run(ben.recv()), Ok("the door is open"));
//! # Ok::<_, broadcast::SendError<&str>>(())
//! ```

// The queue is behind a lock. Each value counts the receivers that have not taken it, and the last
// of these removes it, so a value stays until all have taken it or there are `capacity` newer ones.
// A receiver stores the number of its next value; if that value is gone, the receiver has lagged.
// Receivers first listen and then check; senders first change the queue and then notify. No user
// code runs or is dropped under the queue's lock; a value is cloned under its own lock. Tests:
// `tests/sync/broadcast.rs`.

use std::collections::VecDeque;

use super::wait_list::WaitList;
use crate::loom::{Arc, Mutex};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, LockKind};

/// Makes a channel in which every receiver gets a clone of every value that is sent while the
/// receiver exists. The last `capacity` values are kept for receivers that are behind; a sender
/// never waits.
///
/// Values are `Clone + Send`; receivers that take the same value at the same time clone it one
/// after the other.
///
/// It corresponds to tokio's `broadcast`, with an exact capacity; 0 counts as 1, as in
/// [`channel::bounded`](super::channel::bounded). A receiver waits with [`recv`](Receiver::recv) in
/// async code, and with [`recv_blocking`](Receiver::recv_blocking) on a thread.
///
/// ```
/// use trefoil::sync::broadcast::{self, RecvError};
///
/// let (sender, mut receiver) = broadcast::channel(2);
/// let mut other = sender.subscribe();
/// let thread = std::thread::spawn(move || other.recv_blocking());
/// sender.send("first")?;
/// assert_eq!(thread.join().unwrap(), Ok("first"));
///
/// sender.send("second")?;
/// sender.send("third")?;
/// drop(sender);
/// trefoil::run(async {
///     assert_eq!(receiver.recv().await, Err(RecvError::Lagged(1)));
///     assert_eq!(receiver.recv().await, Ok("second"));
///     assert_eq!(receiver.recv().await, Ok("third"));
///     assert_eq!(receiver.recv().await, Err(RecvError::Closed));
/// });
/// # Ok::<_, broadcast::SendError<&str>>(())
/// ```
#[must_use]
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = SentValues {
        values: VecDeque::new(),
        first: 0,
        senders: 1,
        receivers: 0,
    };
    let shared = Arc::new(BroadcastState {
        capacity: capacity.max(1),
        queue: Mutex::new(queue),
        sent: WaitList::new(LockKind::Broadcast),
        left: WaitList::new(LockKind::Broadcast),
    });
    let receiver = Receiver::new(&shared);
    (Sender { shared }, receiver)
}

struct BroadcastState<T> {
    capacity: usize,
    queue: Mutex<SentValues<T>>,
    /// Notifies receivers of a new value, or of the last sender's end.
    sent: WaitList,
    /// Notifies senders of the last receiver's end.
    left: WaitList,
}

struct SentValues<T> {
    /// The values, oldest first.
    values: VecDeque<SentValue<T>>,
    /// The number of the oldest value.
    first: u64,
    senders: usize,
    receivers: usize,
}

/// A value that was sent. Its lock is held while it is cloned, so it need not be `Sync`.
type Shared<T> = Arc<Mutex<T>>;

/// The value itself, for the last receiver that gets it; for others a clone.
fn value<T: Clone>(shared: Shared<T>) -> T {
    match Arc::try_unwrap(shared) {
        Ok(value) => value.into_inner(),
        Err(shared) => shared.lock().clone(),
    }
}

struct SentValue<T> {
    value: Shared<T>,
    /// How many receivers have not taken the value.
    awaited_by: usize,
}

impl<T> SentValues<T> {
    /// The number of the next value to be sent.
    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// Where the value with this number is.
    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// Removes the values that all have taken: an older value is never awaited by more receivers
    /// than a newer one.
    fn trim(&mut self) -> Vec<SentValue<T>> {
        let had = self.values.iter().take_while(|sent| sent.awaited_by == 0);
        let had = had.count();
        self.first += had as u64;
        self.values.drain(..had).collect()
    }
}

/// The sending side. It can be cloned; after the last sender is dropped, receivers get the
/// remaining values and then an error.
///
/// ```
/// use trefoil::sync::broadcast;
///
/// let (sender, receiver) = broadcast::channel(8);
/// assert_eq!(sender.clone().send(7), Ok(1)); // how many receivers get it
/// drop(receiver);
/// assert!(sender.send(8).is_err());
/// ```
pub struct Sender<T> {
    shared: Arc<BroadcastState<T>>,
}

impl<T> Sender<T> {
    /// Sends `value` to all current receivers, and returns their number. Never waits; if the
    /// channel is full, receivers that have not taken the oldest value lose it.
    ///
    /// # Errors
    /// [`SendError`] with `value` if there are no receivers.
    ///
    /// # Panics
    /// If the destructor of the lost value panics; `value` has been sent then.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let mut queue = self.shared.queue.lock();
        let awaited_by = queue.receivers;
        if awaited_by == 0 {
            return Err(SendError(value));
        }
        let mut lost = None;
        if queue.values.len() == self.shared.capacity {
            lost = queue.values.pop_front();
            queue.first += 1;
        }
        let value = Arc::new(Mutex::new(value));
        queue.values.push_back(SentValue { value, awaited_by });
        drop(queue);
        self.shared.sent.waiters.wake_all();
        drop(lost); // last, because its destructor may panic
        Ok(awaited_by)
    }

    /// Makes another receiver, which gets the values sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }

    /// The number of receivers.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.queue.lock().receivers
    }

    /// Waits until there is no receiver: to stop work that nobody wants. A new one may
    /// [subscribe](Sender::subscribe) later, and if it does so at once, this continues to wait.
    ///
    /// Cancel safe: dropping it changes nothing.
    ///
    /// ```
    /// use trefoil::sync::broadcast;
    ///
    /// let (sender, receiver) = broadcast::channel::<u8>(16);
    /// trefoil::run(async {
    ///     let leaves = trefoil::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    ///     assert_eq!(sender.receiver_count(), 0);
    ///     leaves.await
    /// })?;
    /// # Ok::<_, trefoil::TaskError>(())
    /// ```
    pub async fn closed(&self) {
        let is_closed = || (self.receiver_count() == 0).then_some(());
        self.shared.left.until(Access::Turn, is_closed).await;
    }

    /// Waits until there is no receiver, blocking this thread: see [`closed`](Sender::closed).
    ///
    /// # Panics
    /// On an event loop's thread, if there are receivers: [there](crate::sync#blocking) use
    /// `closed().await`.
    #[track_caller]
    pub fn closed_blocking(&self) {
        wait_for(self.closed(), "Sender::closed");
    }

    /// The number of values kept for receivers that have not taken them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.queue.lock().values.len()
    }

    /// Whether no value is kept because all receivers have taken all values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.queue.lock().senders += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.senders -= 1;
        let was_last = queue.senders == 0;
        drop(queue);
        if was_last {
            self.shared.sent.waiters.wake_all();
        }
    }
}

/// The receiving side, which gets every value. It is not `Clone`: use [`Sender::subscribe`] or
/// [`resubscribe`](Receiver::resubscribe) instead.
///
/// ```
/// use trefoil::sync::broadcast;
///
/// let (sender, mut first) = broadcast::channel(8);
/// let mut second = sender.subscribe(); // gets what is sent from here on
/// sender.send("news").unwrap();
/// assert_eq!((first.recv_blocking(), second.recv_blocking()), (Ok("news"), Ok("news")));
/// ```
pub struct Receiver<T> {
    shared: Arc<BroadcastState<T>>,
    /// The number of its next value.
    next: u64,
}

impl<T> Receiver<T> {
    fn new(shared: &Arc<BroadcastState<T>>) -> Self {
        let mut queue = shared.queue.lock();
        queue.receivers += 1;
        Self {
            next: queue.end(),
            shared: shared.clone(),
        }
    }

    /// Makes another receiver, which gets the values sent from now on.
    pub fn resubscribe(&self) -> Self {
        Self::new(&self.shared)
    }

    /// The number of values that it has not taken, including those that it has lost.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.shared.queue.lock().end() - self.next) as usize
    }

    /// Whether it has taken every value that was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone> Receiver<T> {
    /// Takes the next value, if there is one; waits for nothing but another's `clone` of it.
    ///
    /// The value is cloned under a lock of its own, unless this is the last receiver to take it. So
    /// its `clone` must not take the same value through another receiver.
    ///
    /// # Errors
    /// [`TryRecvError`]: there is no value now, there will be none, or some were lost.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        Ok(value(Self::receive(&self.shared, &mut self.next)?))
    }

    /// The next value, where it is: each step that it is passed through may copy it.
    fn receive(shared: &BroadcastState<T>, next: &mut u64) -> Result<Shared<T>, TryRecvError> {
        let mut queue = shared.queue.lock();
        let Some(index) = queue.index(*next) else {
            let lost = queue.first - *next;
            *next = queue.first;
            return Err(TryRecvError::Lagged(lost));
        };
        let is_closed = queue.senders == 0;
        let Some(sent) = queue.values.get_mut(index) else {
            return Err(if is_closed {
                TryRecvError::Closed
            } else {
                TryRecvError::Empty
            });
        };
        sent.awaited_by -= 1;
        let value = sent.value.clone();
        *next += 1;
        let had = queue.trim();
        drop(queue);
        drop(had);
        Ok(value)
    }

    /// Waits for the next value.
    ///
    /// Cancel safe: dropping it loses no value.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] if values were lost: the next call returns the oldest kept value.
    /// [`RecvError::Closed`] if all senders are gone and it has taken every value.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let Self { shared, next } = self;
        let look = || Self::next_or_end(shared, next);
        Ok(value(shared.sent.until(Access::Turn, look).await?))
    }

    /// What `recv` returns; `None`: nothing yet.
    fn next_or_end(
        shared: &BroadcastState<T>,
        next: &mut u64,
    ) -> Option<Result<Shared<T>, RecvError>> {
        match Self::receive(shared, next) {
            Ok(value) => Some(Ok(value)),
            Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
            Err(TryRecvError::Lagged(lost)) => Some(Err(RecvError::Lagged(lost))),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Receives the next message, blocking this thread: see [`recv`](Receiver::recv).
    ///
    /// # Errors
    /// Those of `recv`.
    ///
    /// # Panics
    /// On an event loop's thread, if it has to wait: [there](crate::sync#blocking) use
    /// `recv().await`.
    #[track_caller]
    pub fn recv_blocking(&mut self) -> Result<T, RecvError> {
        let Self { shared, next } = self;
        loop {
            let mut listener = shared.sent.waiters.listen();
            // This is not inside the wait: a worker that clones a value does not count as waiting.
            if let Some(received) = Self::next_or_end(shared, next) {
                return Ok(value(received?));
            }
            listener.wait(None, shared.sent.at(Access::Turn), "Receiver::recv");
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.receivers -= 1;
        let index = queue.index(self.next).unwrap_or(0); // the values before it are lost
        for sent in queue.values.iter_mut().skip(index) {
            sent.awaited_by -= 1;
        }
        let had = queue.trim();
        let was_last = queue.receivers == 0;
        drop(queue);
        if was_last {
            self.shared.left.waiters.wake_all();
        }
        drop(had); // last, because a destructor may panic
    }
}

/// There are no receivers; contains the value.
///
/// ```
/// let (sender, _) = trefoil::sync::broadcast::channel(8);
/// let error = sender.send("unheard").unwrap_err();
/// assert_eq!(error.0, "unheard");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why a receiver got no value.
///
/// ```
/// use trefoil::sync::broadcast::{self, RecvError};
///
/// let (sender, mut receiver) = broadcast::channel(1);
/// sender.send(1).unwrap();
/// sender.send(2).unwrap();
/// assert_eq!(receiver.recv_blocking(), Err(RecvError::Lagged(1)));
/// assert_eq!(receiver.recv_blocking(), Ok(2));
/// drop(sender);
/// assert_eq!(receiver.recv_blocking(), Err(RecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// All senders are gone, and the receiver has taken every value.
    Closed,
    /// It was too slow and lost this many values. The next call continues after them.
    Lagged(u64),
}

/// Why [`Receiver::try_recv`] returned no value.
///
/// ```
/// use trefoil::sync::broadcast::{self, TryRecvError};
///
/// let (_sender, mut receiver) = broadcast::channel::<u32>(8);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The receiver has taken every value, and others may come.
    Empty,
    /// See [`RecvError::Closed`].
    Closed,
    /// See [`RecvError::Lagged`].
    Lagged(u64),
}

debug!(impl<T> SendError<T>, self);

impl_error!(impl<T> SendError<T>, self, f, f.write_str("nobody receives on this broadcast channel"));

impl_error!(
    impl RecvError,
    self,
    f,
    match self {
        Self::Closed => f.write_str("the senders of this broadcast channel are gone"),
        Self::Lagged(lost) => write!(f, "the receiver was too slow: it has lost {lost} values"),
    }
);

impl_error!(
    impl TryRecvError,
    self,
    f,
    match self {
        Self::Empty => f.write_str("no value is ready"),
        Self::Closed => RecvError::Closed.fmt(f),
        Self::Lagged(lost) => RecvError::Lagged(*lost).fmt(f),
    }
);

debug!(impl<T> Sender<T>, self, kept = self.len(), receivers = self.receiver_count());

debug!(impl<T> Receiver<T>, self, left = self.len());

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crate::parking::park;

    #[derive(Debug)]
    struct Value;

    impl Clone for Value {
        fn clone(&self) -> Self {
            assert!(!park::waits());
            Self
        }
    }

    #[test]
    fn a_value_is_cloned_outside_the_wait() {
        let (sender, mut receiver) = super::channel(1);
        let _other = sender.subscribe(); // so that the value is not moved out
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20)); // the receiver waits meanwhile
                sender.send(Value).unwrap();
            });
            receiver.recv_blocking().unwrap();
        });
    }
}
