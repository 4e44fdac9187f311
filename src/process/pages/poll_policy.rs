//! How a caller waits for its worker, and a worker for its next frame: whether it polls before it
//! sleeps, and for how long.
//!
//! `docs/internals/decisions/waiting.md` has the reasons, and what was measured.
//! - *Poll*, for [`POLL_FOR`]: if nobody else computes, the other side answers within a few
//!   microseconds, and no system call is needed. If there is one processor for both sides, each
//!   look *yields* it, which costs less than to sleep and to be woken. A worker polls if the caller
//!   did before.
//! - *Sleep* otherwise, at once, until the other side wakes this one. A thread that sleeps keeps
//!   its claim to a processor: the kernel runs it as soon as it is woken, whatever else computes.
//!   One that polls or yields has used up its claim, and gives way for whole time slices.
//!
//! Nobody polls for a while after one of these, and twice as long each time that it happens again
//! within [`CALM`]:
//! - A poll was *interrupted*: two of its looks lie further apart than [`SLICE`], so another
//!   program has computed on this processor.
//! - Two polls in a row were *in the way*: they ended before the worker had begun, so it waits for
//!   this processor. (One is no sign: a processor that has gone to sleep takes its time to wake.)
//!
//! Tests: below; `tests/process/speed.rs`.

use std::time::Duration;

use crate::loom::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::loom::{hint, thread};
use crate::sys::{processors, ticks};

/// How long a thread that waits for a result or for work polls before it sleeps, in ticks.
pub(crate) const POLL_FOR: u64 = 50 * ticks::MICROSECOND;

/// How long a caller sleeps at most until it looks for its task itself: a worker that does not wake
/// it, although it should, delays it by no more.
pub(crate) const SLEEP_FOR: Duration = Duration::from_millis(10);

/// Two looks that lie so far apart were interrupted by a program: neither an interrupt nor a thread
/// of the kernel takes so long.
const SLICE: u64 = 500 * ticks::MICROSECOND;
/// For how long nobody polls after that, at first and at most.
const FIRST_PAUSE: u64 = 10_000 * ticks::MICROSECOND;
const LONGEST_PAUSE: u64 = 2_560_000 * ticks::MICROSECOND;
/// If a poll is interrupted so soon after a pause, the next one is longer.
const CALM: u64 = 100_000 * ticks::MICROSECOND;

/// Whether polling pays for this process, on this machine, now.
#[derive(Debug)]
pub(crate) struct PollPolicy {
    /// There is one processor for both sides.
    yields: bool,
    /// The last poll was in the way.
    was_in_the_way: AtomicBool,
    /// Until when nobody polls.
    pauses_until: AtomicU64,
    /// How long the last pause was.
    pause: AtomicU64,
}

impl PollPolicy {
    /// That of the machine as it is now.
    pub(crate) fn new() -> Self {
        Self::with(processors::by_affinity())
    }

    fn with(processors: usize) -> Self {
        Self {
            yields: processors < 2,
            was_in_the_way: AtomicBool::new(false),
            pauses_until: AtomicU64::new(0),
            pause: AtomicU64::new(0),
        }
    }

    /// Begins to wait.
    #[inline]
    pub(crate) fn begin(&self) -> Polling {
        let now = ticks::now();
        // (All of this is a hint: Relaxed.)
        let polls = now >= self.pauses_until.load(Ordering::Relaxed);
        Polling {
            looks: ticks::Looks::new(POLL_FOR),
            last: now,
            polls,
            in_vain: false,
            has_ended: false,
        }
    }

    #[cold]
    fn interrupted(&self, now: u64) {
        let calm = now.saturating_sub(self.pauses_until.load(Ordering::Relaxed));
        let last = if calm < CALM {
            self.pause.load(Ordering::Relaxed)
        } else {
            0
        };
        let pause = (2 * last).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.pause.store(pause, Ordering::Relaxed);
        self.pauses_until.store(now + pause, Ordering::Relaxed);
    }
}

/// One wait.
#[derive(Debug)]
pub(crate) struct Polling {
    looks: ticks::Looks,
    last: u64,
    polls: bool,
    /// It has looked for as long as it may.
    in_vain: bool,
    /// What it has shown is known (`conclude`).
    has_ended: bool,
}

impl Polling {
    /// Whether it is worth while to look more than once before the thread sleeps.
    #[inline]
    pub(crate) fn polls(&self) -> bool {
        self.polls
    }

    /// Called after a look that has found nothing. False: sleep.
    #[inline]
    pub(crate) fn goes_on(&mut self, policy: &PollPolicy) -> bool {
        if !self.polls {
            return false;
        }
        if policy.yields {
            thread::yield_now();
        } else {
            hint::spin_loop();
        }
        self.polls = self.may_go_on(policy, ticks::now());
        self.polls
    }

    #[inline]
    fn may_go_on(&mut self, policy: &PollPolicy, now: u64) -> bool {
        let gap = now.saturating_sub(self.last);
        self.last = now;
        if gap > SLICE {
            policy.interrupted(now);
            return false;
        }
        self.in_vain = self.looks.are_over_at(now);
        !self.in_vain
    }

    /// Called by a caller that looks no more: it has its answer, or falls asleep. (Only
    /// the first counts.) `has_begun`: whether its worker is awake and has the call.
    #[inline]
    pub(crate) fn conclude(&mut self, policy: &PollPolicy, has_begun: impl FnOnce() -> bool) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let in_the_way = self.in_vain && !has_begun();
        if policy.was_in_the_way.load(Ordering::Relaxed) != in_the_way {
            policy.was_in_the_way.store(in_the_way, Ordering::Relaxed);
        } else if in_the_way {
            policy.interrupted(self.last);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_processor_is_yielded() {
        let policy = PollPolicy::with(1);
        let mut one = policy.begin();
        assert!(policy.yields && one.polls());
        while one.goes_on(&policy) {}
        let paused = policy.pauses_until.load(Ordering::Relaxed) > 0;
        assert!(
            one.in_vain != paused,
            "its time is over, or a program took the processor"
        );
    }

    #[test]
    fn two_polls_in_the_way_are_followed_by_a_pause() {
        let policy = PollPolicy::with(2);
        let poll = |looks: bool, has_begun: bool| {
            let mut one = policy.begin();
            let mut now = one.last;
            while looks && one.may_go_on(&policy, now) {
                now += POLL_FOR / 4;
            }
            one.conclude(&policy, || has_begun);
            policy.pauses_until.load(Ordering::Relaxed) > 0
        };
        assert!(!poll(true, false), "one is no sign");
        assert!(!poll(false, false), "an answer");
        assert!(!poll(true, false) && !poll(true, true), "a long item");
        assert!(!poll(true, false) && poll(true, false));
    }

    #[test]
    fn an_interruption_is_followed_by_a_pause_and_the_next_by_a_longer_one() {
        let policy = PollPolicy::with(2);
        let mut one = policy.begin();
        let mut last = 0;
        for _ in 0..12 {
            let now = one.last + SLICE + 1;
            assert!(!one.may_go_on(&policy, now), "it was interrupted");
            let until = policy.pauses_until.load(Ordering::Relaxed);
            let pause = until - now;
            assert!((FIRST_PAUSE..=LONGEST_PAUSE).contains(&pause));
            assert!(pause == 2 * last || pause == LONGEST_PAUSE || last == 0);
            assert!(!policy.begin().polls(), "the pause");
            (last, one.last) = (pause, until);
        }
        assert_eq!(last, LONGEST_PAUSE);
        let later = one.last + CALM;
        one.may_go_on(&policy, later);
        let until = policy.pauses_until.load(Ordering::Relaxed);
        assert_eq!(until - later, FIRST_PAUSE, "it was calm");
    }

    #[test]
    fn a_poll_ends() {
        let policy = PollPolicy::with(2);
        let mut one = policy.begin();
        while one.goes_on(&policy) {}
        assert!(!one.polls());
    }
}
