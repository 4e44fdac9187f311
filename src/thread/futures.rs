//! The list of a pool's futures that have not ended: a pool that ends must end them. See `spawn_async.rs`.
//!
//! Rejected: leaving the future to its wakers at the end (a task whose promise is never kept
//! would never end); one list for the whole pool (a lock that all workers share).
//!
//! Tests: `tests/thread/futures.rs`.

use crossbeam_utils::CachePadded;
use slab::Slab;

use super::queue::{Injector, Work};
use crate::helper;
use crate::loom::atomic::{Ordering, fence};
use crate::loom::{Mutex, MutexGuard};
use crate::task::{Runnable, TaskError, TaskRef};

/// In how many parts the list is.
const PARTS: usize = 8;

/// The futures of one pool that have not ended.
pub(super) struct Futures {
    parts: [CachePadded<Mutex<Slab<TaskRef>>>; PARTS],
    /// No thread looks into the injector any more: what is woken now ends in this.
    over: Mutex<Option<TaskError>>,
}

/// A part of the list, locked.
pub(super) struct Part<'a> {
    list: MutexGuard<'a, Slab<TaskRef>>,
    number: usize,
}

impl Part<'_> {
    /// Where the next future will be.
    pub(super) fn place(&self) -> usize {
        self.list.vacant_key() * PARTS + self.number
    }

    pub(super) fn enlist(mut self, task: TaskRef) {
        self.list.insert(task);
    }
}

impl Futures {
    pub(super) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| CachePadded::new(Mutex::new(Slab::new()))),
            over: Mutex::new(None),
        }
    }

    /// The part of the list for a new future. Threads with different hints do not disturb one another.
    pub(super) fn part(&self, hint: usize) -> Part<'_> {
        let number = hint % PARTS;
        let list = self.parts[number].lock();
        Part { list, number }
    }

    /// The future in this place has been dropped.
    pub(super) fn strike(&self, place: usize) {
        let task = self.parts[place % PARTS].lock().try_remove(place / PARTS);
        drop(task);
    }

    /// Has every future that sleeps pass its scheduler once more.
    pub(super) fn wake_all(&self) {
        fence(Ordering::SeqCst); // with the one in `Injector::ends_futures`
        for part in &self.parts {
            let tasks: Vec<TaskRef> = part.lock().iter().map(|(_, task)| task.clone()).collect();
            for task in tasks {
                task.wake();
            }
        }
    }

    /// The pool is closed: ends what has not ended in `reason` (but a future inside of which the pool was shut
    /// down: it ends when it returns).
    pub(super) fn close(&self, injector: &Injector, reason: &TaskError) {
        self.wake_all();
        let mut over = self.over.lock();
        over.get_or_insert_with(|| reason.clone());
        // What was woken after the last look into the queues.
        let left = injector.take_all();
        drop(over);
        for work in left {
            match work {
                Work::Task(task) => task.discard(reason.clone()),
                Work::Share(share) => drop(share), // its caller runs it
                other => injector.put_back(other),
            }
        }
    }

    /// Puts a future that was woken when no thread was there to run it where [`close`](Self::close) finds it, unless it is too
    /// late for that.
    pub(super) fn put_aside(&self, injector: &Injector, entry: Runnable) {
        let over = self.over.lock();
        match over.clone() {
            None => injector.put_back(Work::Task(entry)),
            Some(reason) => {
                drop(over);
                end_elsewhere(move || entry.discard(reason));
            }
        }
    }
}

/// Drops a future that was woken after the end of its pool: on a helper thread, since the thread that woke it may hold a
/// lock that the future's destructor wants. Where the system gives no thread, the thread that woke it has to.
pub(super) fn end_elsewhere(end: impl FnOnce() + Send + 'static) {
    let _ = helper::start(move || helper::contain(end));
}
