//! Finds tasks that have not ended by their numbers, for those who want to cancel what they see.
//!
//! **Job.** From the first call of [`find`] on, each new task is in a table until it ends: at most
//! [`LISTED`] at a time. Until then nothing is kept. The table does not own its tasks, so a task
//! that nothing can wake any more is dropped as if there were no table (T27).
//!
//! Nothing is allocated or freed under a lock: a user's allocator may make and end tasks.
//!
//! Tests: `tests/tasks/find.rs`,
//! `tests/trefoil-checks/tests/models.rs::{find_vs_drop_of_the_last_owner,
//! find_and_end_vs_drop_of_the_last_owner}`.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize; // a counter: no protocol
use std::sync::atomic::Ordering::Relaxed;

use super::header::{Header, TaskRef};
use crate::loom::Mutex;
use crate::sys::fork::PerProcess;
use crate::task::id::TaskId;
use trefoil_trace::live;

/// The most tasks in the table, which takes 10 MiB then.
const LISTED: usize = 1 << 18;
/// How many parts the table has, each with a lock of its own.
const PARTS: usize = 64;
/// The ids of a block have the same part: threads that spawn at once use different ones.
const BLOCK: u64 = 1 << 12;

static TABLE: PerProcess<Table> = PerProcess::new();

/// The cell of a task that has not ended (T27), by the task's number.
type Part = HashMap<u64, Listed, BuildHasherDefault<live::IdHasher>>;

struct Listed(NonNull<Header>);

// SAFETY: T27: it is only asked for a count, which any thread may have.
unsafe impl Send for Listed {}

struct Table {
    parts: [Mutex<Part>; PARTS],
    listed: AtomicUsize, // no protocol
}

impl Table {
    fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            listed: AtomicUsize::new(0),
        }
    }

    fn part(&self, number: u64) -> &Mutex<Part> {
        &self.parts[(number / BLOCK) as usize % PARTS]
    }

    fn insert(&self, task: &TaskRef) {
        if self.listed.fetch_add(1, Relaxed) >= LISTED {
            self.listed.fetch_sub(1, Relaxed);
            return;
        }
        let (number, cell) = (task.id().get(), Listed(task.0));
        let mut larger = Part::default();
        loop {
            let mut part = self.part(number).lock();
            if part.len() == part.capacity() && larger.capacity() > part.len() {
                larger.extend(part.drain());
                std::mem::swap(&mut *part, &mut larger);
            }
            if part.len() < part.capacity() {
                part.insert(number, cell);
                return;
            }
            let room = 2 * part.len().max(8);
            drop(part);
            larger = Part::with_capacity_and_hasher(room, BuildHasherDefault::default());
        }
    }

    fn remove(&self, number: u64) {
        if self.part(number).lock().remove(&number).is_some() {
            self.listed.fetch_sub(1, Relaxed);
        }
    }

    fn has(&self, number: u64) -> bool {
        self.part(number).lock().contains_key(&number)
    }

    fn find(&self, number: u64) -> Option<TaskRef> {
        let part = self.part(number).lock();
        let Listed(cell) = part.get(&number)?;
        // SAFETY: T27: it is in the table, whose lock we have, so it is not freed yet.
        let state = unsafe { &cell.as_ref().state };
        let is_owned = state.retain_if_owned();
        // SAFETY: T6: the count that was just added is ours.
        is_owned.then(|| unsafe { TaskRef::from_raw(*cell) })
    }
}

/// The task was made.
pub(super) fn insert(task: &TaskRef) {
    if let Some(table) = TABLE.get() {
        table.insert(task);
    }
}

/// It ends, or is about to be freed (T27).
pub(super) fn remove(id: TaskId) {
    if let Some(table) = TABLE.get() {
        table.remove(id.get());
    }
}

/// Whether the task is in the table, so that somebody may find and cancel it.
pub(super) fn has(id: TaskId) -> bool {
    TABLE.get().is_some_and(|table| table.has(id.get()))
}

/// The task with this number, if it is in the table. The first call begins the table.
pub(in crate::task) fn find(number: u64) -> Option<TaskRef> {
    live::wake();
    TABLE.get_or_init(Table::new).find(number)
}
