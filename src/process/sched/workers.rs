//! The stages of a worker, what leads from one to the next, and when one has lasted too long.
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
//! for the parent in between. Of *brief* frames it has more ([`SentFrames`]), and sends their
//! results together; when one turns out not to be brief, those behind it are taken back. (A large
//! item, or one with copies, goes only to an idle plain worker: otherwise it would be received
//! while another item runs, which would be blamed if there were no memory.)
//!
//! **Transitions.** Each arrow is a method here, whose name says what has happened to the worker;
//! nobody else sets a stage, or what belongs to one. Policy decides when, and what else follows.
//!
//! How long a slot stays empty after a death, and when it is given up: `back_off`.
//!
//! How long a start, an exit or a death may take, and from when idle workers take items over:
//! `limits` has these numbers. What is done when a time is up: `time_is_up`
//! (`sched/shutdown.rs`). This is the scheduler's view, without processes and descriptors.
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::job::job_id::JobId;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::back_off::{self, StartFailure};
use super::frame_control::{Back, FrameControl};
use super::policy::Policy;
use super::sent_frames::SentFrames;
use crate::process::limits::{ASK_OTHERS_AFTER, LEAVE_LIMIT, START_LIMIT};
use crate::process::wire::Broken;

/// How soon items that results wait for are taken back again, if they still have not ended.
const RELIEVE_AGAIN: Duration = Duration::from_millis(1);

/// The earlier of two times, of which each may be missing.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
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

/// When a worker is killed because of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlannedKill {
    pub(super) at: Instant,
    /// The number of the frame, which was cancelled or taken back.
    pub(super) sequence: u64,
}

/// One slot of the pool, and its worker.
pub(crate) struct Worker {
    number: usize,
    stage: Stage,
    pid: u32,
    pub(super) control: FrameControl,
    /// The frames that were sent to the worker.
    pub(crate) frames: SentFrames,
    /// When it was last sent a frame that says nothing.
    nudged_at: Instant,
    /// When what it had not begun was last taken back so that results need not wait.
    relieved_at: Option<Instant>,
    planned_kill: Option<PlannedKill>,
    /// The contexts that the worker has, or will have.
    contexts: HashSet<JobId>,
    /// How many items the worker has run, without those in `frames`.
    served: u64,
    /// By how many items its life is shorter than it might be (`succession`).
    shorter_by: u64,
    /// From when on its start counts, and when it was ready.
    asked_at: Instant,
    ready_at: Instant,
    is_outgoing: bool,
    /// It retires only because it has all the items that it may ever have.
    has_all: bool,
    must_end: bool,
    /// When it is killed, if it has not left by then.
    ends_by: Option<Instant>,
    failed_start: Option<StartFailure>,
    fruitful: bool,
    /// The total weight of the fruitless deaths in a row.
    fruitless_weight: u32,
}

impl Worker {
    pub(crate) fn new(number: usize, now: Instant) -> Self {
        Self {
            number,
            stage: Stage::Down(Some(now)),
            pid: 0,
            control: FrameControl::on_stream(false),
            frames: SentFrames::new(now),
            nudged_at: now,
            relieved_at: None,
            planned_kill: None,
            contexts: HashSet::new(),
            served: 0,
            shorter_by: 0,
            asked_at: now,
            ready_at: now,
            is_outgoing: false,
            has_all: false,
            must_end: false,
            ends_by: None,
            failed_start: None,
            fruitful: false,
            fruitless_weight: 0,
        }
    }

    /// One of the first `count` workers. (They begin together, and should not end together: so some
    /// have shorter lives, by up to half.)
    pub(super) fn first(number: usize, count: usize, policy: &Policy, now: Instant) -> Self {
        let half = policy.replace_after.unwrap_or(0) as f64 / 2.0;
        let part = (count - 1 - number) as f64 / count as f64;
        Self {
            shorter_by: (half * part) as u64,
            ..Self::new(number, now)
        }
    }

    /// A slot that no worker needs now.
    pub(super) fn spare(now: Instant) -> Self {
        Self {
            stage: Stage::Down(None),
            ..Self::new(0, now)
        }
    }
}

/// What happens to a worker.
impl Worker {
    /// The driver is asked for a process.
    pub(super) fn ask_for(&mut self, now: Instant) {
        self.stage = Stage::Asked;
        self.asked_at = now;
    }

    /// The process that was asked for is not wanted any more.
    pub(super) fn withdraw(&mut self, now: Instant) {
        self.stage = Stage::Down(Some(now));
    }

    /// It has a process, which has not said hello. (The time until then is a part of what a start
    /// takes only if the process `is_far`: a fork server runs the initializers in that time, once.)
    pub(super) fn starts(&mut self, pid: u32, control: FrameControl, is_far: bool, now: Instant) {
        self.stage = Stage::Starting(now);
        (self.pid, self.control) = (pid, control);
        if !is_far {
            self.asked_at = now;
        }
    }

    /// It will not reach `init`.
    pub(crate) fn cannot_start(&mut self, why: StartFailure) {
        self.failed_start = Some(why);
    }

    /// It says hello. False: it has before, or is to end.
    pub(super) fn says_hello(&mut self, now: Instant) -> bool {
        let starts = self.is_starting();
        if starts {
            self.stage = Stage::Preparing;
            self.frames.wait_from(now);
        }
        starts
    }

    /// All initializers have run. Returns how long its start took.
    pub(super) fn initialized(&mut self, now: Instant) -> Duration {
        self.served = 0;
        self.ready_at = now;
        now.saturating_duration_since(self.asked_at)
    }

    /// It is ready, and gets items, unless it `must_wait` for the one that it replaces.
    pub(super) fn is_ready(&mut self, must_wait: bool) {
        self.stage = if must_wait {
            Stage::Waiting
        } else {
            Stage::Ready
        };
    }

    /// It has waited until the one that it replaces ran nothing: it gets items from now on.
    pub(super) fn begins(&mut self, now: Instant) {
        self.stage = Stage::Ready;
        self.ready_at = now;
        self.frames.wait_from(now);
    }

    /// It is to be replaced: another worker gets its number. Until that is ready it goes on.
    pub(super) fn make_outgoing(&mut self) {
        self.is_outgoing = true;
    }

    /// The same, and the user wants it to end: once another is ready, what it still runs has its
    /// grace period.
    pub(super) fn must_leave(&mut self) {
        (self.is_outgoing, self.must_end) = (true, true);
    }

    /// It gets no more items, and another takes its place.
    pub(super) fn retires(&mut self) {
        self.stage = Stage::Retiring;
        self.is_outgoing = true;
        self.has_all = false;
    }

    /// Its successor is ready, so it retires. If it must end, it has `grace` for what it runs.
    pub(super) fn succeeded(&mut self, grace: Duration, now: Instant) {
        self.retires();
        self.ends_by = self.must_end.then(|| now + grace);
    }

    /// It gets no more items, and nobody takes its place: there are to be fewer workers.
    pub(super) fn becomes_surplus(&mut self) {
        self.stage = Stage::Retiring;
        self.is_outgoing = false;
        self.has_all = false;
        self.fruitful = true;
    }

    /// It gets no more items; who takes its place stays as it is.
    pub(super) fn gets_no_more(&mut self) {
        self.stage = Stage::Retiring;
    }

    /// It gets no more items once it has all that it may ever have.
    pub(super) fn has_had(&mut self, policy: &Policy) {
        if self.left(policy) == 0 {
            self.retires();
            self.has_all = true;
        }
    }

    /// Nothing that it gives back makes room for other items.
    pub(super) fn stays_retired(&mut self) {
        self.has_all = false;
    }

    /// Items that it had not begun have come back, so it may have others instead. (A worker that is
    /// slow to begin would otherwise leave without having run any, and so would the next.)
    pub(super) fn has_given_back(&mut self, policy: &Policy) {
        if self.may_serve_again() && self.left(policy) > 0 {
            self.stage = Stage::Ready;
            self.has_all = false;
        }
    }

    /// It is sent away.
    pub(super) fn dismiss(&mut self, now: Instant) {
        self.stage = Stage::Leaving(now);
    }

    /// It is killed. False: it was before, or has no process.
    pub(super) fn kill(&mut self, now: Instant) -> bool {
        let lives = !self.stage.is_down() && !matches!(self.stage, Stage::Dying { .. });
        if lives {
            self.stage = Stage::Dying {
                first: now,
                last: now,
                dismissed: matches!(self.stage, Stage::Leaving(_)),
            };
        }
        lives
    }

    /// It was killed long ago, and lives. Returns for how long, since the first time. `None`: it
    /// was not killed.
    pub(super) fn still_lives(&mut self, now: Instant) -> Option<Duration> {
        let Stage::Dying { first, last, .. } = &mut self.stage else {
            return None;
        };
        *last = now;
        Some(now.saturating_duration_since(*first))
    }

    /// The process is gone: the slot is empty, and filled again after a pause.
    pub(super) fn died(&mut self, killed: bool, now: Instant) {
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

    /// It has completed something, so that its death is not fruitless.
    pub(crate) fn bears_fruit(&mut self) {
        self.fruitful = true;
    }

    /// Its first frame has ended, with so many items.
    pub(super) fn has_served(&mut self, items: u64) {
        self.served += items;
    }

    /// It was sent something that says nothing.
    pub(super) fn nudged(&mut self, now: Instant) {
        self.nudged_at = now;
    }

    /// What it had not begun was taken back, so that results need not wait.
    pub(super) fn relieved(&mut self, now: Instant) {
        self.relieved_at = Some(now);
    }

    /// It is killed then because of that frame, unless the frame ends.
    pub(super) fn plan_kill(&mut self, at: Instant, sequence: u64) {
        self.planned_kill = Some(PlannedKill { at, sequence });
    }

    /// It is not killed because of a frame any more.
    pub(super) fn forgets_kill(&mut self) {
        self.planned_kill = None;
    }

    /// It is not killed because of this frame.
    pub(super) fn spare_for(&mut self, sequence: u64) {
        self.planned_kill.take_if(|kill| kill.sequence == sequence);
    }

    /// It reports that the next `count` items of its first frame have begun.
    pub(super) fn has_begun(&mut self, count: usize, nanos: u64) -> Result<(), Broken> {
        let front = self.frames.front().ok_or(Broken)?;
        self.control.begun(front, count, nanos)
    }

    /// It is sent the context of the job `id`, of so many bytes. False: it has that.
    pub(super) fn gets_context(&mut self, id: JobId, bytes: usize) -> bool {
        let is_new = self.contexts.insert(id);
        if is_new {
            self.frames.context_goes_ahead(bytes);
        }
        is_new
    }

    /// It is to forget those contexts. Returns which it has.
    pub(super) fn forgets_contexts(&mut self, which: impl Fn(JobId) -> bool) -> Vec<JobId> {
        self.contexts.extract_if(|id| which(*id)).collect()
    }

    /// It is to forget the context of the job `id`. False: it has none.
    pub(super) fn forgets_context(&mut self, id: JobId) -> bool {
        self.contexts.remove(&id)
    }

    /// No more than the first `keep` items of a frame need begin.
    pub(super) fn cut_off(&mut self, position: usize, keep: u32, now: Instant) {
        if position < self.frames.len() {
            drop(self.take_back(position, keep, now));
        }
    }

    /// Takes back the items of a frame from index `from` on that have not begun.
    pub(super) fn take_back(&mut self, position: usize, from: u32, now: Instant) -> Back {
        let frame = &mut self.frames[position];
        self.control.take_back(frame, from, position == 0, now)
    }
}

/// What a worker is.
impl Worker {
    /// Which of the pool's workers it is, from 0. While one is being replaced, two slots have its
    /// number (`succession`).
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_spare(&self) -> bool {
        self.stage == Stage::Down(None)
    }

    /// Whether it can have another frame, which should take `cost` nanoseconds. (Not while it owes
    /// an answer, because it may have been stopped.)
    pub(super) fn has_room(&self, cost: u64, now: Instant) -> bool {
        self.stage == Stage::Ready
            && self.planned_kill.is_none()
            && self.frames.answer_due().is_none()
            && self.frames.have_room(cost, now)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.planned_kill.is_none() && self.frames.is_empty()
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

    /// Whether it gets no more items, or ends.
    pub(super) fn is_ending(&self) -> bool {
        matches!(
            self.stage,
            Stage::Retiring | Stage::Leaving(_) | Stage::Dying { .. }
        )
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
    pub(super) fn is_through(&self) -> bool {
        self.planned_kill.is_none() && !self.frames.are_wanted()
    }

    /// Whether it gets no more items, unless some of those that it has come back.
    pub(super) fn may_serve_again(&self) -> bool {
        self.has_all && self.stage == Stage::Retiring
    }

    /// Whether it gets no more items, and is idle.
    pub(super) fn is_leaver(&self) -> bool {
        self.stage == Stage::Retiring && self.is_through()
    }

    /// Whether it is to be replaced: another worker gets its number.
    pub(super) fn is_outgoing(&self) -> bool {
        self.is_outgoing
    }

    /// Whether the slot is given up, because too many of its workers died in a row without having
    /// completed anything.
    pub(crate) fn is_given_up(&self) -> bool {
        back_off::is_given_up(self.fruitless_weight)
    }

    /// Why the worker was given up before it said hello.
    pub(crate) fn failed_start(&self) -> Option<StartFailure> {
        self.failed_start
    }

    /// Whether it has, or will have, the context of the job `id`.
    pub(super) fn has_context(&self, id: JobId) -> bool {
        self.contexts.contains(&id)
    }

    /// How many items it has run, or, before it is ready, initializers, without those in frames.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// How many items it may have in all.
    pub(super) fn life(&self, most: u64) -> u64 {
        most.saturating_sub(self.shorter_by)
    }

    /// How many more items it may have.
    pub(super) fn left(&self, policy: &Policy) -> usize {
        let Some(most) = policy.replace_after else {
            return usize::MAX;
        };
        let had = self.shorter_by + self.served + self.frames.items();
        most.saturating_sub(had) as usize
    }

    /// When it was ready.
    pub(super) fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// When it is killed because of a frame.
    pub(super) fn planned_kill(&self) -> Option<PlannedKill> {
        self.planned_kill
    }
}

/// Everything that is known of it, to see whether it changes.
#[cfg(test)]
impl Worker {
    pub(super) fn known(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let state = (self.stage, self.served, self.fruitful, self.pid);
        let times = (self.frames.times(), self.relieved_at, self.nudged_at);
        let more = (self.planned_kill, self.contexts.len());
        let ends = (self.number, self.is_outgoing, self.must_end, self.ends_by);
        (state, times, more, (ends, self.has_all))
    }
}

/// Which times it has.
impl Worker {
    /// When this worker will have been in its state for too long.
    pub(super) fn limit(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting(since) => Some(since + START_LIMIT),
            Stage::Leaving(last) | Stage::Dying { last, .. } => Some(last + LEAVE_LIMIT),
            Stage::Retiring => self.ends_by,
            Stage::Down(_) | Stage::Asked | Stage::Preparing | Stage::Waiting | Stage::Ready => {
                None
            }
        }
    }

    /// When another worker may take over the items that this one has not begun.
    pub(super) fn stealable_at(&self) -> Instant {
        self.frames.stealable_at(&self.control)
    }

    /// When to send it a frame that says nothing, again and again (`FrameControl::nudge_after`).
    pub(super) fn nudge_at(&self) -> Option<Instant> {
        let (front, since) = (self.frames.front()?, self.frames.front_since());
        let last = self.nudged_at.max(since);
        let pause = self.control.nudge_after(front, last - since)?;
        Some(last + pause)
    }

    /// When to kill it because of a frame. A plain worker that has not answered yet how far it got
    /// in its other frames, or has not reported what it has just begun there, gets some time for
    /// that.
    pub(super) fn kill_due(&self) -> Option<Instant> {
        let PlannedKill { at, sequence } = self.planned_kill?;
        Some(at).max(self.frames.report_by(sequence))
    }

    /// When it has not answered how far it got for so long that it must have been stopped, and it
    /// runs no wanted item.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let by = self.frames.answer_due()?;
        if matches!(self.stage, Stage::Dying { .. }) || self.frames.run_wanted() {
            return None;
        }
        // A cancelled item that runs has its grace period.
        let front = self.frames.front();
        let front_runs = front.is_some_and(super::sent_frame::SentFrame::runs);
        let grace = self.planned_kill.filter(|_| front_runs);
        Some(grace.map_or(by, |kill| kill.at.max(by)))
    }

    /// Until when the items that it was asked for should come, if it may be silent for `patience`.
    pub(super) fn gives_back(&self, patience: Duration) -> Option<Instant> {
        let at = self.frames.answer_due()?;
        at.checked_sub(patience.saturating_sub(ASK_OTHERS_AFTER))
    }

    /// When to take back the items that it has not begun, because results may wait for them.
    pub(super) fn take_back_at(&self) -> Option<Instant> {
        let from = self.frames.hold_up_from(&self.control)?;
        let again = self.relieved_at.map(|at| at + RELIEVE_AGAIN);
        again.max(Some(from))
    }
}
