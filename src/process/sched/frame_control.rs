//! How the parent knows what a worker has begun, and takes back what it has not.
//!
//! [`FrameControl`] is given orders (take back, cancel) and reports what follows from what it
//! knows. There are two paths to a worker, and nothing else in the scheduler knows on which of them
//! it is reached:
//! - *stream*, the protocol as it works everywhere: the worker reports what it begins, and gates of
//!   the parent's own follow its reports. To take items back, the parent asks (`Recall`), and the
//!   answer says how far the worker got. A worker that does not answer within
//!   [`Policy::patience`](super::Policy) must have been stopped, and is killed.
//! - *pages*, the optimisation on one machine: gates in memory that both processes map. The parent
//!   reads a gate at any moment, and closes it: from then on the worker begins no more items of
//!   that frame. So items come back at once, even from a worker that has been stopped.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/plain.rs`.

use std::time::{Duration, Instant};

use super::sent_frame::SentFrame;
use crate::process::limits::{FORWARDER_CHECK, NUDGE_AFTER};
use crate::process::pages::raw_ledger::Front;
use crate::process::value::chunk::Piece;
use crate::process::wire::Broken;

/// How a worker learns that what it runs is unwanted.
pub(super) enum Cancel {
    NothingRuns,
    /// Its gate says so: it is made to look.
    Ring,
    /// It is asked, and reports what it has begun of its other frames.
    Ask,
}

/// What comes back of a frame.
pub(super) enum Back {
    Items(Piece),
    /// Everything has begun.
    Nothing,
    /// The worker must be asked, and gives all that it has not begun with its answer.
    Asked,
}

/// What is done with a worker that does not begin its items.
pub(super) enum Stall {
    Wait,
    /// It is asked how far it got.
    Ask,
    /// It was stopped, or its gates say what is not so: others get its items.
    Kill,
}

/// A worker, as the scheduler knows it.
#[derive(Clone, Debug)]
pub(crate) struct FrameControl {
    /// The gates of the worker's frames.
    pub(super) gates: Front,
    has_pages: bool,
    /// On the stream: other processes may pass on what is sent, and may lose the worker.
    is_forwarded: bool,
}

impl FrameControl {
    /// A worker that is reached by a stream alone, which may be `is_forwarded`.
    pub(crate) fn on_stream(is_forwarded: bool) -> Self {
        Self {
            gates: Front::own(),
            has_pages: false,
            is_forwarded,
        }
    }

    /// A worker that has the pages with these gates, too.
    pub(crate) fn on_pages(gates: Front) -> Self {
        Self {
            gates,
            has_pages: true,
            is_forwarded: false,
        }
    }

    /// How many items a frame may have whose running item may cost the worker: one, if it may die
    /// before it can report what it has not begun.
    pub(super) fn most_at_risk(&self) -> usize {
        if self.has_pages { usize::MAX } else { 1 }
    }

    /// Whether the results of a worker's first frame wait for the items after them, although each
    /// is waited for separately. (On the stream each is sent before the next item begins.)
    pub(super) fn holds_back_results(&self, front: &SentFrame) -> bool {
        self.has_pages && front.wanted && front.each && front.end - front.done > 1
    }

    /// How long after the last nudge the worker gets the next, which has had the frame `front` for
    /// `waited`. What forwards the stream may have lost it, and sees that only when it is to pass
    /// on something. One with pages that has not begun may sleep although it claims to be awake
    /// (`shared_ring`); it is woken after ever longer times.
    pub(super) fn nudge_after(&self, front: &SentFrame, waited: Duration) -> Option<Duration> {
        if self.is_forwarded {
            return Some(FORWARDER_CHECK);
        }
        let may_sleep = self.has_pages && front.begun() == 0;
        may_sleep.then(|| NUDGE_AFTER.max(waited))
    }

    /// Since when the end of the answered frame `front` has been due; `needed`: since when
    /// something waits behind it. (On the stream a worker of which all items were taken back may be
    /// busy with something else that it was told, so it is left alone until then.)
    pub(super) fn ends_since(&self, front: &SentFrame, needed: Option<Instant>) -> Option<Instant> {
        match front.end {
            0 if self.has_pages => None,
            0 => front.answered_at.max(needed).filter(|_| needed.is_some()),
            _ => front.answered_at,
        }
    }

    /// Whether the worker may run an item of `frame`. (On the stream it may not have reported what
    /// it has begun.)
    pub(super) fn may_run(&self, frame: &SentFrame) -> bool {
        !self.has_pages || frame.runs()
    }

    /// Whether the worker may have begun an item of `frame` of which nothing is known. (Gates say
    /// it at once.)
    pub(super) fn may_have_begun(&self, frame: &SentFrame) -> bool {
        !self.has_pages && frame.done < frame.end
    }

    /// Whether a worker that seems to be between two items of `frame` must run the next: there it
    /// does nothing, so its gates deny it.
    pub(super) fn denies(&self, frame: &SentFrame) -> bool {
        self.has_pages && frame.begun() > 0 && frame.done < frame.end
    }

    /// What follows if a worker does not begin a frame. `is_silent`: it is its first, and it has
    /// reported nothing for long. `is_stuck`: its gates have shown nothing for long.
    pub(super) fn does_not_begin(&self, is_silent: bool, is_stuck: bool) -> Stall {
        match self.has_pages {
            true if is_stuck => Stall::Kill,
            false if is_silent => Stall::Ask,
            _ => Stall::Wait,
        }
    }

    /// Whether an item goes to this worker only when it is idle, because what is queued there comes
    /// back only after an answer. `early`: another worker will be idle soon. `is_heavy`: the item
    /// would be received while another runs, which would be blamed if there were no memory.
    pub(super) fn needs_idle(&self, early: bool, is_heavy: impl FnOnce() -> bool) -> bool {
        !self.has_pages && (early || is_heavy())
    }

    /// The worker reports that it has begun the next `count` items of `frame`, its first.
    pub(super) fn begun(&self, frame: &SentFrame, count: usize, nanos: u64) -> Result<(), Broken> {
        let is_news = !self.has_pages && frame.begins(count, nanos); // or the gates say it
        is_news.then_some(()).ok_or(Broken)
    }

    /// Takes back the items of `frame` from index `from` on that have not begun. `is_first`: it is
    /// the worker's first frame.
    pub(super) fn take_back(
        &self,
        frame: &mut SentFrame,
        from: u32,
        is_first: bool,
        now: Instant,
    ) -> Back {
        if !self.has_pages {
            return Back::Asked;
        }
        match frame.take_back(from, is_first, now) {
            Some(piece) => Back::Items(piece),
            None => Back::Nothing,
        }
    }

    /// Marks what runs of `frame` as unwanted. (On the stream the worker may have begun any item
    /// that it has received.)
    pub(super) fn cancel(&self, frame: &SentFrame) -> Cancel {
        let (runs, then) = if self.has_pages {
            (frame.runs(), Cancel::Ring)
        } else {
            (frame.done < frame.end, Cancel::Ask)
        };
        if !runs {
            return Cancel::NothingRuns;
        }
        frame.gate().disown();
        then
    }

    /// Since when the worker has had its first frame, which became that `since` then: on the stream
    /// not before the socket last took some bytes.
    pub(super) fn has_front_since(&self, since: Instant, moved_at: Instant) -> Instant {
        if self.has_pages {
            since
        } else {
            since.max(moved_at)
        }
    }
}
