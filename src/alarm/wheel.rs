//! The timers that are not near: lists by time, coarser the further away.
//!
//! Time is cut into ticks of 2^[`TICK`] ns, and a tick's number into digits. A timer's tick differs from the
//! wheel's in some digit first; that digit's position is the timer's *level*, and the digit says in which
//! *bucket* of the level it waits, in no order. So to insert or remove one is a few writes, however many wait.
//!
//! 1. The wheel stands at one tick. All that is at or before that tick is the heap's.
//! 2. All timers of a level are due before all of the next, and within a level the buckets
//!    are in order: so the first bucket is found by counting zeros.
//! 3. Moving on to a later tick opens the buckets that begin by then: their timers go to lower
//!    levels, and in the end to the heap. A timer is moved once for each level at most.
//!
//! To open a bucket takes time in which nothing else happens, so the first levels have many narrow ones: what is due
//! within seconds is sorted by 17 ms at once, and only what waits for longer is ever moved in
//! larger pieces. And a bucket is an array, not a list of links, so that to open it is to read
//! memory in order.
//!
//! Each bucket remembers a time that none of its timers is before. It is the time of the first of
//! them, unless that one was removed; then it is found anew if they are few, and remains a lower bound if
//! they are not. So who sleeps until the first timer may wake up early once, where many were cancelled, and
//! nobody looks through many.
//!
//! Checked by the tests of `timers`.

use super::heap::Heap;
use super::slots::{Entry, Slots};

/// A tick has two to this power nanoseconds: 66 µs, about the system's timer slack.
const TICK: u32 = 16;
/// How many bits each digit has: enough for 63 bits of nanoseconds together.
const BITS: [u32; LEVELS] = [8, 9, 6, 6, 6, 6, 6];
/// Where each digit begins.
const SHIFT: [u32; LEVELS] = [0, 8, 17, 23, 29, 35, 41];
/// The number of each level's first bucket.
const FIRST: [usize; LEVELS] = [0, 256, 768, 832, 896, 960, 1024];
const BUCKETS: usize = 1088;
const LEVELS: usize = 7;
/// Buckets to a word of [`Wheel::occupied`].
const WORD: usize = 64;

/// Longer ones are not searched for their first timer.
const SHORT: usize = 32;
/// So many empty arrays of so many entries at most are kept for the next bucket.
const SPARE: usize = 16;
const SPARE_ENTRIES: usize = 1024;

#[derive(Debug)]
pub(super) struct Wheel {
    /// The tick at which it stands.
    now: u64,
    /// Which buckets have timers.
    occupied: [u64; BUCKETS / WORD],
    /// Which of those words are not 0.
    words: u32,
    /// Those of each level, made when the level is first used.
    levels: [Vec<Bucket>; LEVELS],
    spare: Vec<Vec<Entry>>,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// No timer in it is before this.
    least: u64,
    /// The one that was at `least` has gone.
    stale: bool,
}

/// The level of the bucket with this number.
#[inline]
fn level_of(number: usize) -> usize {
    match number {
        0..256 => 0,
        256..768 => 1,
        _ => 2 + (number - FIRST[2]) / WORD,
    }
}

impl Wheel {
    /// Stands at the tick of `now`.
    pub(super) fn new(now: u64) -> Self {
        Self {
            now: now >> TICK,
            occupied: [0; BUCKETS / WORD],
            words: 0,
            levels: [const { Vec::new() }; LEVELS],
            spare: Vec::new(),
        }
    }

    /// Which level and which bucket of it, if it is not near.
    #[inline]
    fn bucket(&self, at: u64) -> Option<(usize, usize)> {
        let tick = at >> TICK;
        if tick <= self.now {
            return None;
        }
        let level = match 63 - (tick ^ self.now).leading_zeros() {
            0..8 => 0,
            8..17 => 1,
            bit => 2 + (bit as usize - 17) / 6,
        };
        let digit = (tick >> SHIFT[level]) as usize & ((1 << BITS[level]) - 1);
        Some((level, digit))
    }

    /// Takes the timer in; or gives it back, because it is near.
    #[inline]
    pub(super) fn insert<T>(&mut self, slots: &mut Slots<T>, entry: Entry) -> Option<Entry> {
        let Some((level, digit)) = self.bucket(entry.at) else {
            return Some(entry);
        };
        if self.levels[level].is_empty() {
            self.make(level);
        }
        let bucket = &mut self.levels[level][digit];
        let number = FIRST[level] + digit;
        let place = bucket.entries.len();
        if place == 0 {
            if bucket.entries.capacity() == 0
                && let Some(spare) = self.spare.pop()
            {
                bucket.entries = spare;
            }
            bucket.least = entry.at;
            bucket.stale = false;
            self.occupied[number / WORD] |= 1 << (number % WORD);
            self.words |= 1 << (number / WORD);
        } else if entry.at <= bucket.least {
            bucket.least = entry.at;
            bucket.stale = false;
        }
        slots.put(entry.slot, number as u32, place);
        bucket.entries.push(entry);
        None
    }

    #[cold]
    fn make(&mut self, level: usize) {
        self.levels[level] = vec![Bucket::default(); 1 << BITS[level]];
    }

    /// Takes out the timer at `place` of the bucket with this number.
    #[inline]
    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, number: u32, place: usize) {
        let number = number as usize;
        let level = level_of(number);
        let bucket = &mut self.levels[level][number - FIRST[level]];
        let entry = bucket.entries.swap_remove(place);
        if let Some(moved) = bucket.entries.get(place) {
            slots.move_to(moved.slot, place);
        }
        bucket.stale |= bucket.least == entry.at;
        if bucket.entries.is_empty() {
            let entries = std::mem::take(&mut bucket.entries);
            self.vacate(number, entries);
        }
    }

    /// A bucket is empty: its array is kept for another, unless it is large.
    #[inline]
    fn vacate(&mut self, number: usize, mut entries: Vec<Entry>) {
        let word = number / WORD;
        self.occupied[word] &= !(1 << (number % WORD));
        if self.occupied[word] == 0 {
            self.words &= !(1 << word);
        }
        if self.spare.len() < SPARE && entries.capacity() <= SPARE_ENTRIES {
            entries.clear();
            self.spare.push(entries);
        }
    }

    /// The bucket that is due first: its level, and which it is there.
    #[inline]
    fn first(&self) -> Option<(usize, usize)> {
        if self.words == 0 {
            return None;
        }
        let word = self.words.trailing_zeros() as usize;
        let number = word * WORD + self.occupied[word].trailing_zeros() as usize;
        let level = level_of(number);
        Some((level, number - FIRST[level]))
    }

    /// The tick at which a bucket begins.
    fn start(&self, level: usize, digit: usize) -> u64 {
        let above = SHIFT[level] + BITS[level];
        self.now >> above << above | (digit as u64) << SHIFT[level]
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// No timer is before this; see above.
    pub(super) fn least(&mut self) -> Option<u64> {
        let (level, digit) = self.first()?;
        let bucket = &mut self.levels[level][digit];
        if bucket.stale
            && bucket.entries.len() <= SHORT
            && let Some(least) = bucket.entries.iter().map(|entry| entry.at).min()
        {
            bucket.least = least;
            bucket.stale = false;
        }
        Some(bucket.least)
    }

    /// Moves on until something is near, but not past `until`.
    pub(super) fn advance<T>(&mut self, slots: &mut Slots<T>, heap: &mut Heap, until: u64) {
        let until = until >> TICK;
        while heap.first().is_none() {
            if !self.open(slots, heap, until) {
                // Nothing begins until then.
                self.now = self.now.max(until);
                return;
            }
        }
    }

    /// Opens the first bucket, if it begins by `until`.
    fn open<T>(&mut self, slots: &mut Slots<T>, heap: &mut Heap, until: u64) -> bool {
        let Some((level, digit)) = self.first() else {
            return false;
        };
        let start = self.start(level, digit);
        if start > until {
            return false;
        }
        self.now = start;
        let entries = std::mem::take(&mut self.levels[level][digit].entries);
        for &entry in &entries {
            if let Some(near) = self.insert(slots, entry) {
                heap.insert(slots, near);
            }
        }
        self.vacate(FIRST[level] + digit, entries);
        true
    }

    /// Moves on until something is near, however late.
    pub(super) fn advance_to_first<T>(&mut self, slots: &mut Slots<T>, heap: &mut Heap) {
        while heap.first().is_none() && self.open(slots, heap, u64::MAX) {}
    }
}
