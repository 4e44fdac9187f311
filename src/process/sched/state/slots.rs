//! The table of a pool's slots, each with its worker or without one.
//!
//! **Rule.** A slot is reached by its [`SlotId`], and a worker in it is changed by the transitions
//! of `Worker` alone. The table grows, and never shrinks: the driver's places, and everything that
//! is on its way, keep their numbers.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::iter::Enumerate;
use std::ops::{Index, IndexMut};
use std::slice::Iter;
use std::time::Instant;

use crate::process::job::slot_id::SlotId;
use crate::process::sched::policy::Policy;
use crate::process::sched::workers::Worker;

/// The slots of a pool.
pub(in crate::process) struct WorkerSlots {
    slots: Vec<Worker>,
}

impl WorkerSlots {
    /// The first workers of a pool.
    pub(in crate::process::sched) fn first(count: usize, policy: &Policy, now: Instant) -> Self {
        let worker = |number| Worker::first(number, count, policy, now);
        let slots = (0..count).map(worker).collect();
        Self { slots }
    }

    pub(in crate::process) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All slots, from the first on. (What they have may change meanwhile.)
    pub(in crate::process::sched) fn ids(&self) -> impl DoubleEndedIterator<Item = SlotId> + use<> {
        (0..self.slots.len()).map(SlotId)
    }

    pub(in crate::process::sched) fn iter(&self) -> Iter<'_, Worker> {
        self.slots.iter()
    }

    /// The workers, with their slots.
    pub(in crate::process::sched) fn numbered(&self) -> impl Iterator<Item = (SlotId, &Worker)> {
        let slots: Enumerate<Iter<'_, Worker>> = self.slots.iter().enumerate();
        slots.map(|(index, worker)| (SlotId(index), worker))
    }

    /// The first slot with such a worker.
    pub(in crate::process::sched) fn find(
        &self,
        is_it: impl FnMut(&Worker) -> bool,
    ) -> Option<SlotId> {
        self.slots.iter().position(is_it).map(SlotId)
    }

    /// How many such workers there are.
    pub(in crate::process::sched) fn count(&self, counts: impl Fn(&Worker) -> bool) -> usize {
        self.slots.iter().filter(|worker| counts(worker)).count()
    }

    /// One more slot.
    pub(in crate::process::sched) fn add(&mut self, worker: Worker) {
        self.slots.push(worker);
    }

    /// The slot has another worker from now on.
    pub(in crate::process::sched) fn replace(&mut self, slot: SlotId, worker: Worker) {
        self.slots[slot.0] = worker;
    }

    /// As few slots as a test needs.
    #[cfg(test)]
    pub(in crate::process::sched) fn truncate(&mut self, count: usize) {
        self.slots.truncate(count);
    }
}

impl Index<SlotId> for WorkerSlots {
    type Output = Worker;

    fn index(&self, slot: SlotId) -> &Worker {
        &self.slots[slot.0]
    }
}

impl IndexMut<SlotId> for WorkerSlots {
    fn index_mut(&mut self, slot: SlotId) -> &mut Worker {
        &mut self.slots[slot.0]
    }
}

#[cfg(test)]
impl Index<usize> for WorkerSlots {
    type Output = Worker;

    fn index(&self, index: usize) -> &Worker {
        &self[SlotId(index)]
    }
}

#[cfg(test)]
impl IndexMut<usize> for WorkerSlots {
    fn index_mut(&mut self, index: usize) -> &mut Worker {
        &mut self[SlotId(index)]
    }
}
