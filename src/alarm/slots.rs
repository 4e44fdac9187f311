//! Where pending timers are kept: each in one slot, whatever order they are in beside it.
//!
//! A timer is named by its slot and the slot's generation, so that a key that outlived its timer
//! finds nothing, whoever uses the slot now. Vacant slots are a list and are used again; once all of them are vacant
//! they are used in the order in which they lie in memory, because timers that were begun together and ended in another order
//! would leave them scattered.
//!
//! In some list of the order (a bucket of the wheel, what is near) a timer has an [`Entry`], with what it is
//! compared by. Its slot says in which list it was put and where, so that it can be taken out of there at once; only
//! what has become near since is not there any longer (`near`). An entry carries the generation, too.
//!
//! Deadlines are counted here in nanoseconds of a range that the timekeeper chooses (`timers`).
//!
//! Checked by the tests of `timers`.

use crate::sys::prefetch;

/// Names one pending timer; stale after it fired or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// A timer in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// When.
    pub(super) at: u64,
    /// How many timers came before it: of equal deadlines the earlier created is first.
    pub(super) created: u64,
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Entry {
    /// What it is compared by; no two have the same. (One number, so that to compare takes no branch.)
    #[inline]
    pub(super) fn rank(&self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.created)
    }

    #[inline]
    pub(super) fn before(&self, other: &Self) -> bool {
        self.rank() < other.rank()
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
    /// From here on all are vacant, and in no list.
    untouched: usize,
    /// How many are not vacant.
    live: usize,
    created: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The list that its timer was put in; of a vacant slot the next vacant one.
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
            untouched: 0,
            live: 0,
            created: 0,
        }
    }

    /// How many there have been at once.
    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        self.slots.len()
    }

    /// No timer is pending.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// A new timer, at `place` of `list`: its number in the order of creation.
    #[inline]
    pub(super) fn occupy(&mut self, payload: T, list: u32, place: usize) -> (u64, TimerKey) {
        let created = self.created;
        self.created += 1;
        self.live += 1;
        let slot = if self.vacant == NONE {
            self.untouched as u32 // `grow` has seen that it fits
        } else {
            self.vacant
        };
        let Some(entry) = self.slots.get_mut(slot as usize) else {
            return (created, self.grow(payload, list, place));
        };
        let next = entry.list;
        entry.list = list;
        entry.place = place as u32;
        entry.payload = Some(payload);
        let generation = entry.generation;
        if self.vacant == NONE {
            self.untouched += 1;
        } else {
            self.vacant = next;
            if let Some(next) = self.slots.get(next as usize) {
                // Vacated in any order, so perhaps far away.
                prefetch::soon(std::ptr::from_ref(next).cast());
            }
        }
        (created, TimerKey { slot, generation })
    }

    fn grow(&mut self, payload: T, list: u32, place: usize) -> TimerKey {
        let slot = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert!(slot != NONE, "fewer than 2^32 timers");
        self.slots.push(Slot {
            generation: 0,
            list,
            place: place as u32,
            payload: Some(payload),
        });
        self.untouched = self.slots.len();
        TimerKey {
            slot,
            generation: 0,
        }
    }

    /// The timer is gone, and out of every list.
    #[inline]
    pub(super) fn vacate(&mut self, slot: u32) -> Option<T> {
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = self.vacant;
        let payload = entry.payload.take();
        self.vacant = slot;
        self.live -= 1;
        if self.live == 0 {
            self.vacant = NONE;
            self.untouched = 0;
        }
        payload
    }

    /// The timer of this entry is pending.
    #[inline]
    pub(super) fn has(&self, entry: Entry) -> bool {
        self.slots
            .get(entry.slot as usize)
            .is_some_and(|slot| slot.generation == entry.generation)
    }

    /// The slot of this entry will be wanted soon.
    #[inline]
    pub(super) fn prefetch(&self, entry: Entry) {
        if let Some(slot) = self.slots.get(entry.slot as usize) {
            prefetch::soon(std::ptr::from_ref(slot).cast());
        }
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

    /// In which list a timer was put, and where in it.
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
