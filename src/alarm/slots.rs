//! Where pending timers are kept: each in one slot, whatever order they are in beside it.
//!
//! A timer is named by its slot and the slot's generation, so that a key that outlived its timer
//! finds nothing, whoever uses the slot now. Vacant slots are a list and are used again.
//!
//! In some list of the order (the heap of what is near, a bucket of the wheel) a timer has an [`Entry`], with what it is
//! compared by; and its slot says in which list and where, so that it can be taken out of there at once.
//!
//! Deadlines are counted here in nanoseconds of a range that the timekeeper chooses (`timers`).
//!
//! Checked by the tests of `timers`.

use crate::sys::prefetch;

/// Names one pending timer; stale after it fired or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: u32,
}

/// A timer in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// When.
    pub(super) at: u64,
    /// How many timers came before it: of equal deadlines the earlier created is first.
    created: u64,
    pub(super) slot: u32,
}

impl Entry {
    #[inline]
    pub(super) fn before(&self, other: &Self) -> bool {
        (self.at, self.created) < (other.at, other.created)
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

/// All timers of one timekeeper.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Head of the list of vacant slots, [`NONE`] at its end.
    vacant: u32,
    created: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The list that its timer is in; of a vacant slot the next vacant one.
    list: u32,
    /// Where in that list.
    place: u32,
    payload: Option<T>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: NONE,
            created: 0,
        }
    }

    /// How many there have been at once.
    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        self.slots.len()
    }

    /// A new timer, at `place` of `list`.
    #[inline]
    pub(super) fn occupy(
        &mut self,
        at: u64,
        payload: T,
        list: u32,
        place: usize,
    ) -> (Entry, TimerKey) {
        let created = self.created;
        self.created += 1;
        let slot = self.vacant;
        let (slot, generation) = match self.slots.get_mut(slot as usize) {
            Some(entry) => {
                self.vacant = entry.list;
                entry.list = list;
                entry.place = place as u32;
                entry.payload = Some(payload);
                let generation = entry.generation;
                if let Some(next) = self.slots.get(self.vacant as usize) {
                    // Vacated in any order, so perhaps far away.
                    prefetch::soon(std::ptr::from_ref(next).cast());
                }
                (slot, generation)
            }
            None => (self.grow(payload, list, place), 0),
        };
        let entry = Entry { at, created, slot };
        (entry, TimerKey { slot, generation })
    }

    fn grow(&mut self, payload: T, list: u32, place: usize) -> u32 {
        let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert!(slot != NONE, "fewer than 2^32 timers");
        self.slots.push(Slot {
            generation: 0,
            list,
            place: place as u32,
            payload: Some(payload),
        });
        slot
    }

    /// The timer is gone, and out of every list.
    #[inline]
    pub(super) fn vacate(&mut self, slot: u32) -> Option<T> {
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = self.vacant;
        self.vacant = slot;
        entry.payload.take()
    }

    /// The slot of a timer that is still pending.
    #[inline]
    pub(super) fn find(&self, key: TimerKey) -> Option<u32> {
        let entry = self.slots.get(key.slot as usize)?;
        (entry.generation == key.generation && entry.payload.is_some()).then_some(key.slot)
    }

    pub(super) fn payload(&mut self, slot: u32) -> Option<&mut T> {
        self.slots[slot as usize].payload.as_mut()
    }

    /// In which list a timer is, and where in it.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> (u32, usize) {
        let entry = &self.slots[slot as usize];
        (entry.list, entry.place as usize)
    }

    /// It is in this list now, at this place: fewer than 2^32 are in all.
    #[inline]
    pub(super) fn put(&mut self, slot: u32, list: u32, place: usize) {
        let entry = &mut self.slots[slot as usize];
        entry.list = list;
        entry.place = place as u32;
    }

    /// As `put`, within the same list.
    #[inline]
    pub(super) fn move_to(&mut self, slot: u32, place: usize) {
        self.slots[slot as usize].place = place as u32;
    }
}
