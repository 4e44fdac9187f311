//! The frames that a worker has, in the order in which it runs them, and what follows from all of
//! them together.
//!
//! **Rule.** A frame comes in by [`push`](SentFrames::push) alone, which numbers and seals it, and
//! goes by [`pop`](SentFrames::pop), when its end has come, or with its worker. So what they cost
//! together, their numbers, and since when the first is the first, always fit the frames: nobody
//! else counts.
//!
//! The first is the one that the worker runs; the next waits in the worker. Of *brief* frames,
//! which together should take less than a wake-up, there may be up to [`GATES`].
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::job::job_id::{INITIALIZE, JobId};
use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::hash::{BuildHasher, RandomState};
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use super::frame_control::FrameControl;
use super::sent_frame::{FrameFacts, SentFrame, travels};
use crate::process::limits::{MOST_MOVES, RESULTS_WAIT, TAKE_OVER_AFTER};
use crate::process::pages::gate::GATES;
use crate::process::pages::raw_ledger::Front;

/// How many nanoseconds of work a worker may have in many brief frames.
const BRIEF: u64 = 200_000;

/// The frames of one worker.
pub(crate) struct SentFrames {
    frames: VecDeque<SentFrame>,
    /// The estimated cost of all of them, in nanoseconds.
    cost: u64,
    next_sequence: u64,
    /// Makes the seals of the gates, which nobody can guess.
    seals: RandomState,
    /// When the first became the first, or the worker began to wait for one.
    front_since: Instant,
    /// When the socket of the worker last took some bytes.
    moved_at: Instant,
    /// How long the contexts that the worker was sent may take to arrive and to be decoded, until
    /// it has completed a frame.
    context_travels: Duration,
}

/// How frames come and go.
impl SentFrames {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: VecDeque::with_capacity(GATES),
            cost: 0,
            next_sequence: 0,
            seals: RandomState::new(),
            front_since: now,
            moved_at: now,
            context_travels: Duration::ZERO,
        }
    }

    /// The number of the frame that is sent next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// A frame is sent, to the worker with these gates: opens its gate.
    pub(super) fn push(&mut self, mut facts: FrameFacts, gates: Front, now: Instant) {
        facts.sequence = self.next_sequence;
        let seal = self.seals.hash_one(facts.sequence) | 1;
        let frame = SentFrame::new(facts, gates, seal);
        self.next_sequence += 1;
        frame.open();
        if self.frames.is_empty() {
            self.front_since = now;
        }
        self.cost += frame.cost;
        self.frames.push_back(frame);
    }

    /// The first frame has ended.
    pub(super) fn pop(&mut self, now: Instant) {
        if let Some(frame) = self.frames.pop_front() {
            self.cost -= frame.cost;
            self.front_since = now;
            self.context_travels = Duration::ZERO;
        }
    }

    /// The worker is gone: takes all frames out.
    pub(super) fn take_all(&mut self) -> VecDeque<SentFrame> {
        self.cost = 0;
        std::mem::take(&mut self.frames)
    }

    /// The worker waits for a frame from now on.
    pub(super) fn wait_from(&mut self, now: Instant) {
        self.front_since = now;
    }

    /// A context of so many bytes is sent before the next frame.
    pub(super) fn context_goes_ahead(&mut self, bytes: usize) {
        self.context_travels += travels(bytes);
    }

    /// The worker's socket has taken some bytes. What was sent after these may still be on its
    /// way, so an answer that is due is given time until `by`.
    pub(super) fn moved(&mut self, now: Instant, by: Instant) {
        self.moved_at = now;
        for frame in &mut self.frames {
            frame.has_until(by);
        }
    }
}

/// Which frames there are.
impl SentFrames {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn iter(&self) -> Iter<'_, SentFrame> {
        self.frames.iter()
    }

    /// The one that the worker runs.
    pub(super) fn front(&self) -> Option<&SentFrame> {
        self.frames.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut SentFrame> {
        self.frames.front_mut()
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut SentFrame> {
        self.frames.get_mut(position)
    }

    /// The only one.
    pub(super) fn sole(&self) -> Option<&SentFrame> {
        self.frames.front().filter(|_| self.frames.len() == 1)
    }

    /// Where the one with this number is.
    pub(super) fn position(&self, sequence: u64) -> Option<usize> {
        self.frames
            .iter()
            .position(|frame| frame.sequence == sequence)
    }

    pub(super) fn has_job(&self, id: JobId) -> bool {
        self.frames.iter().any(|frame| frame.job == id)
    }
}

/// What they are together.
impl SentFrames {
    /// When the first became the first, or the worker began to wait for one.
    pub(super) fn front_since(&self) -> Instant {
        self.front_since
    }

    /// Whether a frame of `cost` nanoseconds and all before it are brief.
    pub(super) fn are_brief_with(&self, cost: u64, now: Instant) -> bool {
        self.cost + cost < BRIEF
            && (self.frames.is_empty() || now < self.front_since + RESULTS_WAIT)
    }

    /// Whether there is room for one more, which should take `cost` nanoseconds.
    pub(super) fn have_room(&self, cost: u64, now: Instant) -> bool {
        self.frames.len() < 2 || self.frames.len() < GATES && self.are_brief_with(cost, now)
    }

    /// How many items they have.
    pub(super) fn items(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.end)).sum()
    }

    /// Whether any is wanted.
    pub(super) fn are_wanted(&self) -> bool {
        self.frames.iter().any(|frame| frame.wanted)
    }

    /// Whether they have items of calls that have not been answered.
    pub(super) fn are_busy(&self) -> bool {
        let runs = |frame: &SentFrame| frame.job != INITIALIZE && frame.done < frame.end;
        self.frames.iter().any(runs)
    }

    /// Where the frame of the job `id` is whose item runs, if that is wanted.
    pub(super) fn running_of(&self, id: JobId) -> Option<usize> {
        let is_it = |frame: &SentFrame| frame.job == id && frame.wanted && frame.runs();
        self.frames.iter().position(is_it)
    }

    /// Whether a wanted item runs.
    pub(super) fn run_wanted(&self) -> bool {
        let runs = |frame: &SentFrame| frame.wanted && frame.runs();
        self.frames.iter().any(runs)
    }

    /// Whether a wanted item runs that is not of the frame with this number.
    pub(super) fn run_others(&self, sequence: u64) -> bool {
        let innocent =
            |other: &SentFrame| other.sequence != sequence && other.wanted && other.runs();
        self.frames.iter().any(innocent)
    }

    /// Whether the frame at this position is the next to begin: those before it were answered.
    pub(super) fn is_next(&self, position: usize) -> bool {
        let mut before = self.frames.iter().take(position);
        before.all(|frame| frame.done == frame.end)
    }

    /// Whether an idle worker could take over any of their items.
    pub(super) fn can_give(&self) -> bool {
        self.frames.iter().any(|frame| frame.can_give() > 0)
    }

    /// The functions of the frames, and how many items of each wait for others to end. (The first
    /// of all begins at once.)
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, u32)> {
        let frames = self.frames.iter().enumerate();
        frames.map(|(position, frame)| {
            let front = u32::from(position == 0);
            let waits = frame.end.saturating_sub(frame.begun().max(front));
            (frame.code.function, waits)
        })
    }
}

/// Which times they have.
impl SentFrames {
    /// When another worker may take over what has not begun. A large frame takes long to arrive,
    /// also at another worker; so does one with many copies. So a piece that was taken back before
    /// it began is left to the next worker for eight times as long: otherwise idle workers could
    /// take it from one another for ever, and none would begin it. So is a single item that waits
    /// for no other: its worker begins it as soon as it runs, and a caller that hands it out in the
    /// driver's place need not wake the driver for that time (`parent/shortcut.rs`).
    pub(super) fn stealable_at(&self, control: &FrameControl) -> Instant {
        let since = control.has_front_since(self.front_since, self.moved_at);
        let front = self.frames.front();
        let Some(arriving) = front.filter(|frame| frame.begun() == 0) else {
            return since + TAKE_OVER_AFTER;
        };
        let is_single = self.frames.len() == 1 && arriving.end == 1;
        let moves = arriving.piece.moves.max(is_single.into());
        let patience = TAKE_OVER_AFTER * 8u32.pow(moves.min(MOST_MOVES));
        // (Its bytes may still be on their way: a busy machine sends them slowly.)
        since.max(self.moved_at) + patience + arriving.travels()
    }

    /// When the first should have arrived, and the contexts before it.
    pub(super) fn arrive_at(&self) -> Instant {
        let travels = self
            .frames
            .front()
            .map_or(Duration::ZERO, SentFrame::travels);
        self.front_since.max(self.moved_at) + travels + self.context_travels
    }

    /// Until when the worker should answer how far it got, if it was asked.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        self.frames.iter().filter_map(SentFrame::answer_due).min()
    }

    /// Until when the worker should report what it has begun of its wanted frames, without the one
    /// with this number.
    pub(super) fn report_by(&self, without: u64) -> Option<Instant> {
        let matters = |frame: &&SentFrame| {
            frame.sequence != without && frame.wanted && frame.done < frame.end
        };
        let frames = self.frames.iter().filter(matters);
        frames.filter_map(|frame| frame.recall.due()).max()
    }

    /// From when on results may wait for items that have not begun: those of the first frame, if
    /// each is waited for separately, or those of a frame that should have been brief.
    pub(super) fn hold_up_from(&self, control: &FrameControl) -> Option<Instant> {
        let front = self.frames.front()?;
        let mut behind = self.frames.iter().skip(1);
        let holds_up = control.holds_back_results(front)
            || behind.any(|frame| frame.brief && !frame.recall.was_asked() && frame.end > 0);
        holds_up.then_some(self.front_since + RESULTS_WAIT)
    }
}

#[cfg(test)]
impl SentFrames {
    pub(super) fn times(&self) -> (Instant, Instant, Duration) {
        (self.front_since, self.moved_at, self.context_travels)
    }
}

impl Index<usize> for SentFrames {
    type Output = SentFrame;

    fn index(&self, position: usize) -> &SentFrame {
        &self.frames[position]
    }
}

impl IndexMut<usize> for SentFrames {
    fn index_mut(&mut self, position: usize) -> &mut SentFrame {
        &mut self.frames[position]
    }
}
