//! The table of a loop's tasks.
//!
//! Each task is under the key that its queue entries carry as their tag, so that a loop that ends
//! can cancel every task.
//!
//! Tests: `tests/event_loop/running.rs::run_cancels_what_is_left_and_waits_for_its_destructors`,
//! `tests/event_loop/roots.rs::what_it_spawns_then_is_one_of_the_loops_tasks`,
//! `tests/event_loop/slow_poll.rs::a_stuck_task_is_told_of_while_it_is_stuck`.

use crate::task::TaskRef;

/// A table with room for more tasks than this is freed when it is empty: 24 KiB.
const CAPACITY: usize = 2048;

/// The tasks of one loop.
#[derive(Default)]
pub(super) struct TaskTable {
    /// By key. (Not a `Slab`, in which each takes a word more: a twelfth of an idle task.)
    tasks: Vec<Option<TaskRef>>,
    /// The keys of empty places. The one that was freed last is taken first.
    free: Vec<u32>,
}

impl TaskTable {
    #[inline]
    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        // The tag is the key plus one, because new entries have 0.
        match self.free.pop() {
            Some(key) => {
                self.tasks[key as usize] = Some(task);
                key + 1
            }
            None => {
                self.tasks.push(Some(task));
                u32::try_from(self.tasks.len()).expect("fewer than 2^32 tasks")
            }
        }
    }

    pub(super) fn get(&self, tag: u32) -> Option<&TaskRef> {
        self.tasks.get(key(tag))?.as_ref()
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: u32) -> Option<TaskRef> {
        let task = self.tasks.get_mut(key(tag))?.take()?;
        self.free.push(tag - 1);
        Some(task)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().flatten()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.tasks.len() - self.free.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees the memory of a past burst, once there is no task.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.tasks.capacity() > CAPACITY && self.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether this loop has the task.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.get(task.tag()).is_some_and(|own| own.same(task))
    }
}

/// The key of the task with this tag.
#[inline]
fn key(tag: u32) -> usize {
    tag.wrapping_sub(1) as usize
}
