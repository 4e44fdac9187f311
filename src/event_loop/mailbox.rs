//! The inbox with its doorbell: how work comes to the loop from other threads.
//!
//! 1. Any thread puts an entry into the lock-free inbox and rings; if the loop
//!    is asleep, that thread wakes it.
//! 2. The loop takes all that is there, whenever it likes. Before it sleeps it
//!    lies down and looks once more (L1).
//! 3. When the loop closes it takes the last of it; from then on whoever brings
//!    an entry takes the inbox's contents back (L2) and drops them, so that their tasks
//!    end in `Closed`. Draining is then nobody's privilege, hence the lock.
//!
//! Checked by `checks/tests/loop_models.rs`, which drives exactly this with
//! loom's condition variable in the kernel's place.

use super::doorbell::{Doorbell, Ring};
use crate::loom::Mutex;
use crate::task::{Inbox, Runnable};

pub(super) struct Mailbox {
    inbox: Inbox,
    bell: Doorbell,
    /// Held while somebody else than the loop drains the inbox.
    sweep: Mutex<()>,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            bell: Doorbell::new(),
            sweep: Mutex::new(()),
        }
    }

    /// Any thread: brings an entry; calls `wake` if the loop must be woken.
    pub(super) fn post(&self, runnable: Runnable, wake: impl FnOnce()) {
        self.inbox.push(runnable);
        self.ring(wake);
    }

    /// Any thread, after it has left something for the loop elsewhere.
    pub(super) fn ring(&self, wake: impl FnOnce()) {
        match self.bell.ring() {
            Ring::Heard => {}
            Ring::Wake => wake(),
            Ring::Closed => self.sweep(),
        }
    }

    /// The loop: nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The loop: all that is here, in the order in which it came.
    pub(super) fn collect(&self) -> impl Iterator<Item = Runnable> {
        self.inbox.drain()
    }

    /// The loop, before it looks a last time and sleeps.
    pub(super) fn lie_down(&self) {
        self.bell.lie_down();
    }

    /// The loop, awake again.
    pub(super) fn get_up(&self) {
        self.bell.get_up();
    }

    /// The loop: it will not look again.
    pub(super) fn close(&self) {
        self.bell.close();
        self.sweep();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.bell.is_closed()
    }

    fn sweep(&self) {
        let left: Vec<Runnable> = {
            let _only_one = self.sweep.lock();
            self.inbox.drain().collect()
        };
        // Dropped without the lock: a destructor may bring more.
        drop(left);
    }
}
