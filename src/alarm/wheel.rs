//! The timers that are not near: lists by time, coarser the further away.
//!
//! Time is cut into ticks of 2^[`TICK`] ns, and a tick's number into digits. A timer's tick differs from the
//! wheel's in some digit first; that digit's position is the timer's *level*, and the digit says in which
//! *bucket* of the level it waits, in no order. So to insert or remove one is a few writes, however many wait.
//!
//! 1. The wheel stands at one tick. All that is at or before that tick is near ([`near`](super::near)).
//! 2. All timers of a level are due before all of the next, and within a level the buckets
//!    are in order: so the first bucket is found by counting zeros.
//! 3. Moving on to a later tick opens the buckets that begin by then: their timers go to lower
//!    levels, and in the end they are near. A timer is moved once for each level at most.
//!
//! To open a bucket takes time in which nothing else happens, so the first level has many narrow ones: what is
//! due within a second is put into its tick of half a millisecond at once, which is then sorted; only what
//! waits for longer is moved in larger pieces. And a bucket is an array, not a list of links, so that to open it is to
//! read memory in order. Buckets, and their arrays, are kept only where there are timers, and a few for those that
//! come.
//!
//! Each bucket remembers a time that none of its timers is before. It is the time of the first of
//! them, unless that one was removed; then it is found anew if they are few, and remains a lower bound if
//! they are not. So who sleeps until the first timer may wake up early once, where many were cancelled, and
//! nobody looks through many.
//!
//! Checked by the tests of `timers`.

use super::near::Near;
use super::slots::{Entry, Slots, TimerKey};

/// A tick has two to this power nanoseconds: half a millisecond.
const TICK: u32 = 19;
/// How many bits each digit has: enough for 63 bits of nanoseconds together.
const BITS: [u32; LEVELS] = [11, 6, 6, 6, 6, 9];
/// Where each digit begins.
const SHIFT: [u32; LEVELS] = [0, 11, 17, 23, 29, 35];
const LEVELS: usize = 6;
/// Buckets are made, and remembered as occupied, in groups.
const GROUP: usize = 64;
/// The number of each level's first bucket.
const FIRST: [usize; LEVELS] = [0, 2048, 2112, 2176, 2240, 2304];
const GROUPS: usize = FIRST[LEVELS - 1] / GROUP + 8;

/// Longer ones are not searched for their first timer.
const SHORT: usize = 32;
/// So many empty arrays of so many entries at most are kept for the next bucket.
const SPARE: usize = 16;
const SPARE_ENTRIES: usize = 1024;
/// So many empty groups are.
const SPARE_GROUPS: usize = 2;
/// So many entries ahead of the one that is moved, the slot is fetched.
const AHEAD: usize = 16;

#[derive(Debug)]
pub(super) struct Wheel {
    /// The tick at which it stands.
    now: u64,
    /// Which buckets of each group have timers.
    occupied: [u64; GROUPS],
    /// Which of those are not 0.
    groups: u64,
    /// Level by level; `None` where no bucket has timers.
    buckets: [Option<Group>; GROUPS],
    spare: Vec<Vec<Entry>>,
    spare_groups: Vec<Group>,
    /// This one may be empty, and is where it was: often the next timer is for it.
    left: usize,
}

type Group = Box<[Bucket; GROUP]>;

#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// No timer in it is before this.
    least: u64,
    /// The one that was at `least` has gone.
    stale: bool,
}

/// The level of the bucket with this number, and which one it is there.
#[inline]
fn level_of(number: usize) -> (usize, usize) {
    let level = match number / GROUP {
        0..32 => 0,
        group => (group - 31).min(LEVELS - 1),
    };
    (level, number - FIRST[level])
}

impl Wheel {
    /// Stands at the tick of `now`.
    pub(super) fn new(now: u64) -> Self {
        Self {
            now: now >> TICK,
            occupied: [0; GROUPS],
            groups: 0,
            buckets: [const { None }; GROUPS],
            spare: Vec::new(),
            spare_groups: Vec::new(),
            left: 0,
        }
    }

    /// The number of the bucket, if it is not near.
    #[inline]
    fn bucket(&self, at: u64) -> Option<usize> {
        let tick = at >> TICK;
        if tick <= self.now {
            return None;
        }
        // The highest bit in which they differ.
        let level = match 63 - (tick ^ self.now).leading_zeros() {
            0..11 => 0,
            bit => (1 + (bit as usize - 11) / 6).min(LEVELS - 1),
        };
        let digit = (tick >> SHIFT[level]) as usize & ((1 << BITS[level]) - 1);
        Some(FIRST[level] + digit)
    }

    /// Takes the timer in; or gives it back, because it is near.
    #[inline]
    pub(super) fn insert<T>(&mut self, slots: &mut Slots<T>, entry: Entry) -> Option<Entry> {
        let Some(number) = self.bucket(entry.at) else {
            return Some(entry);
        };
        let (group, digit) = (number / GROUP, number % GROUP);
        let buckets = match &mut self.buckets[group] {
            Some(buckets) => buckets,
            none => none.insert(make(&mut self.spare_groups)),
        };
        let bucket = &mut buckets[digit];
        let place = bucket.entries.len();
        if place == 0 {
            if let Some(spare) = self.spare.pop() {
                bucket.entries = spare;
            }
            bucket.least = entry.at;
            bucket.stale = false;
            self.occupied[group] |= 1 << digit;
            self.groups |= 1 << group;
        } else if entry.at <= bucket.least {
            bucket.least = entry.at;
            bucket.stale = false;
        }
        slots.put(entry.slot, number as u32, place);
        bucket.entries.push(entry);
        None
    }

    /// Takes out the timer at `place` of the bucket with this number. False: that bucket was opened since, and
    /// the timer is near.
    #[inline]
    pub(super) fn remove<T>(
        &mut self,
        slots: &mut Slots<T>,
        (number, place): (u32, usize),
        key: TimerKey,
    ) -> bool {
        let number = number as usize;
        let Some(Some(buckets)) = self.buckets.get_mut(number / GROUP) else {
            return false;
        };
        let bucket = &mut buckets[number % GROUP];
        match bucket.entries.get(place) {
            Some(entry) if entry.slot == key.slot && entry.generation == key.generation => {}
            _ => return false,
        }
        let entry = bucket.entries.swap_remove(place);
        if let Some(moved) = bucket.entries.get(place) {
            slots.move_to(moved.slot, place);
        }
        bucket.stale |= bucket.least == entry.at;
        if bucket.entries.is_empty() {
            let entries = std::mem::take(&mut bucket.entries);
            self.vacate(number, entries);
        }
        true
    }

    /// A bucket is empty: its array, and its group if that is, too, are kept for others, unless
    /// there are enough.
    #[inline]
    fn vacate(&mut self, number: usize, mut entries: Vec<Entry>) {
        let group = number / GROUP;
        self.occupied[group] &= !(1 << (number % GROUP));
        if self.occupied[group] == 0 {
            self.groups &= !(1 << group);
            if self.left != group {
                self.clear_away();
                self.left = group;
            }
        }
        if self.spare.len() < SPARE && entries.capacity() <= SPARE_ENTRIES {
            entries.clear();
            self.spare.push(entries);
        }
    }

    /// The group that was left in its place when it was empty, if it still is.
    fn clear_away(&mut self) {
        if self.occupied[self.left] == 0
            && let Some(buckets) = self.buckets[self.left].take()
            && self.spare_groups.len() < SPARE_GROUPS
        {
            self.spare_groups.push(buckets);
        }
    }

    /// The number of the bucket that is due first.
    #[inline]
    fn first(&self) -> Option<usize> {
        if self.groups == 0 {
            return None;
        }
        let group = self.groups.trailing_zeros() as usize;
        Some(group * GROUP + self.occupied[group].trailing_zeros() as usize)
    }

    fn first_bucket(&mut self) -> Option<(usize, &mut Bucket)> {
        let number = self.first()?;
        let buckets = self.buckets[number / GROUP].as_mut()?;
        Some((number, &mut buckets[number % GROUP]))
    }

    /// The tick at which a bucket begins.
    fn start(&self, number: usize) -> u64 {
        let (level, digit) = level_of(number);
        let above = SHIFT[level] + BITS[level];
        self.now >> above << above | (digit as u64) << SHIFT[level]
    }

    /// No timer is before this; see above.
    pub(super) fn least(&mut self) -> Option<u64> {
        let (_, bucket) = self.first_bucket()?;
        if bucket.stale
            && bucket.entries.len() <= SHORT
            && let Some(least) = bucket.entries.iter().map(|entry| entry.at).min()
        {
            bucket.least = least;
            bucket.stale = false;
        }
        Some(bucket.least)
    }

    /// Moves on until something is near, but not past `until`. Nothing is.
    pub(super) fn advance<T>(&mut self, slots: &mut Slots<T>, near: &mut Near, until: u64) {
        let until = until >> TICK;
        while near.is_empty() {
            if !self.open(slots, near, until) {
                // Nothing begins until then.
                self.now = self.now.max(until);
                return;
            }
        }
    }

    /// Opens the first bucket, if it begins by `until`. Nothing is near.
    fn open<T>(&mut self, slots: &mut Slots<T>, near: &mut Near, until: u64) -> bool {
        let Some(start) = self.first().map(|number| self.start(number)) else {
            return false;
        };
        if start > until {
            return false;
        }
        let Some((number, bucket)) = self.first_bucket() else {
            return false;
        };
        let mut entries = std::mem::take(&mut bucket.entries);
        self.now = start;
        if level_of(number).0 == 0 {
            entries = near.open(entries); // they are of one tick
        } else {
            for (place, &entry) in entries.iter().enumerate() {
                if let Some(ahead) = entries.get(place + AHEAD) {
                    slots.prefetch(*ahead);
                }
                if let Some(entry) = self.insert(slots, entry) {
                    near.add(entry);
                }
            }
        }
        near.sort(slots);
        self.vacate(number, entries);
        true
    }

    /// Moves on until something is near, however late. Nothing is.
    pub(super) fn advance_to_first<T>(&mut self, slots: &mut Slots<T>, near: &mut Near) {
        while near.is_empty() && self.open(slots, near, u64::MAX) {}
    }
}

#[cold]
fn make(spare: &mut Vec<Group>) -> Group {
    spare
        .pop()
        .unwrap_or_else(|| Box::new(std::array::from_fn(|_| Bucket::default())))
}
