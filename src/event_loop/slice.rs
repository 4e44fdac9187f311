//! How long tasks have run since the kernel was last asked for events.
//!
//! To ask costs a system call, some 300 ns, as much as a dozen short polls; not to ask lets
//! sockets wait. So the loop asks after a stretch of time ([`SLICE`]), not after so many polls. Nor
//! is the clock read for every poll, which would double what the shortest of them cost:
//!
//! 1. Polls are counted. Every [`STRIDE`]-th reads the clock ([`ticks`]).
//! 2. After polls that took long every single one does, until [`SINGLE`] in a row were short: also
//!    in the slices that follow, and also where long and short ones take turns.
//! 3. Timers are looked at after each batch in which the clock was read.
//!
//! The clock is a rough one, and may even stop: then the slice ends after [`MAX_POLLS`] polls.
//!
//! Checked below, and by `tests/event_loop/fairness.rs`.

use crate::sys::ticks;

/// How long tasks run, roughly, before the kernel is asked for events. Timers are looked at after
/// each batch in which the clock was read.
const SLICE: u64 = 200 * ticks::MICROSECOND;

/// The clock is read after so many short polls.
const STRIDE: u32 = 8;

/// Polls that took longer than this in all were not short ones.
const LONG: u64 = SLICE / 32;

/// After a long poll every single one is looked at until so many were short: with 10 ns for each
/// look that is a twentieth of the long one.
const SINGLE: u32 = 32;

/// A slice ends after so many polls, whatever the clock says.
const MAX_POLLS: u32 = 1024;

/// One stretch of polls.
#[derive(Debug)]
pub(super) struct Slice {
    /// So far.
    polls: u32,
    /// The clock is read when there were so many.
    next: u32,
    /// So many are looked at one by one.
    single: u32,
    began: u64,
    /// When the clock was read last.
    read: u64,
    over: bool,
    /// The clock was read, and the timers have not been looked at since.
    timers: bool,
}

impl Slice {
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

    /// The kernel was asked: another one begins, of polls like the last ones.
    #[inline]
    pub(super) fn begin(&mut self) {
        let single = self.single;
        *self = Self {
            next: if single == 0 { STRIDE } else { 1 },
            single,
            ..Self::new()
        };
    }

    /// So many polls may be counted together: the clock is not read before.
    #[inline]
    pub(super) fn ahead(&self) -> usize {
        self.next.saturating_sub(self.polls) as usize
    }

    /// So many polls more, [`ahead`](Self::ahead) at most. True: it is over.
    #[inline]
    pub(super) fn count(&mut self, polls: usize) -> bool {
        self.polls += polls as u32;
        if self.polls >= self.next {
            self.look();
        }
        self.over
    }

    /// Out of line: with it inside, the compiler keeps the whole slice in registers, which costs a
    /// turn of one poll ten instructions.
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
        self.over |= now.saturating_sub(self.began) >= SLICE || self.polls >= MAX_POLLS;
        self.timers = true;
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Time has passed since this was asked last: timers may be due.
    #[inline]
    pub(super) fn asks_for_timers(&mut self) -> bool {
        std::mem::take(&mut self.timers)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A slice in which the clock moves by `each` for every poll: after how many it is over, and
    /// how often the clock was read.
    fn polls(each: u64) -> (u32, u32) {
        let mut slice = Slice::new();
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
        let (short, read) = polls(SLICE / 500);
        assert!((500..=500 + STRIDE).contains(&short) && read <= 500 / STRIDE + 1);
        assert_eq!(polls(SLICE * 10).0, STRIDE, "from short ones to long ones");
        // Long ones all the time: each is seen.
        let mut slice = Slice::new();
        slice.next = 1;
        slice.polls += 1;
        slice.read_clock(slice.began + SLICE);
        assert!(slice.is_over());
        // Also in the next slice, until many were short.
        slice.begin();
        for short in 0..SINGLE {
            assert_eq!((slice.polls, slice.next), (short, short + 1));
            slice.polls += 1;
            slice.read_clock(slice.began);
        }
        assert_eq!(slice.next, SINGLE + STRIDE);
        slice.begin();
        assert_eq!((slice.polls, slice.next), (0, STRIDE));
    }
}
