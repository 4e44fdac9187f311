//! The scheduler's view of the workers, without processes and descriptors.
//!
//! ```text
//!            spawned             hello            initialized         bye
//!   Down ──────────► Starting ──────────► Preparing ────► Ready ─────────► Leaving
//!    ▲                  │ too late           │ kill         │ kill           │ too late
//!    │                  ▼                    ▼              ▼                ▼
//!    └────────────── Dying ◄─────────────────┴──────────────┴────────────────┘
//!         died (from every state; then back-off)
//! ```
//!
//! Without an initializer a worker is ready when it says hello. A ready worker that has reached its
//! number of items, or that asks to be replaced, is `Retiring`: it gets no more items, ends when
//! nothing sent to it is wanted any more, and another takes its slot. It ends even if it has not
//! confirmed which items were taken back: a stopped worker (`SIGSTOP`) never would.
//!
//! **Frames in flight.** A worker has the frame that it runs and the next, so that it does not wait
//! for the parent in between. Of *brief* frames, which together should take less than a wake-up, it
//! has up to [`GATES`], and sends their results together; when one turns out not to be brief, those
//! behind it are taken back. (A large item, or one with copies, goes only to an idle plain worker:
//! otherwise it would be received while another item runs, which would be blamed if there were no
//! memory.)
//!
//! **Back-off.** A death of a worker that has completed nothing, not even a failed item, is
//! *fruitless*. After the first, the slot is filled again at once, and after each further one later
//! and later, up to a second. After five in a row the slot is abandoned until there is work; when
//! all are, waiting calls fail. The same holds after the second in a row that never reached `init`,
//! or the first that computed all that time. More kills from outside are tolerated, because they do
//! not show that the program cannot start. (One weight counts both kinds, so in a mixture a pause
//! may be shorter or longer than its number says.)
//!
//! Tests: `sched::sim`.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sent_frame::{Gated, SentFrame, ToldGates, UNKNOWN_COST};
use super::startup::StartFailure;
use crate::process::payload::chunk::Piece;
use crate::sys::gate::GATES;

/// The job of a worker's initializer; no caller's has this id.
pub(crate) const INITIALIZE: u64 = 0;

/// How long a new worker may take until it says hello: what stands before
/// `init()` in `main` runs in this time, unless it is `stuck` before.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long a worker may take to leave, or to die until it is killed again.
pub(crate) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// How long a worker may be at a frame until its other items are taken over.
pub(crate) const TAKE_OVER_AFTER: Duration = Duration::from_millis(1);

/// How long a worker may leave its first frame unbegun before it is nudged.
const NUDGE_AFTER: Duration = Duration::from_millis(10);

/// How long a worker may keep the ends of channels that came with what was taken back from it.
pub(crate) const ENDS_LIMIT: Duration = Duration::from_secs(1);

/// How long a frame may take whose results, or those of others, should not wait for its end.
const HURRY: Duration = Duration::from_millis(2);

/// How many nanoseconds of work a worker has at once in many frames.
const BRIEF: u64 = 200_000;

/// After fruitless deaths of this weight in a row a slot is given up for now.
const GIVE_UP: u32 = 100;
/// What a fruitless death weighs: much, if the worker ended by itself; little, if
/// it was killed from outside, which may end some time.
const ENDED: u32 = 20;
const KILLED: u32 = 1;
/// One that never got to `init` would take its time again, and the next as well.
const LATE: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No process. When to start one, if at all.
    Down(Option<Instant>),
    Starting(Instant),
    /// Its initializer runs.
    Preparing,
    Ready,
    /// It gets nothing more, and leaves when nothing that it has is wanted.
    Retiring,
    Leaving(Instant),
    /// We have killed it, last at this time, and it is not reaped yet.
    Dying(Instant),
}

/// One slot of the pool, and the worker that has it.
pub(crate) struct Worker {
    pub(crate) state: State,
    pub(crate) pid: u32,
    pub(super) gates: Arc<dyn Gated>,
    /// What it has been sent, the frame that it runs first.
    pub(crate) frames: VecDeque<SentFrame>,
    /// What these should take, all together.
    cost: u64,
    next_sequence: u64,
    /// Since when the first frame is the first.
    pub(crate) front_since: Instant,
    /// When a plain one last took some bytes.
    pub(crate) took_at: Instant,
    /// The frame, cancelled or taken back, for whose sake to kill the worker, and when.
    pub(crate) kill_at: Option<(Instant, u64)>,
    /// The contexts that it has.
    pub(crate) contexts: HashSet<u64>,
    /// How many items it has run, those in `frames` not counted.
    pub(crate) served: u64,
    /// Why it was not waited for any longer: it has not said hello.
    pub(crate) late: Option<StartFailure>,
    /// It has done something since it was started.
    pub(crate) fruitful: bool,
    /// There was no process to be had for it: it waits, and has not died.
    pub(super) is_put_off: bool,
    /// Of the fruitless deaths in a row.
    weight: u32,
}

/// A worker that was asked for what it has not begun should answer so soon; else others are asked,
/// too, however patient one is with it.
const SOON: Duration = Duration::from_secs(1);

impl Worker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Down(Some(now)),
            pid: 0,
            gates: Arc::new(ToldGates::new()),
            frames: VecDeque::with_capacity(GATES),
            cost: 0,
            next_sequence: 0,
            front_since: now,
            took_at: now,
            kill_at: None,
            contexts: HashSet::new(),
            served: 0,
            late: None,
            fruitful: false,
            is_put_off: false,
            weight: 0,
        }
    }

    /// It is a *plain* worker (`plain_workers`), nothing but a stream: it says what it begins, and
    /// is asked for what it has not begun.
    pub(crate) fn is_plain(&self) -> bool {
        self.gates.are_told()
    }

    /// A plain worker begins the next item of its first frame. False: there is none.
    pub(crate) fn begins(&self, nanos: u64) -> bool {
        let front = self.frames.front().filter(|_| self.is_plain());
        front.map(SentFrame::gate).is_some_and(|gate| {
            gate.starts(nanos);
            gate.take().is_some()
        })
    }

    /// It can have another frame, which should take `cost` nanoseconds. (Not while it owes an
    /// answer: it may have been stopped.)
    pub(crate) fn has_room(&self, cost: u64, now: Instant) -> bool {
        self.state == State::Ready
            && self.kill_at.is_none()
            && self.answer_due().is_none()
            && (self.frames.len() < 2 || self.frames.len() < GATES && self.is_brief(cost, now))
    }

    /// A frame that takes `cost` nanoseconds is done, with all before it, in no time.
    pub(crate) fn is_brief(&self, cost: u64, now: Instant) -> bool {
        self.cost + cost < BRIEF && (self.frames.is_empty() || now < self.front_since + HURRY)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Ready && self.kill_at.is_none() && self.frames.is_empty()
    }

    /// It has yet to say hello.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting(_))
    }

    /// It will be idle soon.
    pub(crate) fn is_on_its_way(&self) -> bool {
        matches!(self.state, State::Starting(_) | State::Preparing)
    }

    /// It serves its pool: it has said hello, has been initialized, and was not told to go.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.state, State::Ready | State::Retiring)
    }

    /// It gets nothing more, and has nothing to do.
    pub(crate) fn is_leaver(&self) -> bool {
        self.state == State::Retiring && self.is_through()
    }

    /// Nothing that it has is wanted, nor does it run any of that. It may still have to say so, and
    /// never do.
    pub(crate) fn is_through(&self) -> bool {
        self.kill_at.is_none() && !self.frames.iter().any(|frame| frame.wanted)
    }

    /// How many more items it may have, if `most` is all that it may ever have.
    pub(crate) fn left(&self, most: Option<u64>) -> usize {
        let Some(most) = most else { return usize::MAX };
        let out: u64 = self.frames.iter().map(|frame| u64::from(frame.end)).sum();
        most.saturating_sub(self.served + out) as usize
    }

    /// The next frame that is to be sent to it, with the items of `piece`.
    pub(crate) fn next_frame(&self, job: u64, function: u64, piece: Piece) -> SentFrame {
        SentFrame {
            sequence: self.next_sequence,
            job,
            function,
            end: piece.len() as u32,
            piece,
            done: 0,
            cost: UNKNOWN_COST,
            brief: false,
            ends: false,
            wanted: true,
            each: false,
            answer_by: None,
            answered: false,
            check_at: None,
            again: None,
            gates: self.gates.clone(),
        }
    }

    /// `frame`, its [`next_frame`](Self::next_frame), is sent: opens the gate.
    pub(crate) fn push_frame(&mut self, frame: SentFrame, now: Instant) {
        self.next_sequence += 1;
        frame.gate().open(frame.end);
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
        }
    }

    /// From when on another worker may take over what this one has not begun. A large
    /// frame takes its time to arrive, and would elsewhere, too.
    pub(crate) fn stealable_at(&self) -> Instant {
        let arriving = self.frames.front().filter(|frame| frame.begun() == 0);
        let bytes = arriving.map_or(0, |frame| frame.piece.span().len() as u64);
        let since = self.front_since.max(self.took_at);
        since + TAKE_OVER_AFTER + Duration::from_nanos(10 * bytes)
    }

    /// When to wake it, because it has not begun its first frame: it may sleep although it says
    /// that it does not (`fast`).
    pub(crate) fn nudge_at(&self) -> Option<Instant> {
        let waits = self.frames.front().is_some_and(|frame| frame.begun() == 0);
        waits.then_some(self.front_since + NUDGE_AFTER)
    }

    /// When to see whether it is to be killed, or an item of it has run for too long.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let checks = self.frames.iter().filter_map(|frame| frame.check_at);
        checks.chain(self.kill_due()).min()
    }

    /// When to kill it for the sake of a frame. A plain worker that has yet to say what it has
    /// begun of its other frames, or what it has just begun there, has some time for that.
    pub(crate) fn kill_due(&self) -> Option<Instant> {
        let (at, sequence) = self.kill_at?;
        let may_run = |frame: &&SentFrame| {
            frame.sequence != sequence && frame.wanted && frame.done < frame.end
        };
        let others = self.frames.iter().filter(may_run);
        let due = others.filter_map(|frame| frame.answer_by);
        Some(due.fold(at, Instant::max))
    }

    /// Until when a plain worker should say how far it got, if it was asked.
    pub(crate) fn answer_due(&self) -> Option<Instant> {
        let unanswered = self.frames.iter().filter(|frame| frame.is_unanswered());
        unanswered.filter_map(|frame| frame.answer_by).min()
    }

    /// What it was asked for is wanted by others, and should come: until when, if it may be silent
    /// for as long as `patience`.
    pub(crate) fn gives_back(&self, patience: Duration) -> Option<Instant> {
        let at = self.answer_due()?;
        at.checked_sub(patience.saturating_sub(SOON))
    }

    /// When to take back what it has not begun, because results may wait for it: those of the first
    /// frame, if each of them is waited for (a plain worker says each before the next item
    /// begins), or of one that was to be brief.
    pub(crate) fn take_back_at(&self) -> Option<Instant> {
        let front = self.frames.front()?;
        let waited_for = front.wanted && front.each && front.end - front.done > 1;
        let mut behind = self.frames.iter().skip(1);
        let holds_up = waited_for && !self.is_plain()
            || behind.any(|frame| frame.brief && frame.answer_by.is_none() && frame.end > 0);
        holds_up.then_some(self.front_since + HURRY)
    }

    /// The process is gone: the slot is empty, and filled again after a pause.
    pub(crate) fn died(&mut self, killed: bool, now: Instant) {
        let more = match self.late {
            _ if self.fruitful => 0,
            Some(StartFailure::Computes) => GIVE_UP,
            Some(StartFailure::Waits | StartFailure::Slow | StartFailure::Foreign) => LATE,
            None if killed => KILLED,
            None => ENDED,
        };
        let before = if self.fruitful { 0 } else { self.weight };
        let weight = before.saturating_add(more);
        *self = Self {
            state: State::Down(Some(now + pause(weight, killed))),
            weight,
            ..Self::new(now)
        };
    }

    /// Whatever is put into this slot does not live.
    pub(crate) fn is_given_up(&self) -> bool {
        self.weight >= GIVE_UP
    }

    /// When this worker's time is up in the state that it is in.
    pub(crate) fn limit(&self) -> Option<Instant> {
        match self.state {
            State::Starting(since) => Some(since + START_LIMIT),
            State::Leaving(since) | State::Dying(since) => Some(since + LEAVE_LIMIT),
            State::Down(_) | State::Preparing | State::Ready | State::Retiring => None,
        }
    }
}

/// How long after a death the slot is filled again, if the fruitless ones in a row have that
/// weight.
fn pause(weight: u32, killed: bool) -> Duration {
    let (deaths, most) = match killed {
        true => (weight / KILLED, 50),
        false => (weight / ENDED, 1000),
    };
    match deaths {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(4u64.saturating_pow(n - 1).min(most)),
    }
}
