//! The states of a worker, how many frames it has at once, and when a state has lasted too long.
//!
//! ```text
//!            spawned             hello            initialized         bye
//!   Down ──────────► Starting ──────────► Preparing ────► Ready ─────────► Leaving
//!    ▲                  │ too late           │ kill         │ kill           │ too late
//!    │                  ▼                    ▼              ▼                ▼
//!    └────────────── Dying ◄─────────────────┴──────────────┴────────────────┘
//!         died, or given up (from every state; then back-off)
//! ```
//!
//! A slot is `Asked` between `Down` and `Starting`, until the driver has a process for it. Without
//! an initializer a worker is ready when it says hello. A ready worker that has reached its number
//! of items, that asks to be replaced, or whose successor is ready, is `Retiring`: it gets no more
//! items, and ends when nothing sent to it is wanted any more. It ends even if it has not confirmed
//! which items were taken back: a stopped worker (`SIGSTOP`) never would. Who takes its place, and
//! when: `succession`. That one is `Waiting` before it is ready, as long as the other runs an item.
//!
//! **Frames in flight.** A worker has the frame that it runs and the next, so that it does not wait
//! for the parent in between. Of *brief* frames, which together should take less than a wake-up, it
//! has up to [`GATES`], and sends their results together; when one turns out not to be brief, those
//! behind it are taken back. (A large item, or one with copies, goes only to an idle plain worker:
//! otherwise it would be received while another item runs, which would be blamed if there were no
//! memory.)
//!
//! How long a slot stays empty after a death, and when it is given up: `back_off`.
//!
//! How long a start, an exit or a death may take, and from when idle workers take items over:
//! `limits` has these numbers. What is done when a time is up: `time_is_up`
//! (`sched/shutdown.rs`). This is the scheduler's view, without processes and descriptors.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::back_off::{self, StartFailure};
use super::peer::Peer;
use super::policy::Policy;
use super::sent_frame::SentFrame;
use crate::process::limits::{
    ASK_OTHERS_AFTER, LEAVE_LIMIT, MOST_MOVES, RESULTS_WAIT, START_LIMIT, TAKE_OVER_AFTER,
};
use crate::process::pages::gate::GATES;
use crate::process::value::chunk::Piece;

/// The job of a worker's initializer; no caller's has this id.
pub(crate) const INITIALIZE: u64 = 0;

/// How many nanoseconds of work a worker may have in many brief frames.
const BRIEF: u64 = 200_000;

/// How soon items that results wait for are taken back again, if they still have not ended.
const RELIEVE_AGAIN: Duration = Duration::from_millis(1);

/// Whether this is less time, in nanoseconds, than a wake-up takes.
pub(super) fn is_brief(cost: u64) -> bool {
    cost < BRIEF
}

/// The earlier of two times, of which each may be missing.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No process; the time at which to start one, if one is to be started.
    Down(Option<Instant>),
    /// The driver was asked to start one, and has not done so yet.
    Asked,
    Starting(Instant),
    /// The initializer runs.
    Preparing,
    /// It is ready, and the worker that it replaces still runs an item.
    Waiting,
    Ready,
    /// The worker gets no more items, and leaves when none of its items is wanted.
    Retiring,
    Leaving(Instant),
    /// The worker was killed, first and last at these times, and has not been reaped.
    Dying {
        first: Instant,
        last: Instant,
        /// It was leaving.
        dismissed: bool,
    },
}

impl Stage {
    /// Whether there is no process.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self, Self::Down(_) | Self::Asked)
    }
}

/// One slot of the pool, and its worker.
pub(crate) struct Worker {
    /// Which of the pool's workers it is, from 0. While one is being replaced, two slots have its
    /// number (`succession`).
    pub(crate) number: usize,
    pub(crate) stage: Stage,
    pub(crate) pid: u32,
    pub(super) peer: Peer,
    /// The frames that were sent to the worker; it runs the first.
    pub(crate) frames: VecDeque<SentFrame>,
    /// The estimated cost of all of `frames`, in nanoseconds.
    cost: u64,
    next_sequence: u64,
    /// Makes the seals of the gates, which nobody can guess.
    seals: RandomState,
    /// When the first frame became the first.
    pub(crate) front_since: Instant,
    /// When it was last sent a frame that says nothing.
    pub(crate) nudged_at: Instant,
    /// When what it had not begun was last taken back so that results need not wait.
    pub(crate) relieved_at: Option<Instant>,
    /// When the socket of any worker last took some bytes.
    pub(crate) moved_at: Instant,
    /// How long the contexts that it was sent may take to arrive and to be decoded, until it has
    /// completed a frame.
    pub(crate) context_travels: Duration,
    /// When to kill the worker, and because of which frame, which was cancelled or taken back.
    pub(crate) kill_at: Option<(Instant, u64)>,
    /// The contexts that the worker has, or will have.
    pub(crate) contexts: HashSet<u64>,
    /// How many items the worker has run, without those in `frames`.
    pub(crate) served: u64,
    /// By how many items its life is shorter than it might be (`succession`).
    pub(super) shorter_by: u64,
    /// When its process was asked for, and when it was ready.
    pub(super) asked_at: Instant,
    pub(super) ready_at: Instant,
    /// It is to be replaced: another worker gets its number.
    pub(super) is_outgoing: bool,
    /// The user wants it to end: once another is ready, what it still runs has its grace period.
    pub(super) must_end: bool,
    /// When it is killed, if it has not left by then.
    pub(super) ends_by: Option<Instant>,
    /// Why the worker was given up before it said hello.
    pub(crate) failed_start: Option<StartFailure>,
    /// Whether the worker has completed something since its start.
    pub(crate) fruitful: bool,
    /// The total weight of the fruitless deaths in a row.
    fruitless_weight: u32,
}

impl Worker {
    pub(crate) fn new(number: usize, now: Instant) -> Self {
        Self {
            number,
            stage: Stage::Down(Some(now)),
            pid: 0,
            peer: Peer::on_stream(false),
            frames: VecDeque::with_capacity(GATES),
            cost: 0,
            next_sequence: 0,
            seals: RandomState::new(),
            front_since: now,
            nudged_at: now,
            relieved_at: None,
            moved_at: now,
            context_travels: Duration::ZERO,
            kill_at: None,
            contexts: HashSet::new(),
            served: 0,
            shorter_by: 0,
            asked_at: now,
            ready_at: now,
            is_outgoing: false,
            must_end: false,
            ends_by: None,
            failed_start: None,
            fruitful: false,
            fruitless_weight: 0,
        }
    }

    /// The first workers of a pool. (They begin together, and should not end together.)
    pub(super) fn first(count: usize, policy: &Policy, now: Instant) -> Vec<Self> {
        let half = policy.replace_after.unwrap_or(0) as f64 / 2.0;
        let shorter_by = |number: usize| {
            let part = (count - 1 - number) as f64 / count as f64;
            (half * part) as u64
        };
        let worker = |number| Self {
            shorter_by: shorter_by(number),
            ..Self::new(number, now)
        };
        (0..count).map(worker).collect()
    }

    /// A slot that no worker needs now.
    pub(super) fn spare(now: Instant) -> Self {
        Self {
            stage: Stage::Down(None),
            ..Self::new(0, now)
        }
    }

    pub(super) fn is_spare(&self) -> bool {
        self.stage == Stage::Down(None)
    }

    /// Whether it can have another frame, which should take `cost` nanoseconds. (Not while it owes
    /// an answer, because it may have been stopped.)
    pub(crate) fn has_room(&self, cost: u64, now: Instant) -> bool {
        self.stage == Stage::Ready
            && self.kill_at.is_none()
            && self.answer_due().is_none()
            && (self.frames.len() < 2 || self.frames.len() < GATES && self.is_brief(cost, now))
    }

    /// Whether a frame of `cost` nanoseconds and all before it are brief.
    pub(crate) fn is_brief(&self, cost: u64, now: Instant) -> bool {
        is_brief(self.cost + cost)
            && (self.frames.is_empty() || now < self.front_since + RESULTS_WAIT)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.kill_at.is_none() && self.frames.is_empty()
    }

    /// Whether it has not said hello yet.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(_))
    }

    /// Whether it is being started, and will be idle soon.
    pub(crate) fn is_on_its_way(&self) -> bool {
        matches!(
            self.stage,
            Stage::Starting(_) | Stage::Preparing | Stage::Waiting
        )
    }

    /// Whether it serves its pool: it has said hello, is initialized, and was not dismissed.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Ready | Stage::Retiring)
    }

    /// Whether it was sent away, so that its end is no death.
    pub(super) fn was_dismissed(&self) -> bool {
        match self.stage {
            Stage::Dying { dismissed, .. } => dismissed,
            state => matches!(state, Stage::Leaving(_)),
        }
    }

    /// Whether the slot has no worker, or one that is about to end.
    pub(super) fn is_away(&self) -> bool {
        self.stage.is_down() || matches!(self.stage, Stage::Leaving(_) | Stage::Dying { .. })
    }

    /// Whether none of its items is wanted, and it runs none. It may never report that.
    pub(crate) fn is_through(&self) -> bool {
        self.kill_at.is_none() && !self.frames.iter().any(|frame| frame.wanted)
    }

    /// The next frame that is to be sent to it, with the items of `piece`.
    pub(crate) fn next_frame(
        &self,
        job: u64,
        function: u64,
        piece: Piece,
        now: Instant,
    ) -> SentFrame {
        let sequence = self.next_sequence;
        let gate = (self.peer.gates.clone(), self.seals.hash_one(sequence) | 1);
        SentFrame::new((sequence, job, function), piece, gate, now)
    }

    /// Records that `frame`, its [`next_frame`](Self::next_frame), is sent: opens the gate.
    pub(crate) fn push_frame(&mut self, frame: SentFrame, now: Instant) {
        self.next_sequence += 1;
        frame.open();
        if self.frames.is_empty() {
            self.front_since = now;
        }
        self.cost += frame.cost;
        self.frames.push_back(frame);
    }

    /// The first frame has ended.
    pub(crate) fn pop_frame(&mut self, now: Instant) {
        if let Some(frame) = self.frames.pop_front() {
            self.cost -= frame.cost;
            self.front_since = now;
            self.context_travels = Duration::ZERO;
        }
    }

    /// When another worker may take over the items that this one has not begun. A large frame takes
    /// long to arrive, also at another worker; so does one with many copies. So a piece that was
    /// taken back before it began is left to the next worker for eight times as long: otherwise
    /// idle workers could take it from one another for ever, and none would begin it.
    pub(crate) fn stealable_at(&self) -> Instant {
        let took_at = self.peer.took_at();
        let since = took_at.map_or(self.front_since, |took| took.max(self.front_since));
        let front = self.frames.front();
        let Some(arriving) = front.filter(|frame| frame.begun() == 0) else {
            return since + TAKE_OVER_AFTER;
        };
        let patience = TAKE_OVER_AFTER * 8u32.pow(arriving.piece.moves.min(MOST_MOVES));
        // (Its bytes may still be on their way: a busy machine sends them slowly.)
        since.max(self.moved_at) + patience + arriving.travels()
    }

    /// When its first frame should have arrived, and the contexts before it.
    pub(crate) fn arrives_at(&self) -> Instant {
        let travels = self
            .frames
            .front()
            .map_or(Duration::ZERO, SentFrame::travels);
        let since = self.front_since.max(self.moved_at);
        since + travels + self.context_travels
    }

    /// When to send it a frame that says nothing, again and again (`Peer::nudge_after`).
    pub(crate) fn nudge_at(&self) -> Option<Instant> {
        let front = self.frames.front()?;
        let last = self.nudged_at.max(self.front_since);
        let pause = self.peer.nudge_after(front, last - self.front_since)?;
        Some(last + pause)
    }

    /// When to kill it because of a frame. A plain worker that has not answered yet how far it got
    /// in its other frames, or has not reported what it has just begun there, gets some time for
    /// that.
    pub(crate) fn kill_due(&self) -> Option<Instant> {
        let (at, sequence) = self.kill_at?;
        let mut due = Some(at);
        for frame in &self.frames {
            if frame.sequence != sequence && frame.wanted && frame.done < frame.end {
                due = due.max(frame.recall.due());
            }
        }
        due
    }

    /// Until when a plain worker should answer how far it got, if it was asked.
    pub(crate) fn answer_due(&self) -> Option<Instant> {
        let mut first = None;
        for frame in &self.frames {
            first = earlier(first, frame.answer_due());
        }
        first
    }

    /// When it has not answered how far it got for so long that it must have been stopped, and it
    /// runs no wanted item.
    pub(crate) fn silent_at(&self) -> Option<Instant> {
        let by = self.answer_due()?;
        let runs = |frame: &SentFrame| frame.wanted && frame.runs();
        if matches!(self.stage, Stage::Dying { .. }) || self.frames.iter().any(runs) {
            return None;
        }
        // A cancelled item that runs has its grace period.
        let front_runs = self.frames.front().is_some_and(SentFrame::runs);
        let grace = self.kill_at.filter(|_| front_runs);
        Some(grace.map_or(by, |(at, _)| at.max(by)))
    }

    /// Until when the items that it was asked for should come, if it may be silent for `patience`.
    pub(crate) fn gives_back(&self, patience: Duration) -> Option<Instant> {
        let at = self.answer_due()?;
        at.checked_sub(patience.saturating_sub(ASK_OTHERS_AFTER))
    }

    /// When to take back the items that it has not begun, because results may wait for them: those
    /// of the first frame, if each is waited for separately, or those of a frame that should have
    /// been brief.
    pub(crate) fn take_back_at(&self) -> Option<Instant> {
        let front = self.frames.front()?;
        let mut behind = self.frames.iter().skip(1);
        let holds_up = self.peer.holds_back_results(front)
            || behind.any(|frame| frame.brief && !frame.recall.was_asked() && frame.end > 0);
        let again = self.relieved_at.map(|at| at + RELIEVE_AGAIN);
        holds_up.then(|| again.max(Some(self.front_since + RESULTS_WAIT)))?
    }

    /// The process is gone: the slot is empty, and filled again after a pause.
    pub(crate) fn died(&mut self, killed: bool, now: Instant) {
        let weight = back_off::weight(self.failed_start, killed);
        let fruitless_weight = if self.fruitful {
            0
        } else {
            self.fruitless_weight.saturating_add(weight)
        };
        *self = Self {
            stage: Stage::Down(Some(now + back_off::pause(fruitless_weight, killed))),
            fruitless_weight,
            ..Self::new(self.number, now)
        };
    }

    /// Whether the slot is given up, because too many of its workers died in a row without having
    /// completed anything.
    pub(crate) fn is_given_up(&self) -> bool {
        back_off::is_given_up(self.fruitless_weight)
    }

    /// When this worker will have been in its state for too long.
    pub(crate) fn limit(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting(since) => Some(since + START_LIMIT),
            Stage::Leaving(last) | Stage::Dying { last, .. } => Some(last + LEAVE_LIMIT),
            Stage::Retiring => self.ends_by,
            Stage::Down(_) | Stage::Asked | Stage::Preparing | Stage::Waiting | Stage::Ready => {
                None
            }
        }
    }

    /// No more than the first `keep` items of a frame need begin.
    pub(super) fn cut_off(&mut self, position: usize, keep: u32, now: Instant) {
        if let Some(frame) = self.frames.get_mut(position) {
            drop(self.peer.take_back(frame, keep, position == 0, now));
        }
    }

    /// How many more items it may have.
    pub(crate) fn left(&self, policy: &Policy) -> usize {
        let Some(most) = policy.replace_after else {
            return usize::MAX;
        };
        let out: u64 = self.frames.iter().map(|frame| u64::from(frame.end)).sum();
        most.saturating_sub(self.shorter_by + self.served + out) as usize
    }

    /// It gets no more items once it has all that it may ever have.
    pub(super) fn has_had(&mut self, policy: &Policy) {
        if self.left(policy) == 0 {
            self.retires();
        }
    }

    /// It gets no more items, and another takes its place.
    pub(super) fn retires(&mut self) {
        self.stage = Stage::Retiring;
        self.is_outgoing = true;
    }

    /// Whether it gets no more items, and is idle.
    pub(crate) fn is_leaver(&self) -> bool {
        self.stage == Stage::Retiring && self.is_through()
    }
}
