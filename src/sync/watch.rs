//! A channel that keeps only the newest value, for receivers that wait for changes.
//!
//! For a setting, a state, a progress: earlier values are of no use. If every value counts, use a
//! [`broadcast`](super::broadcast) or a [`channel`](super::channel).
//!
//! ```
//! use trefoil::sync::watch;
//!
//! let (sender, mut level) = watch::channel(1);
//! sender.send(2)?;
//! sender.send(3)?;
//! trefoil::run(level.changed())?;
//! assert_eq!(*level.borrow(), 3);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

// The value is behind a lock; a receiver remembers the version that it saw last. The version
// changes under the lock, so it matches the value while the value is read; reading the version
// alone takes no lock. (A reader that locks again would wait for a writer that waits for that
// reader.) A receiver first listens and then checks; a sender first changes the value and then
// notifies. So one of the two sees the other. The end of the last sender is such a change, too.
// Tests: `tests/sync/watch.rs`.

use std::fmt;
use std::ops::Deref;
use std::sync::PoisonError;

use super::wait_list::WaitList;
use crate::loom::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::loom::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, LockKind};

/// Makes a channel that holds one value, initially `value`. A [`Sender`] replaces it; every
/// [`Receiver`] learns that it has changed, and reads the newest. A value that is replaced before a
/// receiver looks is never seen.
///
/// It is for configuration, progress, a state that others follow. It corresponds to tokio's
/// `watch`; the methods that wait also have a blocking form, whose name ends in `_blocking`.
///
/// ```
/// use trefoil::sync::watch;
///
/// let (sender, mut receiver) = watch::channel(0);
/// let thread = std::thread::spawn(move || {
///     while receiver.changed_blocking().is_ok() {
///         if *receiver.borrow_and_update() == 3 {
///             return true;
///         }
///     }
///     false // the sender has gone
/// });
/// for n in 1..=3 {
///     sender.send(n)?;
/// }
/// assert!(thread.join().unwrap());
/// # Ok::<_, watch::SendError<i32>>(())
/// ```
///
/// The initial value counts as seen. To use the ends on several threads, the value must be
/// `Send + Sync`, since several may read it at once.
#[must_use]
#[track_caller]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(WatchState {
        value: RwLock::new(value),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        changed: WaitList::new(LockKind::Watch),
        left: WaitList::new(LockKind::Watch),
    });
    let receiver = Receiver {
        shared: shared.clone(),
        seen: 0,
    };
    (Sender { shared }, receiver)
}

struct WatchState<T> {
    value: RwLock<T>,
    /// The version of the value, which changes under the lock.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Notifies receivers of a new value, or of the last sender's end.
    changed: WaitList,
    /// Notifies senders of the last receiver's end.
    left: WaitList,
}

impl<T> WatchState<T> {
    /// If the caller's code panicked under the lock, the value stays as that code has left it.
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Marks the current value as seen; returns true if it was not.
    fn see_version(&self, seen: &mut u64) -> bool {
        let version = self.version();
        std::mem::replace(seen, version) != version
    }

    /// The value; marks it as seen.
    fn see(&self, seen: &mut u64) -> Ref<'_, T> {
        let now = self.read();
        self.see_version(seen);
        Ref(now)
    }

    fn is_closed(&self) -> bool {
        self.senders.load(Ordering::SeqCst) == 0
    }

    /// Waits until there is an unseen value, which is now seen.
    async fn changed(&self, seen: &mut u64) -> Result<(), RecvError> {
        let look = || {
            let is_closed = self.is_closed(); // first: a sender's last value comes before its end
            match self.see_version(seen) {
                true => Some(Ok(())),
                false => is_closed.then_some(Err(RecvError)),
            }
        };
        self.changed.until(Access::Turn, look).await
    }
}

/// The side that replaces the value. It can be cloned; when the last sender is dropped, receivers
/// learn it.
///
/// ```
/// let (sender, receiver) = trefoil::sync::watch::channel(1);
/// sender.send_modify(|n| *n += 1);
/// assert_eq!(sender.send_replace(5), 2);
/// assert_eq!(*receiver.borrow(), 5);
/// ```
pub struct Sender<T> {
    shared: Arc<WatchState<T>>,
}

impl<T> Sender<T> {
    /// Replaces the value and wakes the waiting receivers.
    ///
    /// # Errors
    /// [`SendError`] with `value`, which was not stored, if there are no receivers.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        drop(self.send_replace(value));
        Ok(())
    }

    /// Replaces the value and returns the previous one. Unlike [`send`](Sender::send), it also
    /// works without receivers.
    pub fn send_replace(&self, value: T) -> T {
        let mut before = value;
        self.send_modify(|now| std::mem::swap(now, &mut before));
        before
    }

    /// Changes the value in place and wakes the waiting receivers. Works without receivers, too.
    /// Readers wait while `modify` runs, so it must be short.
    ///
    /// # Panics
    /// If `modify` panics: the receivers are not woken then, and the value stays as `modify` has
    /// left it. If `modify` sends or borrows here, it deadlocks.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place, and wakes the receivers only if `modify` returns true. Returns
    /// what `modify` returned. See [`send_modify`](Sender::send_modify).
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut now = self.shared.write();
        let modified = modify(&mut now);
        if modified {
            self.shared.version.fetch_add(1, Ordering::SeqCst);
        }
        drop(now);
        if modified {
            self.shared.changed.waiters.wake_all();
        }
        modified
    }

    /// Borrows the value. It cannot be replaced while the [`Ref`] exists; see there for what must
    /// not be done meanwhile.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Makes another receiver, for which the current value counts as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver {
            seen: self.shared.version(),
            shared: self.shared.clone(),
        }
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(Ordering::SeqCst)
    }

    /// Whether there are no receivers. [`subscribe`](Sender::subscribe) makes one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there are no receivers.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn closed(&self) {
        let is_closed = || self.is_closed().then_some(());
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
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::SeqCst);
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.changed.waiters.wake_all();
        }
    }
}

/// The side that reads the newest value and waits for changes. A clone has seen the same version.
///
/// ```
/// let (sender, mut receiver) = trefoil::sync::watch::channel("old");
/// sender.send("new").unwrap();
/// receiver.changed_blocking()?; // at once: it has not seen it
/// assert_eq!(*receiver.borrow_and_update(), "new");
/// assert!(!receiver.has_changed()?);
/// # Ok::<_, trefoil::sync::watch::RecvError>(())
/// ```
pub struct Receiver<T> {
    shared: Arc<WatchState<T>>,
    /// The version that was seen last.
    seen: u64,
}

impl<T> Receiver<T> {
    /// Borrows the newest value without marking it as seen. It cannot be replaced while the [`Ref`]
    /// exists; see there for what must not be done meanwhile.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Borrows the value, as [`borrow`](Receiver::borrow) does, and marks it as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.shared.see(&mut self.seen)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// [`RecvError`] if all senders are gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        if self.shared.is_closed() {
            Err(RecvError)
        } else {
            Ok(self.shared.version() != self.seen)
        }
    }

    /// Waits until there is a value that was not seen, and marks it as seen. Read it with
    /// [`borrow`](Receiver::borrow).
    ///
    /// Cancel safe: if it is dropped, no value is marked as seen.
    ///
    /// # Errors
    /// [`RecvError`] if all senders are gone and their last value was seen.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        self.shared.changed(&mut self.seen).await
    }

    /// Waits for a change, blocking this thread: see [`changed`](Receiver::changed).
    ///
    /// # Errors
    /// Those of `changed`.
    ///
    /// # Panics
    /// On an event loop's thread, if it has to wait: [there](crate::sync#blocking) use
    /// `changed().await`.
    #[track_caller]
    pub fn changed_blocking(&mut self) -> Result<(), RecvError> {
        wait_for(self.changed(), "Receiver::changed")
    }

    /// Waits until `condition` holds for the value, and marks that as seen. The current value is
    /// tested first, even if it was seen.
    ///
    /// Cancel safe: if it is dropped, the values that were tested count as seen.
    ///
    /// # Errors
    /// [`RecvError`] if all senders are gone and the condition does not hold.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        let Self { shared, seen } = self;
        loop {
            {
                let value = shared.see(seen); // the lock is not kept during the wait
                if condition(&value) {
                    return Ok(value);
                }
            }
            shared.changed(seen).await?;
        }
    }

    /// Waits for a value, blocking this thread: see [`wait_for`](Receiver::wait_for).
    ///
    /// # Errors
    /// Those of `wait_for`.
    ///
    /// # Panics
    /// On an event loop's thread, if it has to wait: [there](crate::sync#blocking) use
    /// `wait_for(..).await`.
    #[track_caller]
    pub fn wait_for_blocking(
        &mut self,
        mut condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        let Self { shared, seen } = self;
        loop {
            // This is not inside the wait: a worker that runs the condition does not count as
            // waiting.
            let value = shared.see(seen);
            if condition(&value) {
                return Ok(value);
            }
            drop(value);
            wait_for(shared.changed(seen), "Receiver::wait_for")?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::SeqCst);
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.shared.receivers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.left.waiters.wake_all();
        }
    }
}

/// A borrowed value of a channel, which cannot be replaced while this exists. It stays on its
/// thread.
///
/// Senders block their threads until it is dropped: drop it soon, and never hold it across an
/// `.await`. A thread that holds one must not send, nor call `borrow` or the like again: that call
/// may wait for a sender that waits for the first `Ref`. ([`has_changed`](Receiver::has_changed)
/// and [`subscribe`](Sender::subscribe) do not wait.)
///
/// ```
/// let (_sender, receiver) = trefoil::sync::watch::channel(vec![1, 2]);
/// let sum: i32 = receiver.borrow().iter().sum(); // dropped at the end of the statement
/// assert_eq!(sum, 3);
/// ```
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// There are no receivers; the value comes back.
///
/// ```
/// let (sender, receiver) = trefoil::sync::watch::channel(1);
/// drop(receiver);
/// assert_eq!(sender.send(2).unwrap_err().0, 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// All senders are gone.
///
/// ```
/// use trefoil::sync::watch::{self, RecvError};
///
/// let (sender, mut receiver) = watch::channel(1);
/// drop(sender);
/// assert_eq!(receiver.changed_blocking(), Err(RecvError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

debug!(impl<T> SendError<T>, self);

impl_error!(impl<T> SendError<T>, self, f, f.write_str("nobody receives on this watch channel"));

impl_error!(
    impl RecvError,
    self,
    f,
    f.write_str("the senders of this watch channel are gone")
);

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

debug!(impl<T> Sender<T>, self, receivers = self.receiver_count());

debug!(impl<T> Receiver<T>, self, is_closed = self.shared.is_closed());
