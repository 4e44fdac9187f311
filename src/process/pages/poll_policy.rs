//! How a caller waits for its worker, and a worker for its next frame: whether it polls before it
//! sleeps, and for how long.
//!
//! `docs/internals/decisions/waiting.md` has the reasons, and what was measured.
//! - *Poll*, for [`POLL_FOR`]: if nobody else computes, the other side answers within a few
//!   microseconds, and no system call is needed. If the other side ran on this processor, each look
//!   *yields* that, which costs less than to sleep and to be woken. A worker polls if the caller
//!   did before.
//! - *Sleep* otherwise, at once, until the other side wakes this one. A thread that sleeps keeps
//!   its claim to a processor: the kernel runs it as soon as it is woken, whatever else computes.
//!   One that polls or yields has used up its claim, and gives way for whole time slices.
//!
//! A caller polls if the last answer is not older than [`POLL_FOR`], so that the worker may still
//! poll, too. Otherwise the worker sleeps, and may be woken on this processor: a poll would be in
//! its way.
//!
//! Nobody polls for a while after a poll was *interrupted*, and twice as long each time that this
//! happens again within [`CALM`]: two of its looks lie further apart than [`SLICE`], so another
//! program has computed on this processor.
//!
//! Tests: below; `tests/process/speed.rs`.

use std::time::Duration;

use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{hint, thread};
use crate::sys::ticks;

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
    /// Until when nobody polls.
    pauses_until: AtomicU64,
    /// How long the last pause was.
    pause: AtomicU64,
    /// When the last call was answered.
    answered: AtomicU64,
}

impl PollPolicy {
    pub(crate) fn new() -> Self {
        Self {
            pauses_until: AtomicU64::new(0),
            pause: AtomicU64::new(0),
            answered: AtomicU64::new(0),
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
            yields: false,
        }
    }

    /// Begins to wait for the answer to a call.
    #[inline]
    pub(crate) fn begin_call(&self) -> Polling {
        let mut polling = self.begin();
        let answered = self.answered.load(Ordering::Relaxed);
        polling.polls &= polling.last.saturating_sub(answered) < POLL_FOR;
        polling
    }

    /// A call was answered.
    #[inline]
    pub(crate) fn answered(&self) {
        self.answered.store(ticks::now(), Ordering::Relaxed);
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
    /// The other side ran on this processor.
    yields: bool,
}

impl Polling {
    /// Whether it is worth while to look more than once before the thread sleeps. `shares`: whether
    /// the other side ran on this thread's processor.
    #[inline]
    pub(crate) fn polls(&mut self, shares: impl FnOnce() -> bool) -> bool {
        self.yields = self.polls && shares();
        self.polls
    }

    /// Called after a look that has found nothing. False: sleep.
    #[inline]
    pub(crate) fn goes_on(&mut self, policy: &PollPolicy) -> bool {
        if !self.polls {
            return false;
        }
        if self.yields {
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
        !self.looks.are_over_at(now)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shared_processor_is_yielded() {
        let policy = PollPolicy::new();
        let mut one = policy.begin();
        assert!(one.polls(|| true) && one.yields);
        while one.goes_on(&policy) {}
        assert!(policy.begin().polls(|| false) || policy.pauses_until.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn a_caller_polls_if_its_calls_follow_one_another() {
        let policy = PollPolicy::new();
        assert!(!policy.begin_call().polls, "the first");
        policy.answered();
        let answered = policy.answered.load(Ordering::Relaxed);
        let next = policy.begin_call();
        assert_eq!(next.polls, next.last - answered < POLL_FOR);
        policy
            .answered
            .store(answered - POLL_FOR, Ordering::Relaxed);
        assert!(!policy.begin_call().polls, "after a pause");
    }

    #[test]
    fn an_interruption_is_followed_by_a_pause_and_the_next_by_a_longer_one() {
        let policy = PollPolicy::new();
        let mut one = policy.begin();
        let mut last = 0;
        for _ in 0..12 {
            let now = one.last + SLICE + 1;
            assert!(!one.may_go_on(&policy, now), "it was interrupted");
            let until = policy.pauses_until.load(Ordering::Relaxed);
            let pause = until - now;
            assert!((FIRST_PAUSE..=LONGEST_PAUSE).contains(&pause));
            assert!(pause == 2 * last || pause == LONGEST_PAUSE || last == 0);
            let next = policy.begin();
            assert!(!next.polls || next.last >= until, "the pause");
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
        let policy = PollPolicy::new();
        let mut one = policy.begin();
        while one.goes_on(&policy) {}
        assert!(!one.polls);
    }
}
