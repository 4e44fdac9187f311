//! The timers that are later than anything that is counted.
//!
//! Deadlines are counted in a range that ends in 146 years. No real clock gets there, but a virtual one
//! does: so what is later keeps its deadline as it was given, in no order, until another range begins.
//!
//! Checked by the tests of `timers`.

use std::time::Instant;

use super::slots::{Entry, Slots};

/// The number of this list.
pub(super) const LATE: u32 = u32::MAX - 1;

#[derive(Debug)]
pub(super) struct Late {
    entries: Vec<(Instant, Entry)>,
    /// None of them is before this; the first of them is at it, unless that one was removed.
    least: Option<Instant>,
}

impl Late {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            least: None,
        }
    }

    /// No timer here is before this.
    pub(super) fn least(&self) -> Option<Instant> {
        self.least
    }

    #[cold]
    pub(super) fn insert<T>(&mut self, slots: &mut Slots<T>, deadline: Instant, entry: Entry) {
        slots.put(entry.slot, LATE, self.entries.len());
        self.entries.push((deadline, entry));
        self.least = Some(self.least.map_or(deadline, |least| least.min(deadline)));
    }

    /// Takes out the one at `place`.
    #[cold]
    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, place: usize) {
        self.entries.swap_remove(place);
        if let Some((_, moved)) = self.entries.get(place) {
            slots.move_to(moved.slot, place);
        }
        if self.entries.is_empty() {
            self.least = None;
        }
    }

    /// Any one: its slot.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let (_, entry) = self.entries.pop()?;
        if self.entries.is_empty() {
            self.least = None;
        }
        Some(entry.slot)
    }

    /// All of them.
    pub(super) fn take(&mut self) -> Vec<(Instant, Entry)> {
        self.least = None;
        std::mem::take(&mut self.entries)
    }
}
