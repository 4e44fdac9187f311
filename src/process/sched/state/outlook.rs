//! What the scheduler asks of all workers at once: how many there are of a kind, and which time is
//! the first. Of one worker, and of any number together.
//!
//! **Rule.** Everything here follows from the worker alone, so it changes only with the worker: the
//! owner of the slots (`slots`) asks again where something has changed, and puts the rest together
//! from what it knows ([`and`](Outlook::and)). What depends on other workers, on the jobs or on the
//! policy is decided by those who ask.
//!
//! A worker with pages changes its gates without a word. What follows from them is what was seen
//! last: that a first frame had not begun is looked at again by the owner ([`unbegun`]), and what
//! an idle worker could take over is looked at again by `take_over`.
//!
//! [`unbegun`]: Outlook::unbegun
//!
//! Tests: `src/process/sched/simulated/sim_crowd.rs`.

use std::time::Instant;

use crate::process::limits::RESULTS_WAIT;
use crate::process::sched::sent_frames::BRIEF;
use crate::process::sched::workers::{Stage, Worker, earlier};

/// What holds of some workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::process::sched) struct Outlook {
    /// How many have items of calls that have not been answered.
    pub(in crate::process::sched) busy: u32,
    /// How many are being started, and will be idle soon.
    pub(in crate::process::sched) starting: u32,
    /// How many get no more items, or end.
    pub(in crate::process::sched) ending: u32,
    pub(in crate::process::sched) idle: u32,
    pub(in crate::process::sched) serving: u32,
    /// How many have a process.
    pub(in crate::process::sched) alive: u32,
    /// How many of these are about to end.
    pub(in crate::process::sched) leaving: u32,
    /// How many get no more items, and have nothing left to do.
    pub(in crate::process::sched) leavers: u32,
    /// How many are to be replaced, and how many wait until the one that they replace runs nothing.
    pub(in crate::process::sched) outgoing: u32,
    pub(in crate::process::sched) waiting: u32,
    /// How many slots are to get a process, and for how many one was asked.
    pub(in crate::process::sched) empty: u32,
    pub(in crate::process::sched) asked: u32,
    /// How many have frames.
    pub(in crate::process::sched) loaded: u32,
    /// How many owe an answer how far they got.
    pub(in crate::process::sched) owing: u32,
    /// How many have been given back everything of an answered frame whose end has not come.
    pub(in crate::process::sched) needless: u32,
    /// How many have not begun their first frame, as their pages said when they were last looked
    /// at.
    pub(in crate::process::sched) unbegun: u32,
    /// How many may have room for another frame behind the ones that they have.
    pub(in crate::process::sched) open: u32,
    /// How many of these have pages.
    pub(in crate::process::sched) open_by_pages: u32,
    /// The fewest frames of an open one.
    pub(in crate::process::sched) open_frames: Option<usize>,
    /// The least cost of its frames, and the earliest and latest time at which its first became the
    /// first.
    pub(in crate::process::sched) open_cost: Option<u64>,
    pub(in crate::process::sched) open_since: Option<Instant>,
    pub(in crate::process::sched) open_until: Option<Instant>,
    /// Since when the first has been idle.
    pub(in crate::process::sched) idle_since: Option<Instant>,
    /// When something is due of one of them.
    pub(in crate::process::sched) next: Option<Instant>,
    /// Since when an end has been due of a frame that was answered.
    pub(in crate::process::sched) end_since: Option<Instant>,
    /// From when on an idle worker may take over items, and how many at most of one frame, as far
    /// as gates have been seen.
    pub(in crate::process::sched) gives_from: Option<Instant>,
    pub(in crate::process::sched) gives: u32,
}

/// The smaller of two numbers, of which each may be missing.
fn less<T: Ord + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

impl Outlook {
    /// Of one worker.
    pub(super) fn of(worker: &Worker) -> Self {
        let (stage, frames) = (worker.stage(), &worker.frames);
        let mut own = Self {
            starting: u32::from(worker.is_on_its_way()),
            ending: u32::from(worker.is_ending()),
            idle: u32::from(worker.is_idle()),
            serving: u32::from(worker.is_serving()),
            alive: u32::from(!stage.is_down()),
            leaving: u32::from(matches!(stage, Stage::Leaving(_) | Stage::Dying { .. })),
            leavers: u32::from(worker.is_leaver()),
            outgoing: u32::from(worker.is_outgoing()),
            waiting: u32::from(stage == Stage::Waiting),
            empty: u32::from(matches!(stage, Stage::Down(Some(_)))),
            asked: u32::from(stage == Stage::Asked),
            next: worker.next_due().map(|(at, _)| at),
            ..Self::default()
        };
        if own.idle > 0 {
            own.idle_since = Some(frames.front_since());
        }
        if frames.is_empty() {
            return own;
        }
        own.loaded = 1;
        own.busy = u32::from(frames.are_busy());
        own.owing = u32::from(worker.answer_due().is_some());
        own.unbegun = u32::from(worker.may_begin_unseen());
        if !worker.is_away() {
            own.end_since = worker.end_since(None);
            own.needless = u32::from(worker.is_needless());
        }
        own.gives = frames.give_at_most();
        own.gives_from = (own.gives > 0).then(|| worker.stealable_at());
        if worker.may_have_room() {
            own.open = 1;
            own.open_by_pages = u32::from(worker.peer.has_pages());
            own.open_frames = Some(frames.len());
            own.open_cost = Some(frames.cost());
            own.open_since = Some(frames.front_since());
            own.open_until = Some(frames.front_since());
        }
        own
    }

    /// Whether one of the open ones may have room for a frame of so many nanoseconds (`have_room`
    /// of its frames). False: none has.
    pub(in crate::process::sched) fn has_room(&self, cost: u64, now: Instant) -> bool {
        let is_brief = self.open_cost.is_some_and(|open| open + cost < BRIEF)
            && self
                .open_until
                .is_some_and(|last| now < last + RESULTS_WAIT);
        self.open_frames.is_some_and(|frames| frames < 2) || is_brief
    }

    /// Of these workers, and others.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            busy: self.busy + other.busy,
            starting: self.starting + other.starting,
            ending: self.ending + other.ending,
            idle: self.idle + other.idle,
            serving: self.serving + other.serving,
            alive: self.alive + other.alive,
            leaving: self.leaving + other.leaving,
            leavers: self.leavers + other.leavers,
            outgoing: self.outgoing + other.outgoing,
            waiting: self.waiting + other.waiting,
            empty: self.empty + other.empty,
            asked: self.asked + other.asked,
            loaded: self.loaded + other.loaded,
            owing: self.owing + other.owing,
            needless: self.needless + other.needless,
            unbegun: self.unbegun + other.unbegun,
            open: self.open + other.open,
            open_by_pages: self.open_by_pages + other.open_by_pages,
            open_frames: less(self.open_frames, other.open_frames),
            open_cost: less(self.open_cost, other.open_cost),
            open_since: earlier(self.open_since, other.open_since),
            open_until: self.open_until.max(other.open_until),
            idle_since: earlier(self.idle_since, other.idle_since),
            next: earlier(self.next, other.next),
            end_since: earlier(self.end_since, other.end_since),
            gives_from: earlier(self.gives_from, other.gives_from),
            gives: self.gives.max(other.gives),
        }
    }
}
