//! How long tasks have run since the kernel was last asked for events.
//!
//! Asking costs a system call, some 300 ns, as much as a dozen short polls; not asking lets sockets
//! wait. So the loop asks after a stretch of time ([`TIME_SLICE_TICKS`]), not after a number of
//! polls. Nor does it read the clock for every poll, which would double the cost of the shortest
//! ones:
//!
//! 1. Polls are counted. Every [`STRIDE`]-th reads the clock ([`ticks`]).
//! 2. After a long poll every poll reads it, until [`SINGLE`] in a row were short. This also holds
//!    in the slices that follow, and if long and short polls alternate.
//! 3. Timers are checked after each batch in which the clock was read.
//!
//! The clock is a rough one and may even stop. Then the slice ends after [`MAX_POLLS`] polls.
//!
//! Tests: below; `tests/event_loop/fairness.rs`.

use super::limits::{MAX_POLLS, TIME_SLICE_TICKS};
use crate::sys::ticks;

/// The clock is read after this many short polls.
const STRIDE: u32 = 8;

/// Polls that took longer than this in total were not short.
const LONG: u64 = TIME_SLICE_TICKS / 32;

/// After a long poll, the clock is read after every poll until this many were short. At 10 ns for
/// each reading, that is a twentieth of the long poll.
const SINGLE: u32 = 32;

/// One stretch of polls.
#[derive(Debug)]
pub(super) struct TimeSlice {
    /// How many polls there were in this slice.
    polls: u32,
    /// The clock is read when `polls` reaches this.
    next: u32,
    /// After how many more polls the clock is read each time.
    single: u32,
    began: u64,
    /// When the clock was last read.
    read: u64,
    over: bool,
    /// Whether the clock was read since the timers were last checked.
    timers: bool,
}

impl TimeSlice {
    pub(super) fn new() -> Self {
        let now = ticks::now();
        Self {
            polls: 0,
            next: STRIDE,
            single: 0,
            began: now,
            read: now,
            over: false,
            timers: true,
        }
    }

    /// Begins a new slice after the kernel was asked. Whether polls are long is remembered.
    #[inline]
    pub(super) fn renew(&mut self) {
        let single = self.single;
        *self = Self {
            next: if single == 0 { STRIDE } else { 1 },
            single,
            ..Self::new()
        };
    }

    /// How many polls can be counted together, because the clock is not read before.
    #[inline]
    pub(super) fn ahead(&self) -> usize {
        self.next.saturating_sub(self.polls) as usize
    }

    /// Counts this many polls, [`ahead`](Self::ahead) at most. Returns true when the slice is over.
    #[inline]
    pub(super) fn count(&mut self, polls: usize) -> bool {
        self.polls += polls as u32;
        if self.polls >= self.next {
            self.look();
        }
        self.over
    }

    /// Out of line: if it is inlined, the compiler keeps the whole slice in registers, which costs
    /// a turn of one poll ten instructions.
    #[inline(never)]
    fn look(&mut self) {
        self.read_clock(ticks::now());
    }

    fn read_clock(&mut self, now: u64) {
        let short = now.saturating_sub(self.read) < LONG;
        self.read = now;
        self.single = if short {
            self.single.saturating_sub(1)
        } else {
            SINGLE
        };
        self.next = self.polls + if self.single == 0 { STRIDE } else { 1 };
        self.over |= now.saturating_sub(self.began) >= TIME_SLICE_TICKS || self.polls >= MAX_POLLS;
        self.timers = true;
    }

    /// How many polls there were.
    #[inline]
    pub(super) fn polls(&self) -> u32 {
        self.polls
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether timers may be due, because time has passed since the last call.
    #[inline]
    pub(super) fn asks_for_timers(&mut self) -> bool {
        std::mem::take(&mut self.timers)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Runs a slice in which each poll takes `each`. Returns after how many polls it is over, and
    /// how often the clock was read.
    fn polls(each: u64) -> (u32, u32) {
        let mut slice = TimeSlice::new();
        let (mut now, mut read) = (slice.began, 0);
        while !slice.over {
            now += each;
            slice.polls += 1;
            if slice.polls >= slice.next {
                slice.read_clock(now);
                read += 1;
            }
        }
        (slice.polls, read)
    }

    #[test]
    fn short_polls_are_many_and_long_ones_few() {
        assert_eq!(polls(0), (MAX_POLLS, MAX_POLLS / STRIDE));
        let (short, read) = polls(TIME_SLICE_TICKS / 500);
        assert!((500..=500 + STRIDE).contains(&short) && read <= 500 / STRIDE + 1);
        assert_eq!(
            polls(TIME_SLICE_TICKS * 10).0,
            STRIDE,
            "from short ones to long ones"
        );
        // Long polls all the time: the clock is read after each.
        let mut slice = TimeSlice::new();
        slice.next = 1;
        slice.polls += 1;
        slice.read_clock(slice.began + TIME_SLICE_TICKS);
        assert!(slice.is_over());
        // The clock is read after each poll also in the next slice, until many polls were short.
        slice.renew();
        for short in 0..SINGLE {
            assert_eq!((slice.polls, slice.next), (short, short + 1));
            slice.polls += 1;
            slice.read_clock(slice.began);
        }
        assert_eq!(slice.next, SINGLE + STRIDE);
        slice.renew();
        assert_eq!((slice.polls, slice.next), (0, STRIDE));
    }
}
