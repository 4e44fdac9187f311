//! The pending deadlines of one timekeeper, earliest first.
//!
//! A pending timer is in a slot, where its key finds it, and has an entry in one heap, which is
//! ordered by deadline and then by creation. Nothing is rounded, so no timer fires early.
//!
//! Most timers are timeouts that are cancelled long before they are due. Cancelling one only
//! empties its slot; the entry stays in the heap, and is skipped when it comes to the front. Once
//! more than half of the entries are such leftovers, all leftovers are removed. So beginning and
//! cancelling a timer take constant time on average, and the heap has at most twice as many entries
//! as there are pending timers, plus a few.
//!
//! A slot remembers when its timer was created, and keys and entries say so too: a key that
//! outlived its timer finds nothing, whichever timer uses the slot now. (The count has 32 bits. A
//! key could be mistaken after exactly 2^32 more timers, in the same slot, and would wake a future
//! too early, which looks at the clock. An entry with 64 bits is a third longer.)
//!
//! Each entry of the heap has four children instead of two. They are adjacent, so that with a
//! hundred thousand timers half as many cache lines are touched to remove one.
//!
//! No user code runs in here: payloads are returned, never dropped.
//!
//! Rejected: a hierarchical wheel in front of the heap (up to a fifth faster where 100,000 timers
//! are due at once, a few percent elsewhere, four times the code); a wheel alone (it rounds); a
//! `BTreeMap` (it allocates for each timer); timers that lie in their futures (a future that is
//! dropped on another thread would have to wait for the loop).
//!
//! Tests: below, against a sorted list, with seeded random operations.

use std::cmp::Reverse;
use std::mem;
use std::time::Instant;

use dary_heap::QuaternaryHeap;
use slab::Slab;

/// Deadlines with a payload each, earliest first.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    pending: Slab<Pending<T>>,
    /// One entry for each pending timer, and leftovers.
    order: QuaternaryHeap<Reverse<HeapEntry>>,
    /// How many timers there have been, modulo 2^32.
    created: u32,
}

#[derive(Debug)]
struct Pending<T> {
    created: u32,
    payload: T,
}

/// Identifies one pending timer; stale after it has fired or been removed. The order of the fields
/// is the order in which timers of one deadline go off: the one that was created first is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TimerKey {
    created: u32,
    slot: u32,
}

impl TimerKey {
    /// A key of no timer.
    pub(crate) const STALE: Self = Self {
        created: u32::MAX,
        slot: u32::MAX,
    };
}

/// An entry in the heap: a timer's deadline and key. A leftover if the key's slot is vacant or has
/// another timer.
type HeapEntry = (Instant, TimerKey);

/// This many leftovers are always allowed.
const MIN_LEFTOVERS: usize = 64;

/// The tables of more timers than this are freed when none is pending: 64 KiB.
const CAPACITY: usize = 1024;

impl<T> Timers<T> {
    /// Without timers.
    pub(crate) fn new() -> Self {
        Self {
            pending: Slab::new(),
            order: QuaternaryHeap::new(),
            created: 0,
        }
    }

    /// Whether no timer is pending.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        self.first().map(|(deadline, ..)| deadline)
    }

    /// Adds a timer.
    ///
    /// # Panics
    /// If 2^32 timers are pending.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: Instant, payload: T) -> TimerKey {
        let created = self.created;
        self.created = created.wrapping_add(1);
        let slot = self.pending.insert(Pending { created, payload });
        let slot = u32::try_from(slot).expect("fewer than 2^32 timers");
        let key = TimerKey { created, slot };
        self.order.push(Reverse((deadline, key)));
        key
    }

    /// A pending timer's payload.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let timer = self.pending.get_mut(key.slot as usize)?;
        (timer.created == key.created).then_some(&mut timer.payload)
    }

    /// Replaces a timer's payload. Returns the earlier payload, or this one if the timer is gone.
    #[inline]
    pub(crate) fn replace(&mut self, key: TimerKey, payload: T) -> Result<T, T> {
        match self.get_mut(key) {
            Some(current) => Ok(mem::replace(current, payload)),
            None => Err(payload),
        }
    }

    /// How many timers there are.
    #[cfg(feature = "event-loop")]
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Frees the memory of a past burst. No timer is pending. (A key stays that of its timer alone,
    /// because numbers go on.)
    #[inline]
    pub(crate) fn shrink(&mut self) {
        if self.pending.capacity() > CAPACITY {
            self.free();
        }
    }

    #[cold]
    #[inline(never)]
    fn free(&mut self) {
        *self = Self {
            created: self.created,
            ..Self::new()
        };
    }

    /// Ends a pending timer, and returns its payload.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.get_mut(key)?;
        Some(self.end(key))
    }

    /// The timers that are due at `now`, earliest first.
    #[inline]
    pub(crate) fn due(&mut self, now: Instant) -> impl Iterator<Item = T> {
        std::iter::from_fn(move || {
            let first = self.first()?;
            (first.0 <= now).then(|| self.pop_pending(first))
        })
    }

    /// Removes the earliest timer, due or not: a timekeeper empties itself with this.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let first = self.first()?;
        Some(self.pop_pending(first))
    }

    /// The earliest entry that has a timer; removes the leftovers before it.
    #[inline]
    fn first(&mut self) -> Option<HeapEntry> {
        loop {
            let Reverse(first) = *self.order.peek()?;
            if is_pending(&self.pending, first.1) {
                return Some(first);
            }
            self.order.pop();
        }
    }

    /// Ends the timer of the earliest entry.
    #[inline]
    fn pop_pending(&mut self, (_, key): HeapEntry) -> T {
        self.order.pop();
        self.end(key)
    }

    /// Empties the slot of a pending timer, and removes the leftovers if they have become too many.
    #[inline]
    fn end(&mut self, key: TimerKey) -> T {
        let timer = self.pending.remove(key.slot as usize);
        if self.order.len() > 2 * self.pending.len() + MIN_LEFTOVERS {
            let pending = &self.pending;
            self.order.retain(|entry| is_pending(pending, entry.0.1));
        }
        timer.payload
    }
}

#[inline]
fn is_pending<T>(pending: &Slab<Pending<T>>, key: TimerKey) -> bool {
    let timer = pending.get(key.slot as usize);
    timer.is_some_and(|timer| timer.created == key.created)
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

        /// Small values as often as large ones, below 2^bits.
        fn any(&mut self, bits: u64) -> u64 {
            let bits = self.below(bits);
            self.below(1 << bits)
        }
    }

    /// The model: a list sorted by (deadline, creation).
    #[derive(Default)]
    struct Model(Vec<(Instant, u64, TimerKey)>);

    #[test]
    fn the_memory_of_a_burst_is_freed_and_no_key_is_given_out_twice() {
        let (mut timers, at) = (Timers::new(), Instant::now());
        let burst: Vec<TimerKey> = (0..2 * CAPACITY).map(|n| timers.insert(at, n)).collect();
        assert_eq!(timers.due(at).count(), burst.len());
        timers.shrink();
        assert_eq!(timers.pending.capacity(), 0);
        timers.insert(at, 0);
        assert!(burst.iter().all(|key| timers.get_mut(*key).is_none()));
    }

    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 1..=90_u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut timers = Timers::new();
            // Some timers are due before they were created. The unit is from a nanosecond to half
            // an hour.
            let start = Instant::now() - Duration::from_millis(seed % 3);
            let at = |units: u64| start + Duration::from_nanos(units << (seed % 41));
            let mut model = Model::default();
            let mut gone = Vec::new();
            let mut now = 0;
            for step in 0..2_000_u64 {
                match random.below(8) {
                    0..=3 => {
                        let deadline = at(now + random.any(20));
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
                        now += random.any(18);
                        let fired: Vec<u64> = timers.due(at(now)).collect();
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
                assert_eq!(timers.is_empty(), model.0.is_empty());
                let next = timers.next_deadline();
                assert_eq!(next.is_none(), model.0.is_empty());
                let first = model.0.iter().map(|&(d, ..)| d).min();
                assert_eq!(next, first, "seed {seed}, step {step}");
            }
            for key in gone {
                assert_eq!(
                    timers.get_mut(key),
                    None,
                    "seed {seed}: a stale key finds nothing"
                );
                assert_eq!(timers.remove(key), None);
            }
            model
                .0
                .sort_by_key(|&(deadline, created, _)| (deadline, created));
            let rest: Vec<u64> = std::iter::from_fn(|| timers.pop()).collect();
            assert!(
                rest.iter()
                    .eq(model.0.iter().map(|(_, payload, _)| payload)),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn emptied_in_order() {
        let mut random = Random(7);
        let mut timers = Timers::new();
        let start = Instant::now();
        let mut deadlines: Vec<u64> = (0..5_000).map(|_| random.any(50)).collect();
        for nanos in &deadlines {
            timers.insert(start + Duration::from_nanos(*nanos), *nanos);
        }
        deadlines.sort_unstable();
        assert_eq!(
            std::iter::from_fn(|| timers.pop()).collect::<Vec<_>>(),
            deadlines
        );
    }

    #[test]
    fn thousands_of_years_ahead() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for years in [1_u64, 100, 1_000, 10_000] {
            timers.insert(start + Duration::from_secs(years * 31_557_600), years);
        }
        assert_eq!(timers.due(start + Duration::from_secs(1 << 30)).count(), 1);
        assert!(timers.next_deadline().unwrap() > start);
        assert_eq!(std::iter::from_fn(|| timers.pop()).count(), 3);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_clock_that_passes_a_thousand_years() {
        let mut timers = Timers::new();
        let start = Instant::now();
        let at = |years: u64| start + Duration::from_secs(years * 31_557_600);
        let keys: Vec<TimerKey> = (1..=1_000)
            .rev()
            .map(|years| timers.insert(at(years), years))
            .collect();
        let again = timers.insert(at(500), 10_500);
        // The three hundreds are cancelled.
        for key in &keys[600..700] {
            assert!((301..=400).contains(&timers.remove(*key).unwrap()));
        }
        let mut fired = Vec::new();
        while let Some(next) = timers.next_deadline() {
            fired.extend(timers.due(next - Duration::from_nanos(1)));
            assert!(fired.iter().all(|years| at(years % 10_000) < next));
            fired.extend(timers.due(next));
        }
        let expected = (1..=300)
            .chain(401..=500)
            .chain([10_500])
            .chain(501..=1_000);
        assert_eq!(fired, expected.collect::<Vec<_>>());
        assert_eq!(timers.get_mut(again), None);
        // The test continues from there.
        timers.insert(at(1_000) + Duration::from_secs(1), 1);
        assert_eq!(timers.due(at(1_000)).next(), None);
        assert_eq!(
            timers.due(at(1_000) + Duration::from_secs(1)).next(),
            Some(1)
        );
        assert!(timers.is_empty() && timers.next_deadline().is_none());
    }

    #[test]
    fn cancelled_among_many() {
        // The first timer is removed, again and again, and each time the next deadline is read.
        let mut timers = Timers::new();
        let start = Instant::now() + Duration::from_secs(3600);
        let keys: Vec<TimerKey> = (0..10_000_u64)
            .map(|i| timers.insert(start + Duration::from_nanos(i), i))
            .collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(timers.next_deadline().unwrap() <= start + Duration::from_nanos(i as u64));
            assert_eq!(timers.remove(*key), Some(i as u64));
        }
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn equal_deadlines_fire_in_order_of_creation() {
        let mut timers = Timers::new();
        let deadline = Instant::now();
        for payload in 0..100 {
            timers.insert(deadline, payload);
        }
        let fired: Vec<i32> = std::iter::from_fn(|| timers.due(deadline).next()).collect();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn not_one_nanosecond_early() {
        let mut timers = Timers::new();
        let deadline = Instant::now() + Duration::from_secs(1);
        timers.insert(deadline, ());
        assert_eq!(timers.due(deadline - Duration::from_nanos(1)).next(), None);
        assert_eq!(timers.due(deadline).next(), Some(()));
    }

    #[test]
    fn what_is_cancelled_when_it_is_near_leaves_little_behind() {
        let mut timers = Timers::new();
        let start = Instant::now() + Duration::from_secs(1);
        // Many deadlines within a microsecond, and a few that come later.
        let keys: Vec<TimerKey> = (0..10_000_u64)
            .map(|i| timers.insert(start + Duration::from_nanos(i % 1000), i))
            .collect();
        assert_eq!(timers.due(start).count(), 10);
        for (i, key) in keys.into_iter().enumerate() {
            let late = timers.insert(start + Duration::from_nanos(1), 0);
            assert_eq!(timers.due(start).next(), None);
            assert_eq!(timers.remove(late), Some(0));
            assert_eq!(timers.remove(key).is_some(), i % 1000 != 0);
            let left = 10_000 - i;
            assert!(
                timers.order.len() <= 2 * left + MIN_LEFTOVERS + 2,
                "of {left}"
            );
        }
        assert!(timers.is_empty());
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn many_pending_timers_use_their_slots_again() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for round in 0..2_u64 {
            let keys: Vec<TimerKey> = (0..100_000_u64)
                .map(|i| timers.insert(start + Duration::from_nanos(i * 7919 % 100_003), i + round))
                .collect();
            for key in keys.iter().step_by(2) {
                assert!(timers.remove(*key).is_some());
            }
            while timers.pop().is_some() {}
        }
        assert!(timers.pending.capacity() < 200_000 && timers.order.is_empty());
    }
}
