//! The pending deadlines of one timekeeper, earliest first.
//!
//! Most timers are timeouts: there are many at once, and nearly all are cancelled long before they
//! matter. So what is far away is not ordered, only put where it is found again when its time
//! comes near ([`wheel`](super::wheel)); what is near is in order ([`near`](super::near)), and
//! little. To begin a timer and to cancel it take the same few steps, whether ten wait or a million. What is
//! later than anything that is counted, 146 years, lies aside ([`late`](super::late)).
//!
//! Many do not even live until somebody asks which timers are due: what was begun last is put in no order at
//! all ([`YOUNG`]) until then, or until there are more of them.
//!
//! - Order is exact: by deadline, then by creation. Nothing is rounded, so
//!   nothing can go off early: the wheel only decides when a timer is sorted among those that are near, and
//!   that is not later than its tick begins.
//! - A key carries the generation of its slot: a key that outlived its timer
//!   finds nothing, whoever uses the slot now.
//! - No user code runs in here: payloads are handed out, never dropped.
//!
//! Rejected: a heap for all (each entry that moves is a cache line of the heap and one of the slots: 400 ns for a
//! timer among a million); a wheel alone (it rounds); a `BTreeMap` (allocates for
//! each timer); a heap of all with lazy deletion (cancelled timeouts stay until they are due); timers that lie in
//! their futures (a future that is dropped on another thread would have to wait for the loop).
//!
//! Checked below against a sorted list, with seeded random operations.
//!
//! Length: more than half of it is those tests, which look at all of the parts.

use std::time::{Duration, Instant};

use super::late::{LATE, Late};
use super::near::{NEAR, Near};
pub(crate) use super::slots::TimerKey;
use super::slots::{Entry, Slots};
use super::wheel::Wheel;

/// Deadlines with a payload each, earliest first.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    /// [`MIDDLE`] of the range in which deadlines are counted.
    start: Instant,
    slots: Slots<T>,
    /// Begun since the last look, at most so many.
    young: Vec<Young>,
    near: Near,
    far: Wheel,
    late: Late,
}

/// A timer that was begun since.
#[derive(Debug)]
struct Young {
    deadline: Instant,
    created: u64,
    key: TimerKey,
}

/// So many new timers are kept without order.
const YOUNG: usize = 16;
/// The number of their list; beside that of what is near, of what is late, and those of the wheel.
const NURSERY: u32 = LATE - 1;

/// Deadlines are nanoseconds in a range of 2^63 of them, 292 years; here it has its beginning.
const MIDDLE: u64 = 1 << 62;
/// And this is its end: what is later is not counted.
const LAST: u64 = (1 << 63) - 1;

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            slots: Slots::new(),
            young: Vec::new(),
            near: Near::new(),
            far: Wheel::new(MIDDLE),
            late: Late::new(),
        }
    }

    #[inline]
    fn count(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.start) {
            Some(after) => MIDDLE.saturating_add(nanos(after)).min(LAST),
            None => MIDDLE.saturating_sub(nanos(self.start - at)),
        }
    }

    fn instant(&self, at: u64) -> Instant {
        let instant = match at.checked_sub(MIDDLE) {
            Some(after) => self.start.checked_add(Duration::from_nanos(after)),
            None => self.start.checked_sub(Duration::from_nanos(MIDDLE - at)),
        };
        instant.unwrap_or(self.start)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The earliest deadline. It can be too early a time, once, where many timers with about the
    /// same deadline were cancelled; it is never too late.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        self.settle();
        let first = match self.near.first(&self.slots) {
            Some(first) => first.at,
            None => match self.far.least() {
                Some(first) => first,
                None => return self.late.least(),
            },
        };
        Some(self.instant(first))
    }

    #[inline]
    pub(crate) fn insert(&mut self, deadline: Instant, payload: T) -> TimerKey {
        if self.young.len() >= YOUNG {
            self.settle();
        }
        let (created, key) = self.slots.occupy(payload, NURSERY, self.young.len());
        self.young.push(Young {
            deadline,
            created,
            key,
        });
        key
    }

    /// Puts the new ones where they belong.
    #[inline]
    fn settle(&mut self) {
        if !self.young.is_empty() {
            self.settle_all();
        }
    }

    #[inline(never)]
    fn settle_all(&mut self) {
        let mut young = std::mem::take(&mut self.young);
        for Young {
            deadline,
            created,
            key,
        } in young.drain(..)
        {
            let entry = Entry {
                at: self.count(deadline),
                created,
                slot: key.slot,
                generation: key.generation,
            };
            self.place(deadline, entry);
        }
        self.young = young;
    }

    /// Puts it into the list that it belongs to.
    fn place(&mut self, deadline: Instant, entry: Entry) {
        if entry.at == LAST {
            self.late.insert(&mut self.slots, deadline, entry);
        } else if let Some(entry) = self.far.insert(&mut self.slots, entry) {
            self.slots.put(entry.slot, NEAR, 0);
            self.near.insert(entry);
        }
    }

    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let slot = self.slots.find(key)?;
        self.slots.payload(slot)
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        let slot = self.slots.find(key)?;
        let leaves_entry = match self.slots.place(slot) {
            (NURSERY, place) => {
                self.young.swap_remove(place);
                if let Some(moved) = self.young.get(place) {
                    self.slots.move_to(moved.key.slot, place);
                }
                false
            }
            (LATE, place) => {
                self.late.remove(&mut self.slots, place);
                false
            }
            (NEAR, _) => true,
            bucket => !self.far.remove(&mut self.slots, bucket, key),
        };
        let payload = self.slots.vacate(slot);
        if leaves_entry {
            self.near.forget(&self.slots);
        }
        payload
    }

    /// The timers that are due at `now`, earliest first.
    #[inline]
    pub(crate) fn due(&mut self, now: Instant) -> impl Iterator<Item = T> {
        self.settle();
        let mut at = self.count(now);
        std::iter::from_fn(move || {
            if let Some(payload) = self.pop_due(at) {
                return Some(payload);
            }
            if at < LAST {
                return None;
            }
            at = self.begin_again(now);
            self.pop_due(at)
        })
    }

    #[inline]
    fn pop_due(&mut self, now: u64) -> Option<T> {
        loop {
            let first = match self.near.peek() {
                // What is in the wheel is later still.
                Some(first) => first,
                None => {
                    self.far.advance(&mut self.slots, &mut self.near, now);
                    self.near.peek()?
                }
            };
            if first.at > now {
                return None;
            }
            if let Some(payload) = self.near.take(&mut self.slots, first) {
                return Some(payload);
            }
        }
    }

    /// The range has come to its end, which only a virtual clock sees, and all that was counted in it is
    /// gone: another begins.
    #[cold]
    fn begin_again(&mut self, now: Instant) -> u64 {
        self.start = now;
        self.far = Wheel::new(MIDDLE);
        for (deadline, mut entry) in self.late.take() {
            entry.at = self.count(deadline);
            self.place(deadline, entry);
        }
        MIDDLE
    }

    /// Whatever is earliest (of what lies beyond the range, any), due or not: how a timekeeper empties
    /// itself.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.settle();
        loop {
            if self.near.is_empty() {
                self.far.advance_to_first(&mut self.slots, &mut self.near);
            }
            let Some(first) = self.near.peek() else {
                let slot = self.late.pop()?;
                return self.slots.vacate(slot);
            };
            if let Some(payload) = self.near.take(&mut self.slots, first) {
                return Some(payload);
            }
        }
    }
}

#[inline]
fn nanos(duration: Duration) -> u64 {
    (duration.as_secs())
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
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

        /// Small ones as often as large ones, below 2^bits.
        fn any(&mut self, bits: u64) -> u64 {
            let bits = self.below(bits);
            self.below(1 << bits)
        }
    }

    /// The model: a list sorted by (deadline, creation).
    #[derive(Default)]
    struct Model(Vec<(Instant, u64, TimerKey)>);

    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 1..=90_u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut timers = Timers::new();
            // Some go off before they were made. The unit is from a nanosecond to half an hour.
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
                let next = timers.next();
                assert_eq!(next.is_none(), model.0.is_empty());
                let first = model.0.iter().map(|&(d, ..)| d).min();
                assert!(next <= first, "seed {seed}, step {step}: never too late");
                if model.0.len() <= 32 {
                    assert_eq!(next, first, "seed {seed}, step {step}");
                }
            }
            for key in gone {
                assert_eq!(
                    timers.get_mut(key),
                    None,
                    "seed {seed}: a stale key finds nothing"
                );
                assert_eq!(timers.remove(key), None);
            }
            // Who sleeps until the next one wakes up in vain once for a list at most.
            model
                .0
                .sort_by_key(|&(deadline, created, _)| (deadline, created));
            let mut rest = model.0.iter().map(|&(_, payload, _)| payload);
            let mut in_vain = 0;
            while let Some(next) = timers.next() {
                let before = rest.len();
                timers
                    .due(next)
                    .for_each(|payload| assert_eq!(Some(payload), rest.next(), "seed {seed}"));
                in_vain += usize::from(rest.len() == before);
            }
            assert_eq!(rest.len(), 0);
            assert!(in_vain < 64, "seed {seed}: {in_vain} times");
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
    fn beyond_what_is_counted() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for years in [1_u64, 100, 1_000, 10_000] {
            timers.insert(start + Duration::from_secs(years * 31_557_600), years);
        }
        assert_eq!(timers.due(start + Duration::from_secs(1 << 30)).count(), 1);
        assert!(timers.next().unwrap() > start);
        assert_eq!(std::iter::from_fn(|| timers.pop()).count(), 3);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_clock_that_passes_the_end_of_the_range() {
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
        while let Some(next) = timers.next() {
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
        // And on from there.
        timers.insert(at(1_000) + Duration::from_secs(1), 1);
        assert_eq!(timers.due(at(1_000)).next(), None);
        assert_eq!(
            timers.due(at(1_000) + Duration::from_secs(1)).next(),
            Some(1)
        );
        assert!(timers.is_empty() && timers.next().is_none());
    }

    #[test]
    fn cancelled_among_many() {
        // One list of many: the first goes, again and again, and each time somebody asks.
        let mut timers = Timers::new();
        let start = Instant::now() + Duration::from_secs(3600);
        let keys: Vec<TimerKey> = (0..10_000_u64)
            .map(|i| timers.insert(start + Duration::from_nanos(i), i))
            .collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(timers.next().unwrap() <= start + Duration::from_nanos(i as u64));
            assert_eq!(timers.remove(*key), Some(i as u64));
        }
        assert_eq!(timers.next(), None);
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
        // One bucket, which is opened, and a few that come later.
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
            assert!(timers.near.len() <= 2 * left + 200, "of {left}");
        }
        assert!(timers.is_empty());
        assert_eq!(timers.next(), None);
        assert!(timers.near.is_empty());
    }

    /// Begun in order, ended in none, begun again: in the order of memory.
    #[test]
    fn slots_that_are_all_vacant_are_used_in_their_order() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for round in 1..4_u32 {
            let keys: Vec<TimerKey> = (0..100 * round)
                .map(|i| timers.insert(start + Duration::from_nanos(u64::from(i) * 7919 % 100), i))
                .collect();
            let slots: Vec<u32> = keys.iter().map(|key| key.slot).collect();
            assert_eq!(slots, (0..100 * round).collect::<Vec<_>>());
            assert_eq!(
                timers.due(start + Duration::from_secs(1)).count(),
                keys.len()
            );
            for key in keys {
                assert_eq!(timers.remove(key), None, "it is stale");
            }
        }
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
        assert_eq!(timers.slots.most(), 1_000_000);
    }
}
