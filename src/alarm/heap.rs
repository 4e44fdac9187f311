//! The timers that are near: a heap, which knows their exact order.
//!
//! Four entries below each. The slot of a timer knows its place here, so that cancelling is as
//! direct as firing.
//!
//! Checked by the tests of `timers`.

use super::slots::{Entry, Slots};

const ARITY: usize = 4;

/// The number of this list; the wheel's are others.
pub(super) const HEAP: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Heap {
    entries: Vec<Entry>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// The earliest.
    #[inline]
    pub(super) fn first(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    pub(super) fn insert<T>(&mut self, slots: &mut Slots<T>, entry: Entry) {
        slots.put(entry.slot, HEAP, self.entries.len());
        self.entries.push(entry);
        self.sift_up(slots, self.entries.len() - 1);
    }

    /// Takes out the one at `place`.
    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, place: usize) {
        self.entries.swap_remove(place);
        if place < self.entries.len() {
            // The entry that took its place came from the end: it may belong
            // further down, or, out of another branch, further up.
            let settled = self.sift_down(slots, place);
            self.sift_up(slots, settled);
        }
    }

    fn sift_up<T>(&mut self, slots: &mut Slots<T>, mut place: usize) {
        let entry = self.entries[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if !entry.before(&self.entries[parent]) {
                break;
            }
            self.put(slots, place, self.entries[parent]);
            place = parent;
        }
        self.put(slots, place, entry);
    }

    fn sift_down<T>(&mut self, slots: &mut Slots<T>, mut place: usize) -> usize {
        let entry = self.entries[place];
        loop {
            let first = place * ARITY + 1;
            let end = (first + ARITY).min(self.entries.len());
            let Some(least) = (first..end).reduce(|a, b| {
                if self.entries[b].before(&self.entries[a]) {
                    b
                } else {
                    a
                }
            }) else {
                break;
            };
            if !self.entries[least].before(&entry) {
                break;
            }
            self.put(slots, place, self.entries[least]);
            place = least;
        }
        self.put(slots, place, entry);
        place
    }

    #[inline]
    fn put<T>(&mut self, slots: &mut Slots<T>, place: usize, entry: Entry) {
        self.entries[place] = entry;
        slots.move_to(entry.slot, place);
    }
}
