//! The table of a pool's slots, each with its worker or without one, and what is known of all of
//! them together.
//!
//! **Rule.** A slot is reached by its [`SlotId`], and a worker in it is changed by the transitions
//! of `Worker` alone. The table grows, and never shrinks: the driver's places, and everything that
//! is on its way, keep their numbers.
//!
//! **What is known of all.** Questions about all workers ([`Outlook`]) come several times in each
//! turn of the driver, and between two of them few workers change. So whoever gets a worker to
//! change it leaves a note here, and the next question looks at the noted slots alone. A gate in
//! pages changes without a note: a worker that had not begun its first frame is looked at with each
//! question until it has. So a turn costs what has changed, and not as much as there are workers.
//! This is the one place where something is stored that could be derived; the simulation derives it
//! at each step, and compares ([`check`](WorkerSlots::check)).
//!
//! Tests: `src/process/sched/simulated/sim_crowd.rs`.

use std::cell::RefCell;
use std::ops::{Index, IndexMut};
use std::slice::Iter;
use std::time::Instant;

use super::outlook::Outlook;
use super::outlook_tree::OutlookTree;
use crate::process::sched::policy::Policy;
use crate::process::sched::slot_id::SlotId;
use crate::process::sched::workers::Worker;
#[cfg(test)]
use crate::process::sched::workers::earlier;

/// The slots of a pool.
pub(in crate::process) struct WorkerSlots {
    slots: Vec<Worker>,
    known: RefCell<Known>,
    looks: Looks,
}

/// What is known of all slots.
#[derive(Default)]
struct Known {
    tree: OutlookTree,
    /// Those that may have changed since they were looked at, each once.
    changed: Vec<SlotId>,
    is_changed: Vec<bool>,
    /// Those whose first frame had not begun: they may have begun it without a note.
    unbegun: Vec<SlotId>,
}

impl Known {
    /// A slot may have changed.
    fn note(&mut self, slot: SlotId) {
        if self.is_changed.len() <= slot.0 {
            self.is_changed.resize(slot.0 + 1, false);
        }
        if !std::mem::replace(&mut self.is_changed[slot.0], true) {
            self.changed.push(slot);
        }
    }

    /// Looks at a slot. Returns at how many nodes it has looked, and whether anything has changed.
    fn look(&mut self, slot: SlotId, worker: &Worker) -> (usize, bool) {
        let own = Outlook::of(worker);
        if own.unbegun > self.tree.of(slot.0).unbegun {
            self.unbegun.push(slot);
        }
        let changed = self.tree.set(slot.0, own);
        (1 + changed, changed > 0)
    }
}

impl WorkerSlots {
    /// The first workers of a pool. (They begin together, and should not end together.)
    pub(in crate::process::sched) fn first(count: usize, policy: &Policy, now: Instant) -> Self {
        let half = policy.replace_after.unwrap_or(0) as f64 / 2.0;
        let mut slots = Self {
            slots: Vec::with_capacity(count),
            known: RefCell::default(),
            looks: Looks::default(),
        };
        for number in 0..count {
            let part = (count - 1 - number) as f64 / count as f64;
            slots.add(Worker::with_shorter_life(number, (half * part) as u64, now));
        }
        slots
    }

    pub(in crate::process) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All slots, from the first on. (What they have may change meanwhile.)
    pub(in crate::process::sched) fn ids(&self) -> impl DoubleEndedIterator<Item = SlotId> + use<> {
        (0..self.slots.len()).map(SlotId)
    }

    pub(in crate::process::sched) fn iter(&self) -> Iter<'_, Worker> {
        self.looks.count(self.slots.len());
        self.slots.iter()
    }

    /// The workers, with their slots.
    pub(in crate::process::sched) fn numbered(&self) -> impl Iterator<Item = (SlotId, &Worker)> {
        let slots = self.iter().enumerate();
        slots.map(|(index, worker)| (SlotId(index), worker))
    }

    /// The first slot with such a worker.
    pub(in crate::process::sched) fn find(
        &self,
        is_it: impl FnMut(&Worker) -> bool,
    ) -> Option<SlotId> {
        self.iter().position(is_it).map(SlotId)
    }

    /// How many such workers there are. (Each is looked at.)
    pub(in crate::process::sched) fn count(&self, counts: impl Fn(&Worker) -> bool) -> usize {
        self.iter().filter(|worker| counts(worker)).count()
    }

    /// One more slot.
    pub(in crate::process::sched) fn add(&mut self, worker: Worker) {
        self.known.get_mut().note(SlotId(self.slots.len()));
        self.slots.push(worker);
    }

    /// The slot has another worker from now on.
    pub(in crate::process::sched) fn replace(&mut self, slot: SlotId, worker: Worker) {
        self[slot] = worker;
    }
}

/// Questions about all.
impl WorkerSlots {
    /// What holds of all of them now.
    pub(in crate::process::sched) fn outlook(&self) -> Outlook {
        self.look_at_changed();
        self.known.borrow().tree.all()
    }

    /// Looks at the slots that may have changed since they were looked at.
    fn look_at_changed(&self) {
        let known = &mut *self.known.borrow_mut();
        known.tree.widen(self.slots.len());
        let before = known.unbegun.len();
        for at in (0..before).rev() {
            let slot = known.unbegun[at];
            if !self.slots[slot.0].may_begin_unseen() {
                known.unbegun.swap_remove(at);
                known.note(slot);
            }
        }
        self.looks.count(before);
        while let Some(slot) = known.changed.pop() {
            known.is_changed[slot.0] = false;
            let (looks, _) = known.look(slot, &self.slots[slot.0]);
            self.looks.count(looks);
        }
    }

    /// The slots of which that holds, in order. (If it holds of two together, it holds of one of
    /// them.)
    pub(in crate::process::sched) fn with(
        &self,
        which: impl Fn(&Outlook) -> bool,
    ) -> impl Iterator<Item = SlotId> {
        self.look_at_changed();
        let mut from = 0;
        std::iter::from_fn(move || {
            self.looks.count(1);
            let found = self.known.borrow().tree.find(from, &which)?;
            from = found + 1;
            Some(SlotId(found))
        })
    }

    /// The slots that have frames of the job `id`, in order.
    pub(in crate::process::sched) fn with_job(&self, id: u64) -> impl Iterator<Item = SlotId> {
        let loaded = self.with(|own| own.loaded > 0);
        loaded.filter(move |slot| self[*slot].frames.has_job(id))
    }

    /// Looks for a slot, but in no group that `look` does not want to see. It gets the slot where
    /// the group is one.
    pub(in crate::process::sched) fn search(
        &self,
        mut look: impl FnMut(&Outlook, Option<SlotId>) -> bool,
    ) {
        self.look_at_changed();
        self.known.borrow().tree.search(&mut |group, slot| {
            self.looks.count(1);
            look(group, slot.map(SlotId))
        });
    }

    /// Looks at the gates of a slot. Whether anything has changed.
    fn look_again(&self, slot: SlotId) -> bool {
        self.slots[slot.0].frames.look_at_gates();
        let known = &mut *self.known.borrow_mut();
        let (looks, has_changed) = known.look(slot, &self.slots[slot.0]);
        self.looks.count(looks);
        has_changed
    }

    /// From when on an idle worker may take over items of another.
    pub(in crate::process::sched) fn give_from(&self) -> Option<Instant> {
        loop {
            let first = Some(self.outlook().gives_from?);
            let slot = self.with(|own| own.gives_from == first).next()?;
            if !self.look_again(slot) {
                return first;
            }
        }
    }

    /// The one with most items in a frame that may be taken over `now`.
    pub(in crate::process::sched) fn gives_most(&self, now: Instant) -> Option<SlotId> {
        loop {
            let (mut most, mut best) = (0, None);
            self.search(|group, slot| {
                let goes_on = group.gives > most && group.gives_from.is_some_and(|at| at <= now);
                if goes_on && slot.is_some() {
                    (most, best) = (group.gives, slot);
                }
                goes_on
            });
            if !self.look_again(best?) {
                return best;
            }
        }
    }
}

impl Index<SlotId> for WorkerSlots {
    type Output = Worker;

    fn index(&self, slot: SlotId) -> &Worker {
        self.looks.count(1);
        &self.slots[slot.0]
    }
}

impl IndexMut<SlotId> for WorkerSlots {
    fn index_mut(&mut self, slot: SlotId) -> &mut Worker {
        self.looks.count(1);
        self.known.get_mut().note(slot);
        &mut self.slots[slot.0]
    }
}

/// In tests: at how many slots, and groups of slots, something has looked.
#[derive(Default)]
struct Looks(#[cfg(test)] std::cell::Cell<u64>);

impl Looks {
    #[inline]
    fn count(&self, looks: usize) {
        #[cfg(test)]
        self.0.set(self.0.get() + looks as u64);
        #[cfg(not(test))]
        let _ = (self, looks);
    }
}

#[cfg(test)]
impl WorkerSlots {
    /// At how many slots, and groups of slots, something has looked so far.
    pub(in crate::process::sched) fn looks(&self) -> u64 {
        self.looks.0.get()
    }

    /// What is known is what follows from the workers.
    pub(in crate::process::sched) fn check(&self) {
        let all = self.outlook();
        let mut together = Outlook::default();
        let mut gives_from = None;
        for (index, worker) in self.slots.iter().enumerate() {
            let known = self.known.borrow().tree.of(index).clone();
            worker.frames.look_at_gates();
            let mut own = Outlook::of(worker);
            gives_from = earlier(gives_from, own.gives_from);
            assert!(own.gives <= known.gives, "{index} gives more than is known");
            // (A gate in pages changes without a note.)
            (own.gives, own.gives_from) = (known.gives, known.gives_from);
            assert_eq!(own, known, "{index} has changed without a note");
            together = together.and(&known);
        }
        assert_eq!(all, together);
        assert_eq!(self.give_from(), gives_from);
    }

    /// As few slots as a test needs.
    pub(in crate::process::sched) fn truncate(&mut self, count: usize) {
        let kept = std::mem::take(&mut self.slots).into_iter().take(count);
        self.slots = kept.collect();
        *self.known.get_mut() = Known::default();
        for slot in self.ids() {
            self.known.get_mut().note(slot);
        }
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
