//! The pending deadlines of one timekeeper, earliest first.
//!
//! A four-ary heap of deadlines beside a slab of payloads; the heap entry knows
//! its slot and the slot knows its place in the heap, so that cancelling is as
//! direct as firing. Most timers are timeouts: created late in the order and
//! cancelled before they matter. Both cost a look at one parent here, not a walk.
//!
//! - Order is exact: by deadline, then by creation. Nothing is rounded, so
//!   nothing can go off early.
//! - A key carries the generation of its slot: a key that outlived its timer
//!   finds nothing, whoever uses the slot now.
//! - No user code runs in here: payloads are handed out, never dropped.
//!
//! Rejected: a hashed wheel (constant time, but it rounds, and the next expiry
//! has to be searched for; its place is behind these five methods should a
//! million *live* timers ever matter), a `BTreeMap` (allocates for each timer),
//! a heap with lazy deletion (cancelled timeouts stay until they are due).
//!
//! Checked below against a sorted list, with seeded random operations.

use std::time::Instant;

/// Names one pending timer; stale after it fired or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: u32,
}

/// Deadlines with a payload each, earliest first.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: Vec<Entry>,
    slots: Vec<Slot<T>>,
    /// Head of the list of vacant slots, `NONE` at its end.
    vacant: u32,
    created: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    deadline: Instant,
    created: u64,
    slot: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// In use: the place in the heap. Vacant: the next vacant slot.
    link: u32,
    payload: Option<T>,
}

const NONE: u32 = u32::MAX;
const ARITY: usize = 4;

impl<T> Timers<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
            vacant: NONE,
            created: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    pub(crate) fn insert(&mut self, deadline: Instant, payload: T) -> TimerKey {
        let slot = self.occupy(payload);
        let entry = Entry {
            deadline,
            created: self.created,
            slot,
        };
        self.created += 1;
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1);
        TimerKey {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.payload.as_mut()
    }

    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.get_mut(key)?;
        let place = self.slots[key.slot as usize].link as usize;
        self.take_from_heap(place);
        self.vacate(key.slot)
    }

    /// The earliest timer, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = *self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        self.take_from_heap(0);
        self.vacate(first.slot)
    }

    /// Whatever is earliest, due or not: how a timekeeper empties itself.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let deadline = self.next()?;
        self.pop_due(deadline)
    }

    fn occupy(&mut self, payload: T) -> u32 {
        if self.vacant == NONE {
            let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
            assert!(slot != NONE, "fewer than 2^32 timers");
            self.slots.push(Slot {
                generation: 0,
                link: 0,
                payload: Some(payload),
            });
            return slot;
        }
        let slot = self.vacant;
        let entry = &mut self.slots[slot as usize];
        self.vacant = entry.link;
        entry.payload = Some(payload);
        slot
    }

    fn vacate(&mut self, slot: u32) -> Option<T> {
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.link = self.vacant;
        self.vacant = slot;
        entry.payload.take()
    }

    fn take_from_heap(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            // The entry that took its place came from the end: it may belong
            // further down, or, out of another branch, further up.
            let settled = self.sift_down(place);
            self.sift_up(settled);
        }
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if !entry.before(&self.heap[parent]) {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    fn sift_down(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let end = (first + ARITY).min(self.heap.len());
            let Some(least) = (first..end).reduce(|a, b| {
                if self.heap[b].before(&self.heap[a]) {
                    b
                } else {
                    a
                }
            }) else {
                break;
            };
            if !self.heap[least].before(&entry) {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
        place
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.slots[entry.slot as usize].link = place as u32;
    }
}

impl Entry {
    fn before(&self, other: &Self) -> bool {
        (self.deadline, self.created) < (other.deadline, other.created)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A small generator (xorshift), so that a failure names its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    /// The model: a list sorted by (deadline, creation).
    #[derive(Default)]
    struct Model(Vec<(Instant, u64, TimerKey)>);

    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 1..=64_u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut timers = Timers::new();
            let mut model = Model::default();
            let mut gone = Vec::new();
            let mut now = 0;
            for step in 0..2_000_u64 {
                match random.below(8) {
                    0..=3 => {
                        let deadline = at(now + random.below(50));
                        let key = timers.insert(deadline, step);
                        model.0.push((deadline, step, key));
                    }
                    4 | 5 if !model.0.is_empty() => {
                        let victim = random.below(model.0.len() as u64) as usize;
                        let (_, payload, key) = model.0.swap_remove(victim);
                        assert_eq!(timers.get_mut(key), Some(&mut payload.clone()));
                        assert_eq!(timers.remove(key), Some(payload), "seed {seed}");
                        gone.push(key);
                    }
                    6 => now += random.below(20),
                    _ => {
                        let mut fired = Vec::new();
                        while let Some(payload) = timers.pop_due(at(now)) {
                            fired.push(payload);
                        }
                        model
                            .0
                            .sort_by_key(|&(deadline, created, _)| (deadline, created));
                        let due = model
                            .0
                            .partition_point(|&(deadline, ..)| deadline <= at(now));
                        let expected: Vec<u64> =
                            model.0[..due].iter().map(|&(_, p, _)| p).collect();
                        assert_eq!(fired, expected, "seed {seed}, step {step}");
                        gone.extend(model.0.drain(..due).map(|(_, _, key)| key));
                    }
                }
                assert_eq!(timers.len(), model.0.len());
                assert_eq!(timers.next(), model.0.iter().map(|&(d, ..)| d).min());
            }
            for key in gone {
                assert_eq!(
                    timers.get_mut(key),
                    None,
                    "seed {seed}: a stale key finds nothing"
                );
                assert_eq!(timers.remove(key), None);
            }
            let rest = std::iter::from_fn(|| timers.pop()).count();
            assert_eq!(rest, model.0.len());
            assert!(timers.is_empty());
        }
    }

    #[test]
    fn equal_deadlines_fire_in_order_of_creation() {
        let mut timers = Timers::new();
        let deadline = Instant::now();
        for payload in 0..100 {
            timers.insert(deadline, payload);
        }
        let fired: Vec<i32> = std::iter::from_fn(|| timers.pop_due(deadline)).collect();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn not_one_nanosecond_early() {
        let mut timers = Timers::new();
        let deadline = Instant::now() + Duration::from_secs(1);
        timers.insert(deadline, ());
        assert_eq!(timers.pop_due(deadline - Duration::from_nanos(1)), None);
        assert_eq!(timers.pop_due(deadline), Some(()));
    }

    #[test]
    fn a_million_pending_timers_use_their_slots_again() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for round in 0..2_u64 {
            let keys: Vec<TimerKey> = (0..1_000_000_u64)
                .map(|i| {
                    timers.insert(
                        start + Duration::from_nanos(i * 7919 % 1_000_003),
                        i + round,
                    )
                })
                .collect();
            for key in keys.iter().step_by(2) {
                assert!(timers.remove(*key).is_some());
            }
            while timers.pop().is_some() {}
        }
        assert_eq!(timers.slots.len(), 1_000_000);
    }
}
