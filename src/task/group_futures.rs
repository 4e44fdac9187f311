//! The members of a group that are plain futures, polled by the thread that waits for the group.
//!
//! **Protocol.** Such a member has a task's cell, whose entry comes here when it is added and each
//! time that it is woken. With the entry a notice ([`NOTICE`]) goes into the group's ready queue,
//! so that one wait learns of ended tasks and of futures to poll, in the order in which they came.
//! While no thread waits, nothing is polled.
//!
//! When the group is dropped, this is closed: later entries are dropped, with their futures.
//!
//! Tests: `tests/task/group_futures.rs`.

use std::collections::VecDeque;

use super::raw::{ReadyShared, Runnable, Schedule};
use crate::loom::{Arc, Mutex};

/// A number in the ready queue that is no member's: it says that there is an entry here.
pub(super) const NOTICE: usize = usize::MAX;

pub(super) struct GroupFutures {
    /// The entries, oldest first. `None`: closed.
    entries: Mutex<Option<VecDeque<Runnable>>>,
    ready: Arc<ReadyShared>,
}

impl GroupFutures {
    pub(super) fn new(ready: Arc<ReadyShared>) -> Arc<Self> {
        let entries = Mutex::new(Some(VecDeque::new()));
        Arc::new(Self { entries, ready })
    }

    /// Polls the future that was woken first.
    pub(super) fn poll_one(&self) {
        let entry = self.entries.lock().as_mut().and_then(VecDeque::pop_front);
        if let Some(entry) = entry {
            let _ran = entry.run(); // if it is woken again, its waker adds its entry
        }
    }

    /// Drops the futures. Their members have all been cancelled.
    pub(super) fn clear(&self) {
        let entries = self.entries.lock().as_mut().map(std::mem::take);
        drop(entries);
    }

    pub(super) fn close(&self) {
        let entries = self.entries.lock().take();
        drop(entries);
    }

    pub(super) fn push(&self, entry: Runnable) {
        match &mut *self.entries.lock() {
            Some(entries) => entries.push_back(entry),
            None => return, // dropping the entry drops the future
        }
        self.ready.push(NOTICE);
    }
}

/// The scheduler of members that are futures.
pub(super) struct ToGroup(pub(super) Arc<GroupFutures>);

impl Schedule for ToGroup {
    fn schedule(&self, entry: Runnable) {
        self.0.push(entry);
    }
}
