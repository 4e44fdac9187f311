//! Those who wait at something of this module, of which it is known what and where it was made.
//!
//! A waiter first listens and then looks. So if what it waits for happens first and the list is
//! woken then, one of the two sees the other.

use crate::parking::lock_events::{Access, At, LockKind, Made, waiting};
use crate::parking::waiters::Waiters;

pub(super) struct WaitList {
    pub(super) waiters: Waiters,
    made: Made,
}

impl WaitList {
    /// An empty list, of something of this kind that the caller makes.
    #[track_caller]
    #[cfg(not(loom))]
    pub(super) const fn new(kind: LockKind) -> Self {
        let waiters = Waiters::new();
        let made = Made::here(kind);
        Self { waiters, made }
    }

    #[cfg(loom)]
    pub(super) fn new(kind: LockKind) -> Self {
        let (waiters, made) = (Waiters::default(), Made::here(kind));
        Self { waiters, made }
    }

    /// What one waits at who wants this access.
    pub(super) fn at(&self, access: Access) -> At {
        (self.made.lock(self), access)
    }

    /// Waits until `look` finds something, which holds it for this access. What `look` runs is not
    /// inside the wait.
    ///
    /// Cancel safe.
    pub(super) async fn until<R>(&self, access: Access, mut look: impl FnMut() -> Option<R>) -> R {
        loop {
            let listener = match look() {
                Some(found) => return found,
                None => self.waiters.listen(),
            };
            if let Some(found) = look() {
                return found;
            }
            waiting(listener, self.at(access)).await;
        }
    }
}
