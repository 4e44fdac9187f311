//! The list of a pool's unfinished futures: a pool that ends must end them. See `spawn_async.rs`.
//!
//! Rejected: leaving a future to its wakers at the end (one that waits for a promise that is never
//! completed would never end); one list for the whole pool (a lock that all workers share).
//!
//! Tests: `tests/thread/futures.rs`.

use crossbeam_utils::CachePadded;
use slab::Slab;

use crate::blocking_threads;
use crate::loom::atomic::{Ordering, fence};
use crate::loom::{Mutex, MutexGuard};
use crate::task::{Runnable, Shutdown, TaskError, TaskRef};
use crate::thread::engine::queue::{Injector, Work};

/// The number of parts of the list.
const PARTS: usize = 8;

/// The unfinished futures of one pool.
pub(in crate::thread) struct Futures {
    parts: [CachePadded<Mutex<Slab<TaskRef>>>; PARTS],
    /// No thread looks into the injector any more: futures that are woken now end for this reason.
    over: Mutex<Option<Shutdown>>,
}

/// A part of the list, locked.
pub(in crate::thread) struct ListPart<'a> {
    list: MutexGuard<'a, Slab<TaskRef>>,
    number: usize,
}

impl ListPart<'_> {
    /// The place of the next future.
    pub(in crate::thread) fn place(&self) -> usize {
        self.list.vacant_key() * PARTS + self.number
    }

    pub(in crate::thread) fn enlist(mut self, task: TaskRef) {
        self.list.insert(task);
    }
}

impl Futures {
    pub(in crate::thread) fn new() -> Self {
        Self {
            parts: Default::default(),
            over: Mutex::new(None),
        }
    }

    /// The part of the list for a new future. Threads with different hints do not contend.
    pub(in crate::thread) fn part(&self, hint: usize) -> ListPart<'_> {
        let number = hint % PARTS;
        let list = self.parts[number].lock();
        ListPart { list, number }
    }

    /// Removes the future in this place, which has been dropped.
    pub(in crate::thread) fn strike(&self, place: usize) {
        let task = self.parts[place % PARTS].lock().try_remove(place / PARTS);
        drop(task);
    }

    /// Sends every sleeping future to its scheduler once more.
    pub(in crate::thread) fn wake_all(&self) {
        fence(Ordering::SeqCst); // with the one in `Injector::ends_futures`
        for part in &self.parts {
            let mut tasks = Vec::new();
            for (_, task) in &*part.lock() {
                tasks.push(task.clone());
            }
            for task in &tasks {
                task.wake();
            }
        }
    }

    /// The pool is closed: ends unfinished futures (except a future inside which the pool was shut
    /// down: it ends when it returns).
    pub(in crate::thread) fn close(&self, injector: &Injector, how: Shutdown) {
        self.wake_all();
        let mut over = self.over.lock();
        over.get_or_insert(how);
        // Futures that were woken after the last look into the queues.
        let left = injector.take_all();
        drop(over);
        for work in left {
            match work {
                Work::Task(task) => task.discard(how.reason()),
                Work::Share(share) => drop(share), // its caller runs it
                other => injector.put_back(other),
            }
        }
    }

    /// Puts a future that was woken when no thread could run it where [`close`](Self::close) finds
    /// it, unless it is too late for that.
    pub(in crate::thread) fn put_aside(&self, injector: &Injector, entry: Runnable) {
        let over = self.over.lock();
        match *over {
            None => injector.put_back(Work::Task(entry)),
            Some(how) => {
                drop(over);
                end_elsewhere(entry, how.reason());
            }
        }
    }
}

/// Ends a future that was woken after the end of its pool: on a helper thread, because the waking
/// thread may hold a lock that the future's destructor needs. If the system gives no thread, the
/// waking thread ends it.
pub(in crate::thread) fn end_elsewhere(entry: Runnable, reason: TaskError) {
    let end = move || entry.discard(reason);
    let _ = blocking_threads::start(move || blocking_threads::contain(end));
}
