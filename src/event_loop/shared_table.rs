//! A loop's task table, for other threads to read.
//!
//! A lock at each spawn would be measurable. So the table belongs to the loop's thread while the
//! loop runs, and is behind a lock while it does not:
//!
//! 1. Before the loop waits in the kernel, and while nothing drives it, its table is here. The loop
//!    takes the table back before it continues. A thread that wants a snapshot meanwhile reads the
//!    table here, and wakes no thread.
//! 2. A thread that finds no table here leaves a sender and waits. The loop answers after the task
//!    that it is running, or when it puts the table here.
//! 3. A loop with a watchdog also puts its table here for each poll, and notes which task is
//!    polled, and since when. Meanwhile the task itself uses the table under the lock.
//!
//! - No request is missed: a thread that finds no table leaves a request under the lock, and
//!   the loop checks the requests under the same lock whenever it puts the table there.
//! - **L8** Under the lock no user code runs, and no task is dropped.
//!
//! Rejected: always a lock (24 ns for a task that takes 40); a lock-free list (a protocol
//! for the sake of a debugging aid).
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use super::task_table::TaskTable;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Condvar, Mutex, MutexGuard};

/// Holds the table while the loop's thread does not own it exclusively.
pub(super) struct SharedTable {
    inner: Mutex<TableState>,
    /// Whether a thread waits for an answer.
    asked: AtomicBool,
    /// Notified, for the watchdog, when a poll has begun or the loop has ended.
    pub(super) begun: Condvar,
}

pub(super) struct TableState {
    pub(super) table: TaskTable,
    /// Whether the table is here.
    here: bool,
    requests: Vec<mpsc::Sender<Snapshot>>,
    /// The present poll, for the watchdog.
    pub(super) now: Option<CurrentPoll>,
    /// Whether the watchdog waits for a poll to begin.
    pub(super) parked: bool,
    pub(super) ended: bool,
}

/// A poll that has not ended.
pub(super) struct CurrentPoll {
    /// The tag of the task; 0 is the root future.
    pub(super) tag: u32,
    pub(super) since: Instant,
    pub(super) reported: bool,
}

impl TableState {
    /// A snapshot of a loop whose table is here.
    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.table, self.now.as_ref().map(|poll| poll.tag))
    }
}

impl SharedTable {
    pub(super) fn new(watched: bool) -> Self {
        Self {
            inner: Mutex::new(TableState {
                table: TaskTable::new(watched),
                here: true,
                requests: Vec::new(),
                now: None,
                parked: false,
                ended: false,
            }),
            asked: AtomicBool::new(false),
            begun: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TableState> {
        self.inner.lock()
    }

    /// (1) Called by the loop: takes its table back. Returns the poll for which it was here.
    pub(super) fn take(&self, ours: &mut TaskTable) -> Option<CurrentPoll> {
        let mut inner = self.inner.lock();
        std::mem::swap(ours, &mut inner.table);
        inner.here = false;
        inner.now.take()
    }

    /// (1) Called by the loop: puts its table here; (3) for this poll.
    pub(super) fn put(&self, ours: &mut TaskTable, poll: Option<CurrentPoll>) {
        let mut inner = self.inner.lock();
        std::mem::swap(ours, &mut inner.table);
        inner.here = true;
        inner.now = poll;
        if inner.now.is_some() && std::mem::take(&mut inner.parked) {
            self.begun.notify_one();
        }
        // Under the lock: no request is missed.
        self.asked.store(false, Ordering::Relaxed);
        for request in std::mem::take(&mut inner.requests) {
            let _ = request.send(inner.snapshot());
        }
    }

    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// (2) Called by other threads: a snapshot. `None`: the loop has not answered in time.
    pub(super) fn look(&self, patience: Duration) -> Option<Snapshot> {
        let answer = {
            let mut inner = self.inner.lock();
            if inner.here {
                return Some(inner.snapshot());
            }
            let (request, answer) = mpsc::channel();
            inner.requests.push(request);
            self.asked.store(true, Ordering::Relaxed);
            answer
        };
        answer.recv_timeout(patience).ok()
    }
}
