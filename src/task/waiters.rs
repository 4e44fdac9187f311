//! Many waiters for one event, each with a waker.
//!
//! A waiter first registers its waker, and then looks whether the event has happened. The event
//! happens first, and then its waiters are woken. Both pass through one lock, so one of the two
//! sees the other. No waker is cloned, woken or dropped under the lock, since that is user code.
//!
//! Tests: those of `CancelToken` and `SharedTask`, in `checks/tests/models.rs` and `tests/task/`.

use std::collections::BTreeMap;
use std::task::{Wake, Waker};

use crate::helper::contain;
use crate::loom::{Arc, Mutex};

#[derive(Default)]
pub(super) struct Waiters(Mutex<List>);

#[derive(Default)]
struct List {
    /// The last key that was given out.
    last: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Waiters {
    /// Registers `waker` under this key, instead of the one before. `None` becomes a new key.
    pub(super) fn register(&self, key: &mut Option<u64>, waker: &Waker) {
        let waker = waker.clone();
        let mut list = self.0.lock();
        let key = *key.get_or_insert_with(|| {
            list.last += 1;
            list.last
        });
        let replaced = list.wakers.insert(key, waker);
        drop(list);
        drop(replaced);
    }

    /// Takes the waker back, if it has not been woken.
    pub(super) fn unregister(&self, key: Option<u64>) {
        let waker = key.and_then(|key| self.0.lock().wakers.remove(&key));
        drop(waker);
    }

    /// Wakes all that wait now.
    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        for waker in wakers.into_values() {
            contain(|| waker.wake()); // the others count on us
        }
    }
}

/// What happens is the end of a task, whose one consumer this is.
impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}
