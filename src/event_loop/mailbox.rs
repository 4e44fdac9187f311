//! How work comes to the loop from other threads.
//!
//! 1. Any thread puts an entry into the lock-free [`Inbox`]; if the loop
//!    was asleep, that thread wakes it. Who has left something elsewhere rings.
//! 2. The loop takes all that is there, whenever it likes. Before it sleeps it
//!    lies down, which fails where something is there, and looks at the rest once more.
//! 3. When the loop closes it takes the last of it in the same step. What is brought from then on is
//!    dropped by who brings it, so that its task ends in `Closed`.
//!
//! - **L1** No wake-up is lost: for entries and rings alike the inbox sees to it (T25).
//! - **L2** No work is left behind: an entry is taken by the loop, in `close` at the latest, or refused.
//!
//! Checked by `checks/tests/loop_models.rs`, which drives exactly this with
//! loom's condition variable in the kernel's place, with twins that lack a step or a fence; and
//! by `tests/event_loop/` (100,000 spawns from eight threads).

use crate::task::{Brought, Drain, Inbox, Pushed, Sleep};

pub(super) struct Mailbox {
    inbox: Inbox,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            inbox: Inbox::new(),
        }
    }

    /// Any thread: brings an entry; calls `wake` if the loop must be woken.
    pub(super) fn post(&self, brought: Brought, wake: impl FnOnce(Sleep)) {
        match self.inbox.push(brought) {
            Pushed::Heard => {}
            Pushed::Wake(sleep) => wake(sleep),
            Pushed::Closed(refused) => drop(refused),
        }
    }

    /// Any thread, after it has left something for the loop elsewhere.
    pub(super) fn ring(&self, wake: impl FnOnce(Sleep)) {
        if let Some(sleep) = self.inbox.ring() {
            wake(sleep);
        }
    }

    /// The loop: nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The loop, awake: all that is here, in the order in which it came.
    pub(super) fn collect(&self) -> Drain {
        self.inbox.drain()
    }

    /// The loop, before it looks a last time and sleeps. False: something is here.
    #[must_use]
    pub(super) fn lie_down(&self, how: Sleep) -> bool {
        self.inbox.lie_down(how)
    }

    /// The loop, awake again.
    pub(super) fn get_up(&self) {
        self.inbox.get_up();
    }

    /// The loop, awake: the last of it. It will not look again.
    pub(super) fn close(&self) -> Drain {
        self.inbox.close()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}
