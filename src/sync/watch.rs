//! The newest value, for many that wait for it to change.
//!
//! For a setting, a state, a progress: what was before the newest value is of no use. Where every value counts, take a
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

// The value is behind a lock; a receiver remembers the version that it saw last. The number of the version changes
// under the lock, so it is that of the value as long as this is read; a look at the number alone takes no lock. (A reader
// that asks again waits for a writer that waits for that reader.) A receiver that waits listens first and then looks; a
// sender changes the value first and then notifies: so one of the two sees the other. The end of the last sender is such a
// change, too.
// Tests: `tests/task/watch.rs`.

use std::fmt;
use std::ops::Deref;
use std::sync::PoisonError;

use event_listener::{Event as Listeners, EventListener};
use thiserror::Error;

use super::block_on::block_on_anyway;
use crate::loom::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::loom::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Makes a channel that has one value, `value` at first: a [`Sender`] replaces it, and every [`Receiver`] learns that it has
/// changed, and reads the newest. What was replaced before somebody looked is seen by nobody.
///
/// For configuration, progress, a state that others follow. It is tokio's `watch`; the methods that wait also have a
/// blocking form, which ends in `_blocking`.
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
/// The value that a channel begins with counts as seen. To have the ends in several threads it must be `Send + Sync`, since several may look
/// at it at once.
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(value),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        changed: Listeners::new(),
        left: Listeners::new(),
    });
    let receiver = Receiver {
        shared: shared.clone(),
        seen: 0,
    };
    (Sender { shared }, receiver)
}

struct Shared<T> {
    value: RwLock<T>,
    /// Changes under the lock.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Heard by receivers: another value, or no sender any more.
    changed: Listeners,
    /// Heard by senders: no receiver any more.
    left: Listeners,
}

impl<T> Shared<T> {
    /// Code of the caller's that panicked under the lock has left the value as it is.
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// What is there counts as seen; true: it was not.
    fn see_version(&self, seen: &mut u64) -> bool {
        let version = self.version();
        std::mem::replace(seen, version) != version
    }

    /// The value, which counts as seen.
    fn see(&self, seen: &mut u64) -> Ref<'_, T> {
        let now = self.read();
        let is_new = self.see_version(seen);
        Ref { now, is_new }
    }

    /// `None`: there is a value that was not seen, and now is. Listens first and then looks.
    fn listen(&self, seen: &mut u64) -> Result<Option<EventListener>, RecvError> {
        let listener = self.changed.listen();
        let is_closed = self.senders.load(Ordering::SeqCst) == 0; // first: a sender's last value comes before its end
        match self.see_version(seen) {
            true => Ok(None),
            false if is_closed => Err(RecvError),
            false => Ok(Some(listener)),
        }
    }
}

/// The side that replaces the value. Cloning it gives another; when the last is gone, receivers learn it.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Replaces the value and wakes the receivers that wait.
    ///
    /// # Errors
    /// [`SendError`] with `value`, which was not put in, if there are no receivers.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        drop(self.send_replace(value));
        Ok(())
    }

    /// As [`send`](Sender::send), and gives the value of before; also where there are no receivers.
    pub fn send_replace(&self, value: T) -> T {
        let mut before = value;
        self.send_modify(|now| std::mem::swap(now, &mut before));
        before
    }

    /// Changes the value in place and wakes the receivers that wait, also if there are none. Readers wait while `modify`
    /// runs, so it must be short.
    ///
    /// # Panics
    /// With `modify`: the receivers are not woken then, and the value stays as `modify` has left it. If `modify`
    /// uses this channel, it waits for itself.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// As [`send_modify`](Sender::send_modify), but wakes the receivers only if `modify` returns true. What it returned.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut now = self.shared.write();
        let modified = modify(&mut now);
        if modified {
            self.shared.version.fetch_add(1, Ordering::SeqCst);
        }
        drop(now);
        if modified {
            self.shared.changed.notify(usize::MAX);
        }
        modified
    }

    /// The value. It cannot be replaced as long as the [`Ref`] is there: what must not be done meanwhile is said there.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref {
            now: self.shared.read(),
            is_new: false,
        }
    }

    /// One more receiver, to which the value of now counts as seen.
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

    /// There are no receivers. [`subscribe`](Sender::subscribe) changes that.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there are no receivers.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn closed(&self) {
        loop {
            let listener = self.shared.left.listen();
            if self.is_closed() {
                return;
            }
            listener.await;
        }
    }

    /// As [`closed`](Sender::closed), blocking this thread.
    pub fn closed_blocking(&self) {
        block_on_anyway(self.closed());
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
            self.shared.changed.notify(usize::MAX);
        }
    }
}

/// The side that reads the newest value, and waits for another. A clone has seen what this one has.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version that was seen last.
    seen: u64,
}

impl<T> Receiver<T> {
    /// The newest value; if it was new, it stays so. It cannot be replaced as long as the [`Ref`] is there: what must not be
    /// done meanwhile is said there.
    pub fn borrow(&self) -> Ref<'_, T> {
        let now = self.shared.read();
        let is_new = self.is_behind();
        Ref { now, is_new }
    }

    /// As [`borrow`](Receiver::borrow), and the value counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.shared.see(&mut self.seen)
    }

    /// There is a value that was not seen.
    ///
    /// # Errors
    /// [`RecvError`] if all senders are gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        match self.is_closed() {
            true => Err(RecvError),
            false => Ok(self.is_behind()),
        }
    }

    /// The value of now counts as new: the next [`changed`](Receiver::changed) ends at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.version().wrapping_sub(1);
    }

    /// The value of now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version();
    }

    fn is_behind(&self) -> bool {
        self.shared.version() != self.seen
    }

    fn is_closed(&self) -> bool {
        self.shared.senders.load(Ordering::SeqCst) == 0
    }

    /// Waits until there is a value that was not seen, which counts as seen then: ask [`borrow`](Receiver::borrow) for it.
    ///
    /// Cancel safe: if it is dropped, nothing counts as seen.
    ///
    /// # Errors
    /// [`RecvError`] if all senders are gone and their last value was seen.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        while let Some(listener) = self.shared.listen(&mut self.seen)? {
            listener.await;
        }
        Ok(())
    }

    /// As [`changed`](Receiver::changed), blocking this thread.
    ///
    /// # Errors
    /// As `changed`.
    pub fn changed_blocking(&mut self) -> Result<(), RecvError> {
        block_on_anyway(self.changed())
    }

    /// Waits until `condition` holds of the value, which counts as seen then. The value of now is asked first, seen or not.
    ///
    /// Cancel safe: if it is dropped, the values that `condition` was asked of count as seen.
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
                let value = shared.see(seen); // a lock, which is not kept during the wait
                if condition(&value) {
                    return Ok(value);
                }
            }
            while let Some(listener) = shared.listen(seen)? {
                listener.await;
            }
        }
    }

    /// As [`wait_for`](Receiver::wait_for), blocking this thread.
    ///
    /// # Errors
    /// As `wait_for`.
    pub fn wait_for_blocking(
        &mut self,
        condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        block_on_anyway(self.wait_for(condition))
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
            self.shared.left.notify(usize::MAX);
        }
    }
}

/// The value of a channel, which cannot be replaced as long as this is there. It stays on its thread.
///
/// Senders wait for its end, blocking their threads: let go of it soon, and never hold it across an `.await`. A thread that
/// holds one must not send, nor ask for another one by `borrow` or the like: that one may wait for a sender that waits for the
/// first. What gives no `Ref` ([`has_changed`](Receiver::has_changed), [`subscribe`](Sender::subscribe)) waits for nothing.
pub struct Ref<'a, T> {
    now: RwLockReadGuard<'a, T>,
    is_new: bool,
}

impl<T> Ref<'_, T> {
    /// The receiver had not seen it before.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.is_new
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.now
    }
}

/// There are no receivers; the value comes back.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[error("nobody receives on this watch channel")]
pub struct SendError<T>(pub T);

/// All senders are gone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the senders of this watch channel are gone")]
pub struct RecvError;

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
